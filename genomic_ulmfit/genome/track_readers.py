"""bedGraph and bigWig files in, anyone's; `ScoreBlock` s out, 0-based half-open, a stretch of the file at a time."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genomic_ulmfit.errors import FileFormatError, MissingDependencyError
from genomic_ulmfit.files import existing, open_text
from genomic_ulmfit.genome.blocks import ScoreBlock, negated
from genomic_ulmfit.genome.intervals import bed_rows

__all__ = ["holds_calls", "read_track"]

_ROWS_AT_ONCE = 50_000
_BP_AT_ONCE = 1_000_000
_MAGIC = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")  # of bigWig, in both byte orders

_BIGWIG_HEAD = 64  # bytes; 8 to 32 of them say where chromosomes, data and index begin

_Row = tuple[int, int, float]


def read_track(
    path: str | Path, *, minus: str | Path | None = None, negative_minus: bool = False
) -> Iterator[ScoreBlock]:
    r"""Read the scores of a track, of one file or of a file for each strand.

    Parameters
    ----------
    path : str or Path
        A bigWig, or a bedGraph, plain or gzipped, told by content. Rows are sorted by start within a chromosome, as
        both formats want.
    minus : str or Path, optional
        The track of the minus strand; `path` is then that of the plus strand.
    negative_minus : bool
        The scores of `minus` were written below zero.

    Yields
    ------
    ScoreBlock
        Neighbouring bins of one width; those of `path`, then those of `minus`. The strand is "." where there is only
        one file. What the file has no row for is in no block.

    Raises
    ------
    FileFormatError
        With the line number, where a row has not four columns or an integer or number that can't be read, ends before
        it starts, or starts before the row above it ends; or if a chromosome comes in two pieces, or a bigWig is cut
        off.
    MissingDependencyError
        If pyBigWig is needed and not installed.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "scores.bedgraph"
    >>> _ = path.write_text("chr1 0 10 0.5\nchr1 10 20 0.25\nchr1 30 40 1\n")
    >>> for block in read_track(path):
    ...     print(block.chrom, block.start, block.end, block.step, block.scores)
    chr1 0 20 10 [0.5  0.25]
    chr1 30 40 10 [1.]
    """
    existing(path)
    if minus is None:
        return _blocks(path, ".")
    existing(minus)
    under = _blocks(minus, "-")
    return chain(_blocks(path, "+"), negated(under) if negative_minus else under)


def holds_calls(path: str | Path) -> bool:
    """Tell a BED or narrowPeak from a bedGraph or bigWig, by suffix or else by the number of columns."""
    suffix = Path(str(path).lower().removesuffix(".gz")).suffix
    if _is_bigwig(path) or suffix in (".bedgraph", ".bg", ".bdg"):
        return False
    if suffix in (".bed", ".narrowpeak"):
        return True
    _, fields = next(bed_rows(path), (0, []))
    return len(fields) != 4


def _is_bigwig(path: str | Path) -> bool:
    with open(existing(path), "rb") as handle:
        return handle.read(4) in _MAGIC


def _blocks(path: str | Path, strand: str) -> Iterator[ScoreBlock]:
    for chrom, rows in _bigwig_rows(path) if _is_bigwig(path) else _bedgraph_rows(path):
        starts, ends = (np.array(column, dtype=np.int64) for column in list(zip(*rows, strict=True))[:2])
        yield from _even_blocks(chrom, starts, ends, np.array([row[2] for row in rows], dtype=np.float32), strand)


def _even_blocks(
    chrom: str, starts: NDArray[np.int64], ends: NDArray[np.int64], scores: NDArray[np.float32], strand: str
) -> Iterator[ScoreBlock]:
    """Cut rows where one does not touch the one before, or is of another width."""
    widths = ends - starts
    cuts = np.flatnonzero((starts[1:] != ends[:-1]) | (widths[1:] != widths[:-1])) + 1
    for first, after in zip([0, *cuts.tolist()], [*cuts.tolist(), len(starts)], strict=True):
        start, end, step = int(starts[first]), int(ends[after - 1]), int(widths[first])
        yield ScoreBlock(chrom, start, step, scores[first:after], end, strand)


def _bigwig_rows(path: str | Path) -> Iterator[tuple[str, list[_Row]]]:
    try:
        import pyBigWig
    except ImportError:
        raise MissingDependencyError("reading bigWig", 'pyBigWig: pip install "genomic-ulmfit[bigwig]"') from None
    _check_bigwig(path)
    handle = None
    try:
        handle = pyBigWig.open(str(path))
        if not handle.isBigWig():
            raise FileFormatError(path, "is a bigBed, wanted a bigWig")
        for chrom, size in handle.chroms().items():
            for start in range(0, size, _BP_AT_ONCE):
                rows = handle.intervals(chrom, start, min(start + _BP_AT_ONCE, size)) or ()
                if kept := [row for row in rows if row[0] >= start]:  # the first may begin in the stretch before
                    yield chrom, kept
    except RuntimeError as error:
        raise FileFormatError(path, f"is cut off or damaged ({error})") from error
    finally:
        if handle is not None:
            handle.close()


def _check_bigwig(path: str | Path) -> None:
    """Refuse a file that ends before its chromosomes, data or index begin: pyBigWig may crash on it."""
    with open(path, "rb") as handle:
        head = handle.read(_BIGWIG_HEAD)
        size = handle.seek(0, os.SEEK_END)
    order = "<" if head[:4] == _MAGIC[0] else ">"
    if len(head) < _BIGWIG_HEAD or max(struct.unpack(f"{order}3Q", head[8:32])) >= size:
        raise FileFormatError(path, "is cut off")


def _bedgraph_rows(path: str | Path) -> Iterator[tuple[str, list[_Row]]]:
    """Yield the rows of one chromosome, some at a time."""
    rows: list[_Row] = []
    chrom, end, seen = "", 0, set[str]()
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            fields = line.split()
            if not fields or fields[0] in ("track", "browser") or line.startswith("#"):
                continue
            row = _bedgraph_row(path, number, fields)
            if fields[0] != chrom or len(rows) >= _ROWS_AT_ONCE:
                if rows:
                    yield chrom, rows
                rows = []
            if fields[0] != chrom:
                if fields[0] in seen:
                    raise FileFormatError(path, f"{fields[0]} comes in two pieces; sort the file", line=number)
                chrom, end = fields[0], 0
                seen.add(chrom)
            if row[0] < end:
                message = f"starts at {row[0]}, before the row above it ends ({end}); sort it, one value a base"
                raise FileFormatError(path, message, line=number)
            rows.append(row)
            end = row[1]
    if rows:
        yield chrom, rows


def _bedgraph_row(path: str | Path, line: int, fields: list[str]) -> _Row:
    if len(fields) != 4:
        raise FileFormatError(path, f"a bedGraph row has 4 columns, got {len(fields)}", line=line)
    try:
        start, end, score = int(fields[1]), int(fields[2]), float(fields[3])
    except ValueError:
        message = f"wanted integers and a number, got {' '.join(fields[1:])!r}"
        raise FileFormatError(path, message, line=line) from None
    if not 0 <= start < end:
        raise FileFormatError(path, f"wanted 0 <= start < end, got {start} and {end}", line=line)
    return start, end, score
