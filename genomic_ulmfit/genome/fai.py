"""FASTA indexes: built where there is none, never believed where they do not fit the file as it is now."""

from __future__ import annotations

import shutil
import struct
import tempfile
import weakref
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

from genomic_ulmfit.files import is_bgzip, replacing

__all__ = ["FastaIndex", "build_index"]

_LONGEST_HEADER = 1 << 20


class FastaIndex:
    """The .fai of a FASTA file, and the .gzi where it is bgzipped.

    An index that is as new as its FASTA may still belong to another one. `fits` follows it through the file: each
    header must stand where the record before ends.
    """

    def __init__(self, fasta: Path, beside: Path) -> None:
        self.fasta = fasta
        self.fai = Path(f"{beside}.fai")
        self.gzi = Path(f"{beside}.gzi") if is_bgzip(fasta) else None

    def is_fresh(self) -> bool:
        """Tell whether it is there and as new as its FASTA."""
        files = [self.fai] + ([self.gzi] if self.gzi else [])
        written = self.fasta.stat().st_mtime_ns
        return all(file.is_file() and file.stat().st_mtime_ns >= written for file in files)

    def entries(self) -> list[tuple[str, int, int, int, int]]:
        """Return name, length, offset, bases a line and bytes a line of each record."""
        rows = [line.split("\t") for line in self.fai.read_text().splitlines()]
        return [(row[0], int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]

    def fits(self) -> bool:
        """Tell whether it describes the FASTA as it is now, all of it."""
        try:
            entries = self.entries()
            with open(self.fasta, "rb") if self.gzi is None else _BgzipReader(self.fasta, self.gzi) as handle:
                return bool(entries) and _chain(handle, entries)
        except (OSError, ValueError, IndexError, struct.error):
            return False


def _chain(handle: BinaryIO | _BgzipReader, entries: list[tuple[str, int, int, int, int]]) -> bool:
    position = 0
    for name, length, offset, bases, width in entries:
        if not 0 < offset - position < _LONGEST_HEADER:
            return False
        handle.seek(position)
        before = handle.read(offset - position)
        lines = [line for line in before.splitlines() if line.strip()]
        is_header = len(lines) == 1 and before.endswith(b"\n") and lines[0][:1] == b">"
        if not is_header or lines[0][1:].split()[:1] != [name.encode()]:
            return False
        if length > bases > 0:
            handle.seek(offset + bases)
            if handle.read(width - bases).strip():
                return False
        position = offset + (length // bases * width + length % bases if bases else 0)
    handle.seek(position)
    return not handle.read(_LONGEST_HEADER).strip()


def build_index(fasta: Path) -> FastaIndex | None:
    """Build an index and put it beside the file; where that can't be written to, it stays in a temporary folder.

    Returns
    -------
    FastaIndex or None
        None where no index can hold the file: lines of uneven length, or names that repeat.
    """
    folder = tempfile.mkdtemp(prefix="genomic_ulmfit-")
    index = FastaIndex(fasta, Path(folder, "genome"))
    weakref.finalize(index, shutil.rmtree, folder, ignore_errors=True)  # it lives as long as the index in it
    if not (_faidx(index) and index.fits()):
        return None
    try:
        return _moved_beside(index)
    except OSError:
        return index


def _faidx(index: FastaIndex) -> bool:
    import pysam

    options = ["--fai-idx", str(index.fai)] + (["--gzi-idx", str(index.gzi)] if index.gzi else [])
    verbosity = pysam.set_verbosity(0)  # what htslib would say on stderr, the caller says or puts right
    try:
        pysam.faidx(str(index.fasta), *options)
    except pysam.SamtoolsError:
        return False
    finally:
        pysam.set_verbosity(verbosity)
    return True


def _moved_beside(index: FastaIndex) -> FastaIndex:
    if not index.fasta.resolve().parent.stat().st_mode & 0o222:
        raise PermissionError(f"{index.fasta.parent} is read-only")  # the superuser could write there, and should not
    beside = FastaIndex(index.fasta, index.fasta)
    if index.gzi and beside.gzi:
        with replacing(beside.gzi) as new:
            shutil.copyfile(index.gzi, new)
    with replacing(beside.fai) as new:
        shutil.copyfile(index.fai, new)
    return beside


class _BgzipReader:
    """Bytes of a bgzipped file by unpacked offset, through its .gzi."""

    def __init__(self, path: Path, gzi: Path) -> None:
        import pysam

        numbers = gzi.read_bytes()
        pairs = struct.unpack(f"<{2 * struct.unpack('<Q', numbers[:8])[0]}Q", numbers[8:])
        self._packed, self._unpacked = (0, *pairs[::2]), (0, *pairs[1::2])
        self._handle = pysam.BGZFile(str(path), "rb", None)

    def __enter__(self) -> _BgzipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def seek(self, offset: int) -> None:
        block = bisect_right(self._unpacked, offset) - 1
        self._handle.seek(self._packed[block] << 16)
        self._handle.read(offset - self._unpacked[block])

    def read(self, size: int) -> bytes:
        return self._handle.read(size)
