"""Where a genome's letters lie: FASTA, 2bit, GenBank or records in; text of the "+" strand out, 0-based half-open.

Formats are told by content, never by name. Plain and bgzipped FASTA are read in place through an index (pysam), 2bit in
place through Biopython; gzipped FASTA, GenBank and records are held in memory. Handles are opened once for each process
and thread, since they carry a file position.
"""

from __future__ import annotations

import codecs
import gzip
import logging
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.files import existing, is_bgzip, is_gzip, open_text
from genomic_ulmfit.genome.fai import FastaIndex, build_index

__all__ = ["Source", "check_letters", "open_source", "sniff"]

_log = logging.getLogger(__name__)
_NUCLEOTIDES = b"ACGTURYSWKMBDHVNXacgturyswkmbdhvnx"  # IUPAC without the gap; X is N in masked sequence
_TWOBIT_MAGIC = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")
_HEAD = 1 << 20  # bytes looked at before a file is taken for what it seems to be


class Source(Protocol):
    """Letters by chromosome."""

    name: str
    sizes: dict[str, int]
    circular: frozenset[str]

    def fetch(self, chrom: str, start: int, end: int) -> str:
        """Return the letters of a stretch that is known to lie inside the chromosome."""


def open_source(source: Any) -> Source:
    """Open a FASTA, 2bit or GenBank file, or take records.

    Raises
    ------
    FileFormatError
        If the file is none of these, holds no sequence, is cut off, names two records alike, or its letters are not
        nucleotides.
    """
    if not isinstance(source, str | Path):
        return _from_records(source)
    path = existing(source)
    kind = sniff(path)
    if kind == "2bit":
        return _TwoBit(path)
    if kind == "genbank":
        return _from_genbank(path)
    if is_gzip(path) and not is_bgzip(path):
        return _from_fasta(path)
    _check_head(path)
    return _open_fasta(path)


def sniff(path: Path) -> str:
    """Tell "fasta", "genbank" and "2bit" by the first bytes, unpacked where the file is gzipped."""
    opener = gzip.open if is_gzip(path) else open
    with _refusing_damage(path), opener(path, "rb") as handle:
        head = handle.read(1 << 16).removeprefix(codecs.BOM_UTF8)
    if head[:4] in _TWOBIT_MAGIC:
        if is_gzip(path):
            raise FileFormatError(path, "a gzipped 2bit file; unpack it first, 2bit is read in place")
        return "2bit"
    lines = [line for line in head.splitlines() if line.strip() and line[:1] not in (b"#", b";")]
    if not lines:
        raise FileFormatError(path, "holds no sequence: the file is empty")
    if lines[0].startswith(b">"):
        return "fasta"
    if any(line.startswith(b"LOCUS ") for line in lines):
        return "genbank"
    raise FileFormatError(
        path, "is not a FASTA, 2bit or GenBank file: it starts with none of '>', 'LOCUS', 2bit's mark"
    )


def check_letters(text: str, name: str, where: str) -> None:
    """Refuse text with letters other than the IUPAC nucleotides, in either case."""
    wrong = text.encode(errors="replace").translate(None, _NUCLEOTIDES)
    if wrong:
        shown = " ".join(sorted({chr(letter) for letter in wrong})[:8])
        raise FileFormatError(name, f"{where} holds letters that stand for no nucleotide: {shown}")


@contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(path, f"the gzip stream is damaged ({error})") from error


# In memory ------------------------------------------------------------------------------------------------------------


class _InMemory:
    """Letters held as text."""

    def __init__(self, name: str, named: Iterable[tuple[str, str]], circular: Iterable[str] = ()) -> None:
        self.name = name
        self._letters: dict[str, str] = {}
        for chrom, letters in named:
            if chrom in self._letters:
                raise FileFormatError(name, f"two records are named {chrom!r}")
            check_letters(letters, name, f"record {chrom!r}")
            self._letters[chrom] = letters
        if not any(self._letters.values()):
            raise FileFormatError(name, "holds no sequence")
        self.sizes = {chrom: len(letters) for chrom, letters in self._letters.items()}
        self.circular = frozenset(circular)

    def fetch(self, chrom: str, start: int, end: int) -> str:
        return self._letters[chrom][start:end]


def _from_fasta(path: Path) -> _InMemory:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    with _refusing_damage(path), open_text(path) as handle:
        records = (
            (title.split(None, 1)[0] if title.strip() else "", letters) for title, letters in SimpleFastaParser(handle)
        )
        return _InMemory(str(path), records)


def _from_genbank(path: Path) -> _InMemory:
    from Bio.GenBank.Scanner import GenBankScanner

    with _refusing_damage(path), open_text(path) as handle:
        try:
            records = list(GenBankScanner().parse_records(handle, do_features=False))
        except ValueError as error:
            raise FileFormatError(path, f"not a whole GenBank file ({error})") from error
    return _from_records(records, str(path))


def _from_records(source: Any, name: str = "records") -> _InMemory:
    if isinstance(source, Mapping):
        records = list(source.items())
    else:
        # A SeqRecord is itself iterable, letter by letter.
        records = [(record.id, record) for record in ([source] if hasattr(source, "seq") else source)]
    named, circular = [], []
    for chrom, record in records:
        named.append((chrom, _text(record, chrom, name)))
        if getattr(record, "annotations", {}).get("topology") == "circular":
            circular.append(chrom)
    return _InMemory(name, named, circular)


def _text(record: Any, chrom: str, name: str) -> str:
    from Bio.Seq import UndefinedSequenceError

    try:
        return str(getattr(record, "seq", record))
    except UndefinedSequenceError:
        raise FileFormatError(name, f"record {chrom!r} says its length but holds no sequence") from None


# In place -------------------------------------------------------------------------------------------------------------


class _Handle:
    """Opens when first asked in a process and thread, and again in the next."""

    def __init__(self, opener: Callable[[], Any]) -> None:
        self._opener = opener
        self._local = threading.local()

    def __call__(self) -> Any:
        if getattr(self._local, "pid", None) != os.getpid():
            self._local.handle, self._local.pid = self._opener(), os.getpid()
        return self._local.handle


class _TwoBit:
    """A 2bit file, either byte order."""

    circular: frozenset[str] = frozenset()

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self._streams: list[BinaryIO] = []
        weakref.finalize(self, _close_all, self._streams)
        self._records = _Handle(self._open)
        self.sizes = {chrom: len(sequence) for chrom, sequence in self._records().items()}
        if not any(self.sizes.values()):
            raise FileFormatError(path, "holds no sequence")

    def __reduce__(self) -> tuple[Any, ...]:
        return _TwoBit, (self.path,)

    def _open(self) -> dict[str, Any]:
        from Bio.SeqIO.TwoBitIO import TwoBitIterator

        stream = open(self.path, "rb")  # noqa: SIM115 - stays open, 2bit is read in place
        self._streams.append(stream)
        try:
            iterator = TwoBitIterator(stream)
        except (ValueError, IndexError, MemoryError) as error:
            raise FileFormatError(self.path, "not a whole 2bit file: it is cut off or damaged") from error
        self._check_whole(iterator)
        return iterator.sequences

    def _check_whole(self, iterator: Any) -> None:
        """Biopython reads a cut-off file as empty sequences or as garbage, and of two like names the last."""
        size = self.path.stat().st_size
        for chrom, sequence in iterator.sequences.items():
            data = sequence._data
            if data.offset + (data.length + 3) // 4 > size:
                raise FileFormatError(self.path, f"is cut off: the file ends before the sequence of {chrom!r} does")
        with open(self.path, "rb") as handle:
            count = int.from_bytes(handle.read(12)[8:], iterator.byteorder)
        if count != len(iterator.sequences):
            raise FileFormatError(self.path, f"has {count} sequences but {len(iterator.sequences)} different names")

    def fetch(self, chrom: str, start: int, end: int) -> str:
        return str(self._records()[chrom][start:end])


def _close_all(streams: list[BinaryIO]) -> None:
    for stream in streams:
        stream.close()


class _IndexedFasta:
    """A plain or bgzipped FASTA with its .fai (and .gzi)."""

    circular: frozenset[str] = frozenset()

    def __init__(self, path: Path, index: FastaIndex) -> None:
        self.path, self.name, self._index = path, str(path), index
        self.sizes = {chrom: size for chrom, size, *_ in index.entries()}
        self._fasta = _Handle(self._open)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_fasta, (self.path,)

    def _open(self) -> Any:
        import pysam

        gzi = str(self._index.gzi) if self._index.gzi else None
        return pysam.FastaFile(self.name, filepath_index=str(self._index.fai), filepath_index_compressed=gzi)

    def fetch(self, chrom: str, start: int, end: int) -> str:
        return self._fasta().fetch(chrom, start, end)


def _open_fasta(path: Path) -> Source:
    """Read in place where the lines of the file allow an index, else in memory."""
    index: FastaIndex | None = FastaIndex(path, path)
    if not (index and index.is_fresh() and index.fits()):
        index = build_index(path)
    if index is None:
        _log.info("%s: lines of uneven length or names that repeat, which no index holds; read into memory", path)
        return _from_fasta(path)
    source = _IndexedFasta(path, index)
    if not any(source.sizes.values()):
        raise FileFormatError(path, "holds no sequence")
    return source


def _check_head(path: Path) -> None:
    """Refuse at the door what the first stretch of the file shows; the rest is checked as it is fetched."""
    with _refusing_damage(path), open_text(path) as handle:
        lines = handle.read(_HEAD).splitlines()
    name = ""
    for line in lines:
        if line.startswith(">"):
            name = (line[1:].split() or [""])[0]
        elif not line.startswith(("#", ";")):
            check_letters(line.strip(), str(path), f"record {name!r}")
