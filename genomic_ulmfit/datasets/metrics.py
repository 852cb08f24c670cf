"""True classes and class probabilities in, the usual metrics out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "jsonable", "metrics", "resampled"]

METRICS = ("accuracy", "precision", "recall", "specificity", "mcc", "roc_auc", "pr_auc")
_WEIGHTS_AT_ONCE = 2_000_000  # draws times records: 16 MB


def metrics(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[str, float]:
    """Compute the metrics of predicted probabilities.

    Parameters
    ----------
    truth : int array, shape (n_records,)
        Class indices. With two classes, class 1 is the target.
    probabilities : float array, shape (n_records, n_classes)
        The most probable class is the call.

    Returns
    -------
    dict of str to float
        The names of `METRICS`; NaN where a metric is undefined.

    Examples
    --------
    >>> found = metrics(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]))
    >>> found["accuracy"], found["recall"], found["specificity"], round(found["mcc"], 3)
    (0.75, 0.5, 1.0, 0.577)
    """
    (values,) = _of_weights(truth, probabilities, np.ones((1, len(truth))))
    return dict(zip(METRICS, values.tolist(), strict=True))


def resampled(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], drawn: Iterable[NDArray[np.integer]]
) -> dict[str, tuple[float, float]]:
    """Return the 2.5 and 97.5 percentiles of each metric over draws of a bootstrap.

    Parameters
    ----------
    truth, probabilities : array
        As for `metrics`.
    drawn : iterable of int array
        Indices of the records of each draw.

    Returns
    -------
    dict of str to (float, float)
        NaN for a metric that is undefined in every draw.
    """
    drawn, samples = iter(drawn), []
    at_once = max(1, _WEIGHTS_AT_ONCE // len(truth))
    while chunk := [np.bincount(chosen, minlength=len(truth)) for chosen in islice(drawn, at_once)]:
        samples.append(_of_weights(truth, probabilities, np.array(chunk, dtype=float)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all of a column may be NaN
        low, high = np.nanpercentile(np.concatenate(samples), [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)}


def jsonable(value: Any) -> Any:
    """Return plain JSON values of nested dictionaries, lists and tuples: lists, and None for what is not finite."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _of_weights(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the metrics, shape (n_draws, n_metrics), of draws that hold record ``i`` ``weights[draw, i]`` times.

    All draws at once: a bootstrap by the functions of scikit-learn, the oracle in the tests, takes some sixty times as
    long.
    """
    n_classes = probabilities.shape[1]
    calls = probabilities.argmax(axis=1)
    right = truth == calls
    known, called = _sums(weights, truth, n_classes), _sums(weights, calls, n_classes)
    hits = _sums(weights[:, right], truth[right], n_classes)
    total, agreed = weights.sum(axis=1), hits.sum(axis=1)
    others = total[:, None] - known
    two = n_classes == 2
    spoken_of = np.array([1]) if two else np.unique(truth)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        precision = hits / np.maximum(called, 1)  # never called: 0, as in scikit-learn
        rates = np.stack([precision, hits / known, (others - called + hits) / others])[..., spoken_of]
        areas = np.stack([_areas(weights, truth == c, probabilities[:, c]) for c in spoken_of], axis=-1)
        each = np.concatenate([rates, areas])  # (5, n_draws, n_spoken)
        present = known[:, spoken_of] > 0
        mean = each[..., 0] if two else np.where(present, each, 0.0).sum(axis=-1) / present.sum(axis=-1)
    return np.stack([agreed / total, *mean[:3], _mcc(agreed, known, called), *mean[3:]], axis=1)


def _sums(weights: NDArray[np.floating], classes: NDArray[np.integer], n_classes: int) -> NDArray[np.floating]:
    """Return the weight of each class, shape (n_draws, n_classes)."""
    from scipy.sparse import csr_array  # thousands of classes would fill the memory

    n = len(classes)
    return weights @ csr_array((np.ones(n), classes, np.arange(n + 1)), shape=(n, n_classes))


def _mcc(
    agreed: NDArray[np.floating], known: NDArray[np.floating], called: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return Matthews' coefficient for any number of classes (Gorodkin 2004); 0 where only one is known or called."""
    total = known.sum(axis=1)
    covariance = agreed * total - (known * called).sum(axis=1)
    spread = (total**2 - (known**2).sum(axis=1)) * (total**2 - (called**2).sum(axis=1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


def _areas(weights: NDArray[np.floating], true: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ROC-AUC and average precision of one class against the rest, shape (2, n_draws).

    Records that tie are one step of both curves.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    above = weights[:, order].cumsum(axis=1)[:, last]
    hits = (weights * true)[:, order].cumsum(axis=1)[:, last]
    misses = above - hits
    gained, lost = np.diff(hits, prepend=0.0), np.diff(misses, prepend=0.0)
    with np.errstate(invalid="ignore"):
        roc = (lost * (hits - gained / 2)).sum(axis=1) / (hits[:, -1] * misses[:, -1])
        average_precision = (gained * hits / np.maximum(above, 1)).sum(axis=1) / hits[:, -1]
    return np.stack([roc, average_precision])
