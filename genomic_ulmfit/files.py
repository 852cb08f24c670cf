"""Opening and replacing files: gzip by content, and outputs that are whole or not there at all."""

from __future__ import annotations

import glob
import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from genomic_ulmfit.errors import FileFormatError

__all__ = ["existing", "is_gzip", "leftovers", "open_text", "replacing"]


def existing(path: str | Path) -> Path:
    """Return `path` as a Path, refusing what is not a readable file.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    IsADirectoryError
        If `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, wanted a file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    return path


def is_gzip(path: str | Path) -> bool:
    """Tell gzip (and bgzip) files by their first two bytes, whatever their name."""
    with open(existing(path), "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Open a plain or gzipped text file for reading.

    Raises
    ------
    FileFormatError
        If the file is not text, or its gzip stream is cut off.
    """
    opener = gzip.open if is_gzip(path) else open
    try:
        with opener(path, "rt", encoding="utf-8") as handle:
            yield handle
    except UnicodeDecodeError as error:
        raise FileFormatError(path, "not a text file") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise FileFormatError(path, f"the gzip stream is damaged ({error})") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; rename it to `path` when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        The file to make. Its folder must exist.

    Yields
    ------
    Path
        The name to write to. It ends in the same suffixes as `path`.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    handle, name = tempfile.mkstemp(prefix=".", suffix=path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes files private; a result is an ordinary file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: str | Path) -> list[Path]:
    """Return the temporary files beside `path` that `replacing(path)` left behind where its process was killed."""
    path = Path(path)
    return sorted(path.parent.glob(f".????????{glob.escape(path.name)}"))
