"""Calls: scored blocks in, the intervals where the score is high out, 0-based half-open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.tracks import ScoreBlock

__all__ = ["call_peaks"]


def call_peaks(blocks: Iterable[ScoreBlock], *, threshold: float = 0.5, min_distance: int = 50) -> list[Interval]:
    """Call the stretches where the score reaches a threshold.

    A call is a run of bins, each with a score of at least `threshold`, on one strand of one chromosome. Runs with fewer
    than `min_distance` bp between them become one call, from the start of the first to the end of the last. A bin
    without an answer (NaN) ends a run as a low one does.

    Parameters
    ----------
    blocks : iterable of ScoreBlock
        Sorted by start and not overlapping on each strand of each chromosome; strands may alternate.
    threshold : float
        Lowest score of a call.
    min_distance : int
        In bp. With 0 only runs that touch are joined.

    Returns
    -------
    list of Interval
        Sorted by chromosome (in the order of the blocks), start and strand, named ``peak_1``, ``peak_2``, ... The score
        is the highest of the call's bins, the strand that of its blocks.

    Raises
    ------
    ValueError
        If a block starts before the one before it on its strand ends, or `min_distance` is negative.

    Examples
    --------
    >>> scores = np.array([0.1, 0.9, 0.7, 0.2, 0.6, 0.1], dtype=np.float32)
    >>> for call in call_peaks([ScoreBlock("chr1", 0, 10, scores, 60, "+")], min_distance=0):
    ...     print(call.id, call.name, round(call.score, 2))
    chr1:10-30(+) peak_1 0.9
    chr1:40-50(+) peak_2 0.6
    """
    if min_distance < 0:
        raise ValueError(f"min_distance is a length in bp, got {min_distance}")
    calls: dict[tuple[str, str], list[Interval]] = {}
    ends: dict[tuple[str, str], int] = {}
    rank: dict[str, int] = {}
    for block in blocks:
        key = (block.chrom, block.strand)
        rank.setdefault(block.chrom, len(rank))
        if block.start < ends.get(key, 0):
            raise ValueError(
                f"{block.chrom}:{block.start} on {block.strand!r} comes after {ends[key]}; sort the blocks"
            )
        ends[key] = block.end
        strand_calls = calls.setdefault(key, [])
        for run in _runs(block, threshold):
            _join(strand_calls, run, min_distance)
    found = [call for strand_calls in calls.values() for call in strand_calls]
    found.sort(key=lambda call: (rank[call.chrom], call.start, call.strand))
    return [call._replace(name=f"peak_{number}") for number, call in enumerate(found, 1)]


def _runs(block: ScoreBlock, threshold: float) -> Iterator[Interval]:
    high = np.zeros(len(block.scores) + 2, dtype=np.int8)
    high[1:-1] = block.scores >= threshold  # NaN is not
    edges = np.diff(high)
    for first, after in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        start, end = block.start + int(first) * block.step, min(block.start + int(after) * block.step, block.end)
        yield Interval(block.chrom, start, end, ".", float(block.scores[first:after].max()), block.strand)


def _join(calls: list[Interval], run: Interval, min_distance: int) -> None:
    if calls and run.start - calls[-1].end < max(min_distance, 1):
        run = run._replace(start=calls[-1].start, score=max(calls[-1].score, run.score))
        calls[-1] = run
    else:
        calls.append(run)
