"""Interval algebra on PyRanges: lists of `Interval` in and out, 0-based half-open, strand disregarded.

Bases covered by an interval are what counts: an interval of length zero covers none. Intervals that cross the origin of
a circular chromosome are cut there first, by `linear_parts`; only `pad` goes on behind it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from genomic_ulmfit.errors import OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.intervals import Interval

if TYPE_CHECKING:
    import pybedtools
    import pyranges

__all__ = [
    "complement",
    "count_overlaps",
    "intersect",
    "linear_parts",
    "merge",
    "overlapping",
    "pad",
    "subtract",
    "to_bedtool",
    "to_pyranges",
]


def to_pyranges(intervals: Iterable[Interval]) -> pyranges.PyRanges:
    """Return a PyRanges with columns Chromosome, Start, End, Name, Score and Strand, one row an interval or call."""
    import pandas as pd
    import pyranges

    names = ["Chromosome", "Start", "End", "Name", "Score", "Strand"]
    return pyranges.PyRanges(pd.DataFrame([interval[:6] for interval in intervals], columns=names))


def to_bedtool(intervals: Iterable[Interval]) -> pybedtools.BedTool:
    """Return a BedTool over the intervals as BED6. Building one does not need the bedtools program; its verbs do."""
    import pybedtools

    return pybedtools.BedTool(
        [(i.chrom, i.start, i.end, i.name, f"{i.score:g}", i.strand) for i in intervals]  # scores as text, short
    )


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return what the intervals cover, strand disregarded, as intervals that neither overlap nor touch.

    Chromosomes come in the order of their first interval; intervals of length zero cover nothing.

    Examples
    --------
    >>> [i.id for i in merge([Interval("chr1", 5, 9), Interval("chr1", 0, 5), Interval("chr1", 20, 30)])]
    ['chr1:0-9(.)', 'chr1:20-30(.)']
    """
    intervals = list(intervals)
    line = _Line(intervals)
    return line.intervals(line.ranges(intervals).merge())


def subtract(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return what the intervals cover and the others do not, strand disregarded, merged.

    Examples
    --------
    >>> [i.id for i in subtract([Interval("chr1", 0, 100)], [Interval("chr1", 40, 60)])]
    ['chr1:0-40(.)', 'chr1:60-100(.)']
    """
    intervals, others = list(intervals), list(others)
    line = _Line([*intervals, *others])
    kept, removed = line.ranges(intervals).merge(), line.ranges(others).merge()
    return line.intervals(kept.subtract(removed) if len(removed) else kept)


def intersect(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return the parts of each interval that the others cover, under its name, score and strand, in order.

    Examples
    --------
    >>> parts = intersect([Interval("chr1", 0, 100, "gene", strand="-")], [Interval("chr1", 90, 120)])
    >>> parts[0].id, parts[0].name
    ('chr1:90-100(-)', 'gene')
    """
    intervals, others = list(intervals), list(others)
    line = _Line([*intervals, *others])
    parts = line.ranges(intervals).intersect(line.ranges(others).merge())
    rows = parts.df["Row"].tolist() if len(parts) else []
    found = zip(rows, line.intervals(parts), strict=True)
    return [
        intervals[row]._replace(start=part.start, end=part.end)
        for row, part in sorted(found, key=lambda item: (item[0], item[1].start))
    ]


def overlapping(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return those intervals that share at least one base with one of the others, strand disregarded, in their order.

    Examples
    --------
    >>> overlapping([Interval("chr1", 0, 10), Interval("chr1", 20, 30)], [Interval("chr1", 9, 20)])
    [Interval(chrom='chr1', start=0, end=10, name='.', score=0.0, strand='.')]
    """
    intervals, others = list(intervals), list(others)
    line = _Line([*intervals, *others])
    kept = line.ranges(intervals).overlap(line.ranges(others).merge())
    rows = sorted(set(kept.df["Row"])) if len(kept) else []
    return [intervals[row] for row in rows]


def count_overlaps(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[int]:
    """Return how many of the others share at least one base with each interval, strand disregarded.

    Examples
    --------
    >>> count_overlaps([Interval("chr1", 0, 10), Interval("chr1", 20, 30)], [Interval("chr1", 5, 21)] * 2)
    [2, 2]
    """
    intervals, others = list(intervals), list(others)
    line = _Line([*intervals, *others])
    counts = [0] * len(intervals)
    if len(places := line.ranges(intervals)) and len(other_places := line.ranges(others)):
        found = places.count_overlaps(other_places).df
        for row, n in zip(found["Row"].tolist(), found["NumberOverlaps"].tolist(), strict=True):
            counts[row] = n
    return counts


def complement(intervals: Iterable[Interval], chrom_sizes: Mapping[str, int]) -> list[Interval]:
    """Return what the intervals leave uncovered of the chromosomes, in the chromosomes' order.

    Parameters
    ----------
    intervals : iterable of Interval
        Inside the chromosomes; strand is disregarded.
    chrom_sizes : mapping of str to int
        Chromosome lengths in bp.

    Returns
    -------
    list of Interval
        Without strand, none touching another.

    Raises
    ------
    UnknownChromosomeError
        If an interval's chromosome is not in `chrom_sizes`.
    OutOfRangeError
        If an interval reaches past its chromosome's end.

    Examples
    --------
    >>> [i.id for i in complement([Interval("chr1", 0, 10), Interval("chr1", 50, 60)], {"chr1": 100})]
    ['chr1:10-50(.)', 'chr1:60-100(.)']
    """
    intervals = list(intervals)
    for interval in intervals:
        size = _size(interval, chrom_sizes)
        if interval.end > size:
            raise OutOfRangeError(interval.chrom, interval.start, interval.end, size)
    return subtract([Interval(chrom, 0, size) for chrom, size in chrom_sizes.items()], intervals)


def pad(
    intervals: Iterable[Interval], bp: int, chrom_sizes: Mapping[str, int], circular: Collection[str] = ()
) -> list[Interval]:
    """Return the intervals made longer by `bp` on either side.

    They are cut off at the ends of linear chromosomes. On `circular` ones they go on behind the origin, in two parts.

    Raises
    ------
    UnknownChromosomeError
        If an interval's chromosome is not in `chrom_sizes`.

    Examples
    --------
    >>> pad([Interval("chr1", 5, 90, "a")], 20, {"chr1": 100})
    [Interval(chrom='chr1', start=0, end=100, name='a', score=0.0, strand='.')]
    >>> [i.id for i in pad([Interval("plasmid", 5, 10)], 20, {"plasmid": 100}, circular={"plasmid"})]
    ['plasmid:85-100(.)', 'plasmid:0-30(.)']
    """
    padded = []
    for interval in intervals:
        size = _size(interval, chrom_sizes)
        start, end = interval.start - bp, interval.end + bp
        if interval.chrom not in circular:
            padded.append(interval._replace(start=min(max(0, start), size), end=min(end, size)))
        elif end - start >= size:
            padded.append(interval._replace(start=0, end=size))
        else:
            padded += linear_parts([interval._replace(start=start, end=end)], chrom_sizes)
    return padded


def linear_parts(intervals: Iterable[Interval], chrom_sizes: Mapping[str, int]) -> list[Interval]:
    """Cut the intervals that cross the origin of a circular chromosome into the parts before and behind it.

    Others stay as they are, but for a start below 0, which is counted from the end. A BED or bedGraph file can hold the
    parts, and not an interval that crosses.

    Raises
    ------
    UnknownChromosomeError
        If an interval's chromosome is not in `chrom_sizes`.
    OutOfRangeError
        If an interval starts past the end of its chromosome, or is longer than that.

    Examples
    --------
    >>> [i.id for i in linear_parts([Interval("plasmid", 90, 120, strand="-")], {"plasmid": 100})]
    ['plasmid:90-100(-)', 'plasmid:0-20(-)']
    """
    parts = []
    for interval in intervals:
        size = _size(interval, chrom_sizes)
        if interval.length > size or min(interval.start + 1, interval.end) > size:
            raise OutOfRangeError(interval.chrom, interval.start, interval.end, size)
        whole = interval.wrapped(size)
        parts.append(whole._replace(end=min(whole.end, size)))
        if whole.end > size:
            parts.append(whole._replace(start=0, end=whole.end - size))
    return parts


def _size(interval: Interval, chrom_sizes: Mapping[str, int]) -> int:
    if interval.chrom not in chrom_sizes:
        raise UnknownChromosomeError(interval.chrom, list(chrom_sizes))
    return chrom_sizes[interval.chrom]


class _Line:
    """Chromosomes laid end to end, a base apart: PyRanges takes its time for each, and genomes have thousands."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        sizes: dict[str, int] = {}
        for interval in intervals:
            if interval.start < 0:
                raise ValueError(f"{interval.chrom}:{interval.start}-{interval.end} starts below 0")
            sizes[interval.chrom] = max(sizes.get(interval.chrom, 0), interval.end)
        self._chroms = list(sizes)
        self._starts = [0, *accumulate(size + 1 for size in sizes.values())]
        self._offsets = dict(zip(self._chroms, self._starts, strict=False))

    def ranges(self, intervals: Iterable[Interval]) -> pyranges.PyRanges:
        """Return places on the line and row numbers only: without a strand column PyRanges disregards strand."""
        import pandas as pd
        import pyranges

        placed = [(self._offsets[i.chrom], i, row) for row, i in enumerate(intervals) if i.start < i.end]
        rows = [("line", offset + i.start, offset + i.end, row) for offset, i, row in placed]
        return pyranges.PyRanges(pd.DataFrame(rows, columns=["Chromosome", "Start", "End", "Row"]), int64=True)

    def intervals(self, ranges: pyranges.PyRanges) -> list[Interval]:
        """Return places on the line as bare intervals."""
        if not len(ranges):
            return []
        found = []
        for start, end in zip(ranges.df["Start"].tolist(), ranges.df["End"].tolist(), strict=True):
            at = bisect_right(self._starts, start) - 1
            found.append(Interval(self._chroms[at], start - self._starts[at], end - self._starts[at]))
        return found
