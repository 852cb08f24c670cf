"""Opening and replacing files: gzip by content, and outputs that are whole or not there at all."""

from __future__ import annotations

import glob
import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from genomic_ulmfit.errors import FileFormatError

__all__ = [
    "beside",
    "existing",
    "is_bgzip",
    "is_gzip",
    "leftovers",
    "open_text",
    "replacing",
    "replacing_text",
    "require_place",
]

# The empty block that ends a file, as the SAM specification gives it.
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_BGZIP_HEAD = 18  # bytes of a block's header, the last two its size less one


def existing(path: str | Path) -> Path:
    """Return `path` as a Path, refusing what is not a readable file.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    IsADirectoryError
        If `path` is a folder.
    FileFormatError
        If `path` is a pipe or a device.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, wanted a file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise FileFormatError(path, "is a pipe or a device, wanted a file: it is read more than once")
    return path


def is_gzip(path: str | Path) -> bool:
    """Tell gzip (and bgzip) files by their first two bytes, whatever their name."""
    with open(existing(path), "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def is_bgzip(path: str | Path) -> bool:
    """Tell bgzip files from other gzip files by the extra field of their first block."""
    with open(path, "rb") as handle:
        return _is_bgzip_head(handle.read(_BGZIP_HEAD))


def _is_bgzip_head(head: bytes) -> bool:
    return len(head) == _BGZIP_HEAD and head[:3] == b"\x1f\x8b\x08" and head[3] & 4 == 4 and head[12:14] == b"BC"


def _ends_as_bgzip(path: str | Path) -> bool:
    """Tell a whole bgzip file from one that was cut between two blocks, which reads as a shorter one.

    What goes on as plain gzip, or is padded, is not cut off.
    """
    with open(path, "rb") as handle:
        handle.seek(0, os.SEEK_END)
        handle.seek(-min(handle.tell(), len(_BGZIP_END)), os.SEEK_END)
        if handle.read() == _BGZIP_END:
            return True
        handle.seek(0)
        while head := handle.read(_BGZIP_HEAD):
            if not _is_bgzip_head(head):
                return True
            handle.seek(int.from_bytes(head[16:18], "little") + 1 - len(head), os.SEEK_CUR)
    return False


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Open a plain or gzipped text file for reading; a byte order mark before the text is left out.

    Raises
    ------
    FileFormatError
        If the file is not text, or its gzip stream is cut off or damaged.
    """
    if is_bgzip(existing(path)) and not _ends_as_bgzip(path):
        raise FileFormatError(
            path, "is cut off, or ends without the mark that bgzip puts there; copy it again, or unpack it and bgzip it"
        )
    opener = gzip.open if is_gzip(path) else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as handle:
            yield handle
    except UnicodeDecodeError as error:
        raise FileFormatError(path, "not a text file") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(path, f"the gzip stream is damaged ({error})") from error


def beside(path: str | Path, suffix: str) -> Path:
    """Name the file that goes beside another: of ``data.fa`` and ``data.fa.gz`` with ".bed" it is ``data.bed``."""
    return Path(str(path).removesuffix(".gz")).with_suffix(suffix)


def require_place(path: str | Path) -> Path:
    """Return where a file to make goes, the target of a link; refuse what can't be made: at the door, before long work.

    Raises
    ------
    FileNotFoundError, PermissionError
        If the folder of `path` does not exist, or can't be written to.
    IsADirectoryError, FileExistsError
        If `path` is a folder, or a device or pipe, which a file would take the place of.
    """
    place = _place(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder, wanted the name of a file to make")
    if place.exists() and not place.is_file():
        raise FileExistsError(f"{path} is a device or a pipe, wanted the name of a file to make")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {place.parent} does not exist")
    if not os.access(place.parent, os.W_OK):
        raise PermissionError(f"{path}: the folder {place.parent} can't be written to")
    return place


def _place(path: str | Path) -> Path:
    return Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)


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
    OSError
        If no file can be made there, as from `require_place`.
    """
    place = require_place(path)
    handle, name = tempfile.mkstemp(prefix=".", suffix=Path(path).name, dir=place.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes files private; a result is an ordinary file
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_text(path: str | Path, **columns: Any) -> Iterator[TextIO]:
    """Open a text file to write, as `replacing` does; with ``.gz`` it is bgzipped and gets a tabix index at the end.

    Parameters
    ----------
    path : str or Path
        The file to make. The index is ``.tbi``, or ``.csi`` where a position is past the 512 Mb that a ``.tbi`` holds.
    **columns
        Where chromosome and position are, as for `pysam.tabix_index`.

    Raises
    ------
    FileFormatError
        If what was written is not sorted, and can't be indexed.
    """
    path = Path(path)
    compress = path.suffix == ".gz"
    with replacing(path) as temporary:
        plain = temporary.with_suffix(".plain") if compress else temporary
        try:
            with open(plain, "w", encoding="utf-8", newline="\n") as handle:
                yield handle
            if compress:
                _compress(plain, temporary, path, columns)
        finally:
            if compress:
                plain.unlink(missing_ok=True)


def _compress(plain: Path, packed: Path, path: Path, columns: dict[str, Any]) -> None:
    import pysam

    pysam.tabix_compress(str(plain), str(packed), force=True)
    verbosity = pysam.set_verbosity(0)  # what htslib says of the first try, the second puts right
    try:
        for suffix, other in ((".tbi", ".csi"), (".csi", ".tbi")):
            with suppress(_NoIndexError), replacing(f"{path}{suffix}") as index:
                try:
                    pysam.tabix_index(str(packed), index=str(index), csi=suffix == ".csi", force=True, **columns)
                except OSError as error:
                    raise _NoIndexError from error
                Path(f"{path}{other}").unlink(missing_ok=True)
                return
    finally:
        pysam.set_verbosity(verbosity)
    advice = f"sort them, make room, or write a {path.with_suffix('').suffix}"
    raise FileFormatError(path, f"rows can't be indexed: they aren't sorted, or the disk is full; {advice}")


class _NoIndexError(Exception):
    """htslib could not make an index; it doesn't say why."""


def leftovers(path: str | Path) -> list[Path]:
    """Return the temporary files beside `path` that `replacing(path)` left behind where its process was killed."""
    return sorted(_place(path).parent.glob(f".????????{glob.escape(Path(path).name)}"))
