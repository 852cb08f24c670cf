"""Scored stretches of chromosomes in; bedGraph, BED and bigWig files out, 0-based half-open.

Blocks are written as they come, so that memory holds one of them. Files are whole or not there at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from genomic_ulmfit.errors import FileFormatError, MissingDependencyError, OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.intervals import Interval

__all__ = ["ScoreBlock", "track_format", "write_track"]

_FORMATS = {
    ".bedgraph": "bedgraph",
    ".bg": "bedgraph",
    ".bdg": "bedgraph",
    ".bed": "bed",
    ".bw": "bigwig",
    ".bigwig": "bigwig",
}


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of neighbouring bins of one chromosome.

    Parameters
    ----------
    chrom : str
        Chromosome name.
    start : int
        Start of the first bin, 0-based, in bp.
    step : int
        Length of a bin in bp. The last one may be shorter.
    scores : float32 array, shape (n_bins,)
        Bin ``i`` covers ``[start + i * step, min(start + (i + 1) * step, end))``. NaN: no answer there.
    end : int
        End of the last bin.
    strand : str
        "+", "-", or "." where the scores speak of both or of neither.

    Raises
    ------
    ValueError
        If the number of scores is not that of the bins.

    Examples
    --------
    >>> block = ScoreBlock("chr1", 100, 10, np.array([0.1, 0.9, 0.5], dtype=np.float32), 125)
    >>> block.starts.tolist(), block.ends.tolist()
    ([100, 110, 120], [110, 120, 125])
    """

    chrom: str
    start: int
    step: int
    scores: np.ndarray
    end: int
    strand: str = "."

    def __post_init__(self) -> None:
        """Check that the scores fit the bins."""
        scores = np.asarray(self.scores, dtype=np.float32)
        object.__setattr__(self, "scores", scores)
        if self.step < 1 or not 0 <= self.start < self.end:
            raise ValueError(f"wanted step >= 1 and 0 <= start < end, got {self.step}, {self.start} and {self.end}")
        n_bins = -((self.start - self.end) // self.step)
        if scores.shape != (n_bins,):
            where = f"{self.chrom}:{self.start}-{self.end}"
            raise ValueError(f"{where} has {n_bins} bins of {self.step} bp, got scores of shape {scores.shape}")

    @property
    def starts(self) -> np.ndarray:
        """Start of each bin, 0-based; int64 array, shape (n_bins,)."""
        return self.start + self.step * np.arange(len(self.scores), dtype=np.int64)

    @property
    def ends(self) -> np.ndarray:
        """End of each bin; int64 array, shape (n_bins,)."""
        return np.minimum(self.starts + self.step, self.end)


def write_track(
    blocks_or_intervals: Iterable[ScoreBlock] | Iterable[Interval],
    path: str | Path,
    format: str | None = None,
    *,
    chrom_sizes: Mapping[str, int] | None = None,
) -> Path:
    """Write scores to a file that genome browsers read.

    Parameters
    ----------
    blocks_or_intervals : iterable of ScoreBlock or of Interval
        For bedGraph and bigWig: sorted by start, not overlapping, each chromosome in one piece; an interval counts as a
        block of one bin. Chromosomes are written in the order in which they come. For BED: intervals in any order.
    path : str or Path
        The file to make. With ``.gz`` after the format's suffix it is bgzipped and gets a tabix index, ``.tbi``.
    format : {"bedgraph", "bed", "bigwig"}, optional
        By default that of the suffix: ``.bedgraph .bg .bdg``, ``.bed``, ``.bw .bigwig``.
    chrom_sizes : mapping of str to int, optional
        Chromosome lengths in bp. Where given, what reaches past an end is refused. bigWig needs them, and chromosomes
        must then come in their order.

    Returns
    -------
    Path
        The file.

    Notes
    -----
    bedGraph has no line where there is no answer (NaN); neighbours with the same six-digit score share one. BED6 is
    sorted by chromosome (in order of first appearance), start and end; its score is ``round(1000 * score)``, so scores
    must lie in 0..1. The same scores give the same bytes.

    Raises
    ------
    FileFormatError
        If the suffix is of no known format, the input is not sorted or overlaps itself, a score is infinite or, for
        BED, outside 0..1, or bigWig lacks `chrom_sizes`.
    OutOfRangeError, UnknownChromosomeError
        If something does not lie inside `chrom_sizes`.
    MissingDependencyError
        If pyBigWig is needed and not installed.

    Examples
    --------
    >>> block = ScoreBlock("chr1", 0, 10, np.array([0.5, 0.5, np.nan, 0.25], dtype=np.float32), 35)
    >>> path = write_track([block], getfixture("tmp_path") / "scores.bedgraph")
    >>> print(path.read_text(), end="")
    chr1  0   20  0.5
    chr1  30  35  0.25
    """
    path = Path(path)
    kind = track_format(path, format)
    compress = path.suffix == ".gz"
    if kind == "bed":
        return _write_text(path, _bed_lines(path, blocks_or_intervals, chrom_sizes), compress)
    blocks = _in_order(path, map(_block, blocks_or_intervals), chrom_sizes)
    if kind == "bedgraph":
        return _write_text(path, _bedgraph_lines(blocks), compress)
    if chrom_sizes is None:
        raise FileFormatError(path, "bigWig needs the chromosomes' lengths; pass chrom_sizes, or write bedGraph")
    return _write_bigwig(path, blocks, chrom_sizes)


def track_format(path: str | Path, format: str | None = None) -> str:
    """Return the format in which `write_track` would write a file, so that a wrong name is refused before long work.

    Raises
    ------
    FileFormatError
        If the suffix is of no known format.

    Examples
    --------
    >>> track_format("scores.bw"), track_format("calls.bed.gz")
    ('bigwig', 'bed')
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    kind = format or _FORMATS.get(suffixes[-1] if suffixes else "", "")
    if kind not in _FORMATS.values():
        raise FileFormatError(
            path, f"is of no known track format; wanted one of {' '.join(_FORMATS)}, perhaps with .gz"
        )
    if kind == "bigwig" and path.suffix == ".gz":
        raise FileFormatError(path, "bigWig is compressed as it is; leave .gz away")
    return kind


def _block(item: Any) -> ScoreBlock:
    if isinstance(item, ScoreBlock):
        return item
    score = np.array([item.score], dtype=np.float32)
    return ScoreBlock(item.chrom, item.start, max(item.length, 1), score, item.end, item.strand)


def _in_order(path: Path, blocks: Iterable[ScoreBlock], chrom_sizes: Mapping[str, int] | None) -> Iterator[ScoreBlock]:
    """Pass the blocks on, refusing what no sorted file can hold."""
    rank = {chrom: number for number, chrom in enumerate(chrom_sizes or ())}
    seen: set[str] = set()
    chrom, position = "", 0
    for block in blocks:
        where = f"{block.chrom}:{block.start}-{block.end}"
        if block.chrom != chrom:
            if block.chrom in seen:
                raise FileFormatError(path, f"{where} comes after another chromosome; each must come in one piece")
            _check_size(block.chrom, block.start, block.end, chrom_sizes)
            if chrom and rank and rank[block.chrom] < rank[chrom]:
                raise FileFormatError(path, f"{block.chrom} comes after {chrom}, chrom_sizes has it before")
            seen.add(block.chrom)
            chrom, position = block.chrom, 0
        if block.start < position:
            raise FileFormatError(
                path, f"{where} starts before {position}, where the block before ends; sort them, one strand a file"
            )
        _check_size(block.chrom, block.start, block.end, chrom_sizes)
        if np.isinf(block.scores).any():
            raise FileFormatError(path, f"{where} has infinite scores")
        position = block.end
        yield block


def _check_size(chrom: str, start: int, end: int, chrom_sizes: Mapping[str, int] | None) -> None:
    if chrom_sizes is None:
        return
    if chrom not in chrom_sizes:
        raise UnknownChromosomeError(chrom, list(chrom_sizes))
    if end > chrom_sizes[chrom]:
        raise OutOfRangeError(chrom, start, end, chrom_sizes[chrom])


def _bedgraph_lines(blocks: Iterable[ScoreBlock]) -> Iterator[str]:
    """Join bins that touch and read alike, across blocks too, so that the cut into blocks leaves no trace."""
    chrom, start, end, text = "", 0, 0, ""
    for next_chrom, next_start, next_end, next_text in chain.from_iterable(map(_bins, blocks)):
        if next_text == text and next_start == end and next_chrom == chrom:
            end = next_end
            continue
        if text:
            yield f"{chrom}\t{start}\t{end}\t{text}\n"
        chrom, start, end, text = next_chrom, next_start, next_end, next_text
    if text:
        yield f"{chrom}\t{start}\t{end}\t{text}\n"


def _bins(block: ScoreBlock) -> Iterator[tuple[str, int, int, str]]:
    scores = block.scores + np.float32(0)  # -0 becomes 0
    for start, end, score in zip(block.starts.tolist(), block.ends.tolist(), scores.tolist(), strict=True):
        if not math.isnan(score):
            yield block.chrom, start, end, f"{score:.6g}"


def _bed_lines(path: Path, items: Iterable[Any], chrom_sizes: Mapping[str, int] | None) -> Iterator[str]:
    intervals = list(items)
    rank: dict[str, int] = {}
    for interval in intervals:
        if not isinstance(interval, Interval):
            raise FileFormatError(
                path, "BED holds intervals, not blocks of scores; write bedGraph, or call peaks first"
            )
        if not 0 <= interval.score <= 1:
            raise FileFormatError(path, f"{interval.id} has score {interval.score:g}; BED scores come from 0..1")
        _check_size(interval.chrom, interval.start, interval.end, chrom_sizes)
        rank.setdefault(interval.chrom, len(rank))
    for i in sorted(intervals, key=lambda i: (rank[i.chrom], i.start, i.end, i.strand)):
        yield f"{i.chrom}\t{i.start}\t{i.end}\t{i.name}\t{round(1000 * i.score)}\t{i.strand}\n"


def _write_text(path: Path, lines: Iterable[str], compress: bool) -> Path:
    with replacing(path) as temporary:
        plain = temporary.with_suffix(".txt") if compress else temporary
        try:
            with open(plain, "w", encoding="utf-8", newline="\n") as handle:
                handle.writelines(lines)
            if compress:
                _compress(plain, temporary, path)
        finally:
            if compress:
                plain.unlink(missing_ok=True)
    return path


def _compress(plain: Path, packed: Path, path: Path) -> None:
    import pysam

    pysam.tabix_compress(str(plain), str(packed), force=True)
    with replacing(f"{path}.tbi") as index:
        pysam.tabix_index(str(packed), preset="bed", index=str(index), force=True)


def _write_bigwig(path: Path, blocks: Iterable[ScoreBlock], chrom_sizes: Mapping[str, int]) -> Path:
    try:
        import pyBigWig
    except ImportError:
        needs = 'pyBigWig: pip install "genomic-ulmfit[bigwig]"'
        raise MissingDependencyError("writing bigWig", needs) from None
    with replacing(path) as temporary:
        handle = pyBigWig.open(str(temporary), "w")
        try:
            handle.addHeader(list(chrom_sizes.items()))
            for block in blocks:
                kept = ~np.isnan(block.scores)
                if kept.any():
                    chroms = [block.chrom] * int(kept.sum())
                    handle.addEntries(
                        chroms,
                        block.starts[kept].tolist(),
                        ends=block.ends[kept].tolist(),
                        values=block.scores[kept].tolist(),
                    )
        finally:
            handle.close()
    return path
