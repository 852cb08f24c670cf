"""Calls, true sites and scores in; the calls and sites that a reader should look at first out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, NamedTuple

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.datasets.records import place
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.report.shown import ScoreTrack

__all__ = ["NEAR", "Look", "Ranking", "rank", "sites_of"]

NEAR = 100  # bp between a call and a site that still counts as that site
_SHOWN = 10


class Look(NamedTuple):
    """A place to look at: a call or a site, its score, and how far the nearest site on its strand is from a call."""

    interval: Interval
    score: float
    distance: float


@dataclass(frozen=True)
class Ranking:
    """What to look at.

    Attributes
    ----------
    best : list of Look
        The calls with the highest scores.
    wrong : list of Look
        The calls with the highest scores that have no site within `NEAR` bp on their strand.
    missed : list of Look
        The sites with the lowest scores at their place; those without a score are left out.
    n_calls, n_wrong, n_sites, n_uncalled : int
        How many there are of each; uncalled are the sites without a call within `NEAR` bp on their strand.
    """

    best: list[Look]
    wrong: list[Look]
    missed: list[Look]
    n_calls: int
    n_wrong: int
    n_sites: int
    n_uncalled: int


def sites_of(records: Iterable[SeqRecord], background: str = "background") -> list[Interval]:
    """Return where the anchors of labelled records lie that are not background, as stranded intervals of 1 bp."""
    found = []
    for record in records:
        annotations: dict[str, Any] = record.annotations
        interval, anchor = place(record), annotations.get("anchor")
        if interval is None or anchor is None or annotations["label"] == background:
            continue
        site = interval.end - 1 - anchor if interval.strand == "-" else interval.start + anchor
        found.append(interval._replace(start=site, end=site + 1))
    return sorted(dict.fromkeys(found))


def rank(calls: Sequence[Interval], sites: Sequence[Interval], tracks: Sequence[ScoreTrack]) -> Ranking:
    """Choose the calls and the sites to look at first; ties go to the first on the genome.

    Parameters
    ----------
    calls : sequence of Interval
        Their scores only order them.
    sites : sequence of Interval
        True sites. A strand of "." fits both.
    tracks : sequence of ScoreTrack
        Of which those of probabilities say the score of a site.
    """
    to_sites = _distances(calls, sites)
    looks = sorted(
        (Look(call, call.score, distance) for call, distance in zip(calls, to_sites, strict=True)),
        key=lambda look: (-look.score, look.interval[:3]),
    )
    wrong = [look for look in looks if look.distance > NEAR] if sites else []
    to_calls = _distances(sites, calls)
    scored = [Look(site, _score_at(site, tracks), gap) for site, gap in zip(sites, to_calls, strict=True)]
    missed = sorted((look for look in scored if not isnan(look.score)), key=lambda look: (look.score, look.interval))
    return Ranking(
        best=looks[:_SHOWN],
        wrong=wrong[:_SHOWN],
        missed=missed[:_SHOWN],
        n_calls=len(calls),
        n_wrong=len(wrong),
        n_sites=len(sites),
        n_uncalled=int((to_calls > NEAR).sum()),
    )


def _distances(intervals: Sequence[Interval], others: Sequence[Interval]) -> NDArray[np.float64]:
    """Return the bp from each interval to the nearest other on its strand: 0 overlap, 1 touch, inf there is none."""
    found = np.full(len(intervals), inf)
    for chrom, strand in {(i.chrom, i.strand) for i in intervals}:
        near = sorted(i[1:3] for i in others if i.chrom == chrom and _one_strand(strand, i.strand))
        if not near:
            continue
        rows = [row for row, i in enumerate(intervals) if (i.chrom, i.strand) == (chrom, strand)]
        begin, end = np.array([intervals[row][1:3] for row in rows], dtype=np.float64).T
        starts, ends = np.array(near, dtype=np.float64).T
        after = np.searchsorted(starts, end)  # the first that starts behind the interval
        right = np.append(starts, inf)[after] - end + 1
        left = begin - np.append(-inf, np.maximum.accumulate(ends))[after] + 1
        found[rows] = np.maximum(0, np.minimum(left, right))
    return found


def _one_strand(one: str, other: str) -> bool:
    return one == other or "." in (one, other)


def _score_at(site: Interval, tracks: Sequence[ScoreTrack]) -> float:
    """Return the highest probability at a site's first base, of the tracks that speak of its strand."""
    rows = [
        track.rows[site.chrom]
        for track in tracks
        if track.is_probability and site.chrom in track.rows and _one_strand(track.strand, site.strand)
    ]
    scores = [one.at(site.first) for one in rows]
    return max((score for score in scores if not isnan(score)), default=float("nan"))
