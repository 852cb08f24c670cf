"""True classes and probabilities in; ROC, precision-recall and reliability curves with 95 % intervals out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genomic_ulmfit.errors import DatasetError, SettingError

__all__ = ["Calibration", "RankingCurves", "calibration", "ranking_curves"]

_GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True, eq=False)
class RankingCurves:
    """How well a score ranks records of one class above the others.

    Attributes
    ----------
    grid : float64 array, shape (n_points,)
        False positive rate of the ROC curve, recall of the precision-recall curve: 0 to 1.
    true_positive_rate, precision : float64 array, shape (n_points,)
        At each point of the grid. Precision at a recall is that of the highest threshold that reaches it.
    true_positive_rate_interval, precision_interval : float64 array, shape (2, n_points)
        Lower and upper ends of the 95 % bootstrap interval at each point.
    roc_auc, pr_auc : tuple of float
        Areas (the second as average precision), and the ends of their intervals.
    positives, negatives : int
        Numbers of records.
    """

    grid: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    precision: NDArray[np.float64]
    true_positive_rate_interval: NDArray[np.float64]
    precision_interval: NDArray[np.float64]
    roc_auc: tuple[float, float, float]
    pr_auc: tuple[float, float, float]
    positives: int
    negatives: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether probabilities are what they say, bin by bin.

    Attributes
    ----------
    edges : float64 array, shape (n_bins + 1,)
        Of the bins of probability, 0 to 1; a bin holds its lower edge, the last one both.
    counts : int64 array, shape (n_bins,)
        Records in each bin.
    predicted, observed : float64 array, shape (n_bins,)
        Mean probability and share of true records in each bin; NaN in empty ones.
    interval : float64 array, shape (2, n_bins)
        95 % Wilson interval of the share observed (Wilson, J. Am. Stat. Assoc. 22:209, 1927).
    error : tuple of float
        Expected calibration error, the mean over the records of their bin's ``|observed - predicted|`` (Naeini et al.,
        AAAI 2015), and the ends of its 95 % bootstrap interval. It is above 0 by chance alone where bins hold few.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    interval: NDArray[np.float64]
    error: tuple[float, float, float]


def ranking_curves(
    true: NDArray[np.bool_], score: NDArray[np.floating], *, bootstraps: int = 500, seed: int = 0
) -> RankingCurves:
    """Compute ROC and precision-recall curves.

    Parameters
    ----------
    true : bool array, shape (n_records,)
        Which records are of the class.
    score : float array, shape (n_records,)
        Higher where the class is more likely.
    bootstraps : int
        Draws of records, with replacement; those of one class alone are drawn again.
    seed : int
        Of the bootstrap.

    Returns
    -------
    RankingCurves

    Raises
    ------
    DatasetError
        If all records are of the class, or none is.
    SettingError
        If `bootstraps` is below 1.

    Examples
    --------
    >>> found = ranking_curves(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> found.roc_auc[0], round(found.pr_auc[0], 3)
    (0.75, 0.833)
    """
    true, values = np.asarray(true, dtype=bool), np.asarray(score, dtype=np.float64)
    if true.all() or not true.any():
        raise DatasetError(f"ROC and PR need records of both kinds, got {true.sum()} of the class and {(~true).sum()}")
    _check(bootstraps)
    rng = np.random.default_rng(seed)
    roc, precision, areas = _on_grid(true, values)
    drawn: list[tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]] = []
    while len(drawn) < bootstraps:
        chosen = rng.integers(len(true), size=len(true))
        if 0 < true[chosen].sum() < len(true):
            drawn.append(_on_grid(true[chosen], values[chosen]))
    ends = [np.percentile(what, [2.5, 97.5], axis=0) for what in map(np.array, zip(*drawn, strict=True))]
    roc_auc, pr_auc = ((area, float(low), float(high)) for area, low, high in zip(areas, *ends[2], strict=True))
    positives = int(true.sum())
    return RankingCurves(_GRID, roc, precision, ends[0], ends[1], roc_auc, pr_auc, positives, len(true) - positives)


def calibration(
    true: NDArray[np.bool_], probability: NDArray[np.floating], *, bins: int = 10, bootstraps: int = 500, seed: int = 0
) -> Calibration:
    """Compare probabilities with what came true.

    Parameters
    ----------
    true : bool array, shape (n_records,)
        Which records are of the class.
    probability : float array, shape (n_records,)
        Of the class.
    bins : int
        Number of bins of equal width.
    bootstraps, seed
        As in `ranking_curves`.

    Returns
    -------
    Calibration

    Raises
    ------
    DatasetError
        If there are no records, or a probability is not within 0 and 1.
    SettingError
        If `bins` or `bootstraps` is below 1.

    Examples
    --------
    >>> found = calibration(np.array([False, True, True, True]), np.array([0.25, 0.25, 0.75, 0.75]), bins=2)
    >>> found.observed.tolist(), found.counts.tolist(), found.error[0]
    ([0.5, 1.0], [2, 2], 0.25)
    """
    true, values = np.asarray(true, dtype=bool), np.asarray(probability, dtype=np.float64)
    if not len(true) or not ((values >= 0) & (values <= 1)).all():
        raise DatasetError(f"calibration needs records with probabilities of 0 to 1, got {len(true)} records")
    _check(bootstraps)
    if bins < 1:
        raise SettingError(f"bins is {bins}, wanted 1 or more")
    rng = np.random.default_rng(seed)
    counts, predicted, observed = _binned(true, values, bins)
    drawn = []
    for _ in range(bootstraps):
        chosen = rng.integers(len(true), size=len(true))
        drawn.append(_error(*_binned(true[chosen], values[chosen], bins)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    error = (_error(counts, predicted, observed), float(low), float(high))
    return Calibration(np.linspace(0, 1, bins + 1), counts, predicted, observed, _wilson(observed, counts), error)


def _check(bootstraps: int) -> None:
    if bootstraps < 1:
        raise SettingError(f"bootstraps is {bootstraps}, wanted 1 or more")


def _on_grid(
    true: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Return, on the grid, the true positive rate by false positive rate and precision by recall; and the areas."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # records of one score are called together
    hits, calls = np.cumsum(true[order])[last], np.flatnonzero(last) + 1
    recall, false_rate = hits / hits[-1], (calls - hits) / (len(true) - hits[-1])
    steps, rates = np.append(0, recall), np.append(0, false_rate)
    areas = float(np.trapezoid(steps, rates)), float((np.diff(steps) * hits / calls).sum())
    reached = np.minimum(np.searchsorted(recall, _GRID - 1e-12), len(recall) - 1)
    return _highest(_GRID, rates, steps), (hits / calls)[reached], areas


def _highest(grid: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate between points of rising `x`, taking the last of those with the same `x`."""
    kept = np.append(np.diff(x) > 0, True)
    return np.interp(grid, x[kept], y[kept])


def _binned(
    true: NDArray[np.bool_], probability: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return how many records each bin holds, their mean probability and the share that is true."""
    where = np.minimum((probability * bins).astype(np.int64), bins - 1)
    counts = np.bincount(where, minlength=bins)
    predicted, observed = (
        np.divide(np.bincount(where, weights=what, minlength=bins), counts, out=np.full(bins, np.nan), where=counts > 0)
        for what in (probability, true)
    )
    return counts, predicted, observed


def _error(counts: NDArray[np.int64], predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> float:
    return float(np.nansum(counts * np.abs(observed - predicted)) / counts.sum())


def _wilson(share: NDArray[np.float64], n: NDArray[np.int64], z: float = 1.959964) -> NDArray[np.float64]:
    """Return the Wilson interval of shares, (2, n_bins); NaN where there is nothing."""
    n = np.where(n > 0, n, 1)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.stack([middle - half, middle + half])
