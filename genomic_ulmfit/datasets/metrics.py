"""True classes and class probabilities in, the usual metrics out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["METRICS", "jsonable", "metrics", "resampled"]

METRICS = ("accuracy", "precision", "recall", "specificity", "mcc", "roc_auc", "pr_auc")


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
    from sklearn.metrics import matthews_corrcoef

    n_classes = probabilities.shape[1]
    calls = probabilities.argmax(axis=1)
    spoken_of = [1] if n_classes == 2 else [c for c in range(n_classes) if (truth == c).any()]
    each = np.array([_one_against_rest(truth == c, calls == c, probabilities[:, c]) for c in spoken_of])
    precision, recall, specificity, roc_auc, pr_auc = each.mean(axis=0).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one class called: sklearn says 0, as is the convention
        mcc = float(matthews_corrcoef(truth, calls))
    return {
        "accuracy": float((truth == calls).mean()),
        "precision": precision,
        "recall": recall,
        "specificity": specificity,
        "mcc": mcc,
        "roc_auc": roc_auc,
        "pr_auc": pr_auc,
    }


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
    found = [metrics(truth[chosen], probabilities[chosen]) for chosen in drawn]
    samples = np.array([[values[name] for name in METRICS] for values in found])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all of a column may be NaN
        low, high = np.nanpercentile(samples, [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)}


def jsonable(value: Any) -> Any:
    """Return plain JSON values of nested dictionaries, lists and tuples: lists, and None for what is not finite."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _one_against_rest(
    true: NDArray[np.bool_], called: NDArray[np.bool_], score: NDArray[np.floating]
) -> tuple[float, float, float, float, float]:
    """Return precision, recall, specificity, ROC-AUC and average precision of one class."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    hits = (true & called).sum()
    both = true.any() and not true.all()
    return (
        _ratio(hits, called.sum()) if called.any() else 0.0,  # never called: 0, as in scikit-learn
        _ratio(hits, true.sum()),
        _ratio((~true & ~called).sum(), (~true).sum()),
        float(roc_auc_score(true, score)) if both else float("nan"),
        float(average_precision_score(true, score)) if true.any() else float("nan"),
    )


def _ratio(part_: np.integer, whole: np.integer) -> float:
    return float(part_ / whole) if whole else float("nan")
