"""Memory for work that takes and gives back the same large blocks at every step."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["recycled_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_KEEP = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_MMAP_MAX: 0}
_USUAL = {_M_TRIM_THRESHOLD: 64 * 2**20, _M_MMAP_THRESHOLD: 32 * 2**20, _M_MMAP_MAX: 65536}  # where glibc's own end up


@contextmanager
def recycled_memory() -> Iterator[None]:
    """Keep what is freed for the next use, instead of handing it to the system and asking for it again.

    C's allocator asks the system for each block over 32 MB anew, and the system clears it page by page: in a training
    step on a processor that can cost a quarter of the time. It matters for glibc only; elsewhere this does nothing.
    Afterwards, free memory goes back to the system.
    """
    _set(_KEEP)
    try:
        yield
    finally:
        _set(_USUAL)


def _set(options: dict[int, int]) -> None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):  # another C library
        return
    for option, value in options.items():
        libc.mallopt(option, value)
    libc.malloc_trim(0)
