"""A linear probe: a classifier's frozen encoder and labelled rows in, its one linear layer set by logistic regression.

The encoder reads each row once (`Engine.features`); what follows is a regression of numbers. Its standardisation is
folded into the layer's weights, so that the classifier is one like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.engine import Engine, best_device
from genomic_ulmfit.progress import progress_bar

__all__ = ["PENALTIES", "LinearFit", "fit_probe", "regress"]

PENALTIES = tuple(float(c) for c in np.logspace(-5, 0, 11).round(7))
_FOLDS = 5
_MOST_TUNED = 5000  # records that the penalty is chosen on; more take minutes and choose the same
_SMALLEST_SCALE = 1e-3
_ITERATIONS = 5000
_TOLERANCE = 1e-7  # at scikit-learn's default, 1e-4, probabilities are off by up to 0.005


@dataclass(frozen=True)
class LinearFit:
    """A logistic regression of features as they come: the standardisation is in the weights.

    Attributes
    ----------
    weights : float64 array, shape (n_classes, n_features)
    bias : float64 array, shape (n_classes,)
        Two classes have logits 0 and w x + b.
    penalty : float
        scikit-learn's C that was chosen: the smaller, the nearer to 0 the weights are held.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    penalty: float


def fit_probe(
    model: Classifier,
    rows: Sequence[Ids],
    targets: NDArray[np.int64],
    *,
    seed: int = 0,
    bf16: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> float:
    """Set a classifier's head by logistic regression on what its encoder makes of labelled rows.

    Parameters
    ----------
    model : Classifier
        With ``n_head=0``. Its head is changed in place, its encoder is not.
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.
    targets : int64 array, shape (n_records,)
        Class index of each record; two of each class at least.
    seed : int
        Of the folds.
    bf16 : bool
        Read in bf16.
    device : str, optional
        Where to read: a GPU where there is one if not given. The regression is done on the CPU.
    progress : bool
        Show progress.

    Returns
    -------
    float
        The penalty C that was chosen.
    """
    engine = Engine(model, device=best_device(device), bf16=bf16)
    with progress_bar("probe", len(rows), unit="records", show=progress) as bar:
        features = engine.features(rows, advance=bar.advance)
    fit = regress(features, targets, seed=seed)
    with torch.no_grad():
        model.head.get_parameter("0.weight").copy_(torch.from_numpy(fit.weights))
        model.head.get_parameter("0.bias").copy_(torch.from_numpy(fit.bias))
    return fit.penalty


def regress(features: NDArray[np.float32], targets: NDArray[np.int64], *, seed: int = 0) -> LinearFit:
    """Fit a logistic regression, its penalty chosen by cross-validation.

    Features are standardised, and classes weigh the same, however many records each has: else a class of one record in
    ten is hardly ever called, and probabilities are those of a set that is even. Of the `PENALTIES` the one with the
    lowest cross entropy, classes weighing the same, is taken, in five stratified folds (fewer where a class has fewer
    records) of at most 5,000 records.

    Parameters
    ----------
    features : float32 array, shape (n_records, n_features)
        With the standardised float64 copy that is made of them 12 bytes a value: 2 GB for 100,000 records of 1,536.
    targets : int64 array, shape (n_records,)
        Class indices from 0 on; two records of each class at least.
    seed : int
        Of the folds.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    # Outputs of an LSTM are between -1 and 1. One that hardly moves says nothing, but would be blown up, and rounding
    # with it.
    scale = features.std(axis=0, dtype=np.float64).clip(min=_SMALLEST_SCALE)
    standardised = features - mean
    standardised /= scale
    penalty = _best_penalty(standardised, targets, seed)
    model = _regression(penalty).fit(standardised, targets)
    weights = model.coef_ / scale
    bias = model.intercept_ - weights @ mean
    if len(weights) == 1:
        weights, bias = (np.concatenate([np.zeros_like(x), x]) for x in (weights, bias))
    return LinearFit(weights, bias, penalty)


def _best_penalty(standardised: NDArray[np.float64], targets: NDArray[np.int64], seed: int) -> float:
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.utils.class_weight import compute_sample_weight

    def score(model: Any, x: NDArray[np.float64], y: NDArray[np.int64]) -> float:
        return -float(log_loss(y, model.predict_proba(x), sample_weight=compute_sample_weight("balanced", y)))

    tried = _some_of_each(targets, seed)
    smallest = int(np.bincount(targets[tried]).min())
    folds = StratifiedKFold(min(_FOLDS, smallest), shuffle=True, random_state=seed)
    search = GridSearchCV(_regression(1.0, tolerance=1e-4), {"C": PENALTIES}, scoring=score, cv=folds, refit=False)
    return float(search.fit(standardised[tried], targets[tried]).best_params_["C"])


def _regression(penalty: float, tolerance: float = _TOLERANCE) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=_ITERATIONS, tol=tolerance)


def _some_of_each(targets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw at most 5,000 records, as many of each class where there are, and two at least."""
    order = np.random.default_rng(seed).permutation(len(targets))
    n_classes = int(targets.max()) + 1
    most = max(2, _MOST_TUNED // n_classes)
    return np.concatenate([order[targets[order] == number][:most] for number in range(n_classes)])
