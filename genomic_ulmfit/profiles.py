"""Saliencies of many records in, what they have in common out: mean profiles around the anchor, with intervals.

Positions count from the anchor along the strand, so that upstream of a TSS the position -10 is what biologists call
-10; the TSS itself is 0 here and +1 there. Intervals are the 2.5 and 97.5 percentiles of a bootstrap over records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.perturbation import Saliency

__all__ = ["Enrichment", "Profile", "average_profile", "enrichment"]

_BOOTSTRAPS = 2000


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean saliency by position relative to the anchor.

    Attributes
    ----------
    positions : int64 array, shape (n_positions,)
        Bases from the anchor along the strand: 0 is the anchor, -10 lies ten bases upstream.
    values : float32 array, shape (n_records, n_positions)
        Saliency of each record, in nats; NaN where it has none.
    mean, low, high : float64 array, shape (n_positions,)
        Mean over the records and its 95 % bootstrap interval, in nats; NaN where no record has a value.
    curves : dict of str to float64 array, shape (n_positions,)
        The mean of each curve, by what replaced the bases.
    """

    positions: NDArray[np.int64]
    values: NDArray[np.float32]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    curves: dict[str, NDArray[np.float64]]

    def inside(self, *stretches: tuple[int, int]) -> NDArray[np.bool_]:
        """Tell which positions lie in one of the stretches ``start <= position < end``; bool array (n_positions,)."""
        return np.logical_or.reduce([(self.positions >= start) & (self.positions < end) for start, end in stretches])


class Enrichment(NamedTuple):
    """How much saliency a stretch holds over its flanks, each with a 95 % bootstrap interval over records.

    Attributes
    ----------
    box, flanks : float
        Mean saliency of their bases, in nats.
    difference : tuple of float
        ``box - flanks``, and the ends of its interval.
    ratio : tuple of float
        ``box / flanks``, and the ends of its interval; NaN where the mean of the flanks is not above 0, and the upper
        end infinite where more than 2.5 % of the draws are like that.
    """

    box: float
    flanks: float
    difference: tuple[float, float, float]
    ratio: tuple[float, float, float]


def average_profile(
    results: Iterable[Saliency], *, anchor: int | None = None, bootstraps: int = _BOOTSTRAPS, seed: int = 0
) -> Profile:
    """Average saliencies over records that are lined up at their anchors.

    Parameters
    ----------
    results : iterable of Saliency
        Of records of any lengths.
    anchor : int, optional
        0-based index in each record of its anchor, such as a classifier's ``anchor``. By default each record's
        ``annotations["anchor"]``.
    bootstraps : int
        Draws of the bootstrap over records.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Profile
        From the first position that a record reaches to the last.

    Raises
    ------
    DatasetError
        If there are no results, they differ in their curves, or an anchor is not given and a record has none.
    SettingError
        If `bootstraps` is below 1.
    """
    results = list(results)
    if not results:
        raise DatasetError("there are no saliencies to average")
    if bootstraps < 1:
        raise SettingError(f"bootstraps is {bootstraps}, wanted 1 or more")
    kinds = tuple(results[0].curves)
    if any(tuple(result.curves) != kinds for result in results):
        raise DatasetError("the saliencies differ in what replaced the bases; average those of one kind")
    anchors = [_anchor(result.record) if anchor is None else anchor for result in results]
    values = _lined_up([result.scores for result in results], anchors)
    counts = _resampled(len(values), bootstraps, np.random.default_rng(seed))
    low, high = _percentiles(_weighted_means(values, counts))
    return Profile(
        positions=np.arange(values.shape[1]) - max(anchors),
        values=values,
        mean=_weighted_means(values, np.ones((1, len(values))))[0],
        low=low,
        high=high,
        curves={kind: _column_means(_lined_up([r.curves[kind] for r in results], anchors)) for kind in kinds},
    )


def enrichment(
    profile: Profile,
    box: tuple[int, int],
    flanks: Sequence[tuple[int, int]],
    *,
    bootstraps: int = _BOOTSTRAPS,
    seed: int = 0,
) -> Enrichment:
    """Compare the saliency of a stretch with that of other stretches.

    Parameters
    ----------
    profile : Profile
        From `average_profile`.
    box : tuple of int
        Positions ``start <= i < end`` from the anchor.
    flanks : sequence of tuple of int
        The same, of what it is compared with.
    bootstraps, seed
        As in `average_profile`.

    Returns
    -------
    Enrichment

    Raises
    ------
    SettingError
        If box or flanks hold no position of the profile, or overlap.
    """
    there, beside = profile.inside(box), profile.inside(*flanks)
    if not there.any() or not beside.any() or (there & beside).any():
        raise SettingError(f"wanted a box and flanks inside the profile and apart, got {box} and {list(flanks)}")
    sides = np.stack([_column_means(profile.values[:, which].T) for which in (there, beside)], axis=1)
    counts = _resampled(len(sides), bootstraps, np.random.default_rng(seed))
    inside, outside = _column_means(sides)
    drawn = _weighted_means(sides, counts)
    ratios = np.divide(drawn[:, 0], drawn[:, 1], out=np.full(len(drawn), np.inf), where=drawn[:, 1] > 0)
    return Enrichment(
        float(inside),
        float(outside),
        (float(inside - outside), *_ends(drawn[:, 0] - drawn[:, 1])),
        (float(inside / outside) if outside > 0 else float("nan"), *_ends(ratios)),
    )


def _anchor(record: SeqRecord) -> int:
    if "anchor" not in record.annotations:
        raise DatasetError(f"record {record.id!r} has no anchor in its annotations; pass anchor=")
    return int(record.annotations["anchor"])


def _lined_up(rows: Sequence[NDArray[np.float32]], anchors: Sequence[int]) -> NDArray[np.float32]:
    """Put rows of any lengths one below the other, their anchors in one column; NaN beside them."""
    left, right = max(anchors), max(len(row) - at for row, at in zip(rows, anchors, strict=True))
    table = np.full((len(rows), left + right), np.nan, dtype=np.float32)
    for line, row, at in zip(table, rows, anchors, strict=True):
        line[left - at : left - at + len(row)] = row
    return table


def _resampled(n: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how often each of `n` records is drawn, (draws, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def _weighted_means(values: NDArray[np.floating], weights: NDArray[np.number]) -> NDArray[np.float64]:
    """Return the means of columns for each row of weights, (n_draws, n_columns); NaN where nothing is known."""
    known = np.isfinite(values)
    total, count = weights @ np.where(known, values, 0).astype(np.float64), weights @ known.astype(np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _column_means(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return _weighted_means(values, np.ones((1, len(values))))[0]


def _percentiles(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 2.5 and 97.5 percentiles of each column, (2, n_columns); NaN in columns that are NaN in every draw."""
    ends = np.full((2, drawn.shape[1]), np.nan)
    known = np.isfinite(drawn).any(axis=0)
    ends[:, known] = np.nanpercentile(drawn[:, known], [2.5, 97.5], axis=0)
    return ends


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5], method="inverted_cdf")  # no mean of a number and infinity
    return float(low), float(high)
