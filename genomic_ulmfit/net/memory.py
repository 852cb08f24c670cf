"""Memory for work that takes and gives back the same large blocks at every step."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["recycled_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_KEEP = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_MMAP_MAX: 0}
_USUAL = {_M_TRIM_THRESHOLD: 64 * 2**20, _M_MMAP_THRESHOLD: 32 * 2**20, _M_MMAP_MAX: 65536}  # where glibc's own end up

_MOST_HELD = 2  # times what one step takes


@contextmanager
def recycled_memory() -> Iterator[Callable[[], None]]:
    """Keep what is freed for the next use, instead of handing it to the system and asking for it again.

    C's allocator asks the system for each block over 32 MB anew, and the system clears it page by page: in a training
    step on a processor that can cost a quarter of the time. It matters for glibc only; elsewhere this does nothing.
    Afterwards, free memory goes back to the system.

    Yields
    ------
    callable
        To be called after each step. Steps of uneven sizes leave gaps that no later one fits into: where what is held
        has come to twice what one step takes, it gives them back.
    """
    _set(_KEEP)
    try:
        yield _Tidying()
    finally:
        _set(_USUAL)


class _Tidying:
    """Gives free memory back when the process holds twice what it held after one step alone."""

    def __init__(self) -> None:
        self.need, self.is_first = 0, True

    def __call__(self) -> None:
        held = resident()
        if self.is_first:  # nothing of other steps is left
            self.need, self.is_first = max(self.need, held), False
        elif held > _MOST_HELD * self.need:
            _set({})
            self.is_first = True


def resident() -> int:
    """Return the bytes of memory that this process has; 0 where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _set(options: dict[int, int]) -> None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):  # another C library
        return
    for option, value in options.items():
        libc.mallopt(option, value)
    libc.malloc_trim(0)
