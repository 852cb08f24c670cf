"""A linear probe: a language model and labelled rows in, one linear layer on its pooled outputs out.

The encoder reads each row once (`Engine.features`); what follows is a regression of numbers. Its standardisation is
folded into the layer's weights, so that the classifier is one like any other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.net.awd_lstm import Classifier, LanguageModel
from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.engine import Engine, best_device
from genomic_ulmfit.progress import progress_bar

__all__ = ["PENALTIES", "LinearFit", "blocks_of", "fit_probe", "pooled_outputs", "regress", "set_head"]

PENALTIES = tuple(float(c) for c in np.logspace(-5, 0, 11).round(7))
_FOLDS = 5
_MOST_TUNED = 5000  # records that the penalty is chosen on; more take minutes and choose the same
_ITERATIONS = 5000
_TOLERANCE = 1e-7  # at scikit-learn's default, 1e-4, probabilities are off by up to 0.005
_TINY = 1e-6  # a scale of outputs that never move

PoolName = Literal["last", "all"]


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
    loss : float
        Cross entropy in cross-validation with that penalty, in nats a record, classes weighing the same.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    penalty: float
    loss: float


def fit_probe(
    model: LanguageModel,
    rows: Sequence[Ids],
    targets: NDArray[np.int64],
    *,
    pools: Sequence[PoolName] = ("all", "last"),
    segments: Sequence[int] = (1,),
    seed: int = 0,
    bf16: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> tuple[PoolName, int, LinearFit]:
    """Find the linear layer that tells labelled rows apart by what a language model makes of them.

    Parameters
    ----------
    model : LanguageModel
        Left as it is.
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.
    targets : int64 array, shape (n_records,)
        Class index of each record; two of each class at least.
    pools : sequence of {"all", "last"}
        Which LSTM layers to pool: of several, the one with the lowest loss in cross-validation.
    segments : sequence of int
        Into how many segments to divide a record, chosen likewise; one number above 1 at most.
    seed, bf16, device, progress
        As in `regress` and `pooled_outputs`.

    Returns
    -------
    pool : {"all", "last"}
        What was taken.
    n_segments : int
        What was taken.
    fit : LinearFit
        For `set_head` of a classifier with ``n_head=0``, that pool and so many segments.
    """
    features, widths = pooled_outputs(model, rows, segments=max(segments), bf16=bf16, device=device, progress=progress)
    fits: list[tuple[PoolName, int, LinearFit]] = []
    for pool, n in product(pools, segments):
        used = blocks_of(len(widths), model.config.n_layers, pool, n)
        columns = features[:, np.repeat(used, widths)]
        fits.append((pool, n, regress(columns, targets, np.array(widths)[used].tolist(), seed=seed)))
    return min(fits, key=lambda found: found[2].loss)


def blocks_of(n_blocks: int, n_layers: int, pool: PoolName, segments: int) -> NDArray[np.bool_]:
    """Tell which blocks of pooled outputs a head reads that pools some layers, as a whole (1) or by segments too.

    Examples
    --------
    >>> blocks_of(10, 2, "all", 1).astype(int)  # two layers: last, maximum, mean, and the means of two segments
    array([1, 1, 1, 0, 0, 1, 1, 1, 0, 0])
    >>> blocks_of(10, 2, "last", 2).astype(int)
    array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    layer, place = np.divmod(np.arange(n_blocks), n_blocks // n_layers)
    return ((layer == n_layers - 1) | (pool == "all")) & ((place < 3) | (segments > 1))


def pooled_outputs(
    model: LanguageModel | Classifier,
    rows: Sequence[Ids],
    *,
    segments: int = 1,
    bf16: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> tuple[NDArray[np.float32], list[int]]:
    """Read rows once and keep what the outputs of every LSTM layer are pooled to.

    Parameters
    ----------
    model : LanguageModel or Classifier
        Left as it is.
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.
    segments : int
        Into how many to divide each record.
    bf16 : bool
        Read in bf16.
    device : str, optional
        Where to read: a GPU where there is one if not given.
    progress : bool
        Show progress.

    Returns
    -------
    features : float32 array, shape (n_records, n_features)
        As `Engine.features` gives them, the last layer's at the end.
    widths : list of int
        Of the blocks of columns that belong together: for each layer three, and one for each of several segments.
    """
    config = dataclasses.replace(model.config, n_head=0, pool="all", segments=segments)
    with torch.random.fork_rng(devices=[]):  # making a net draws weights
        reader = Classifier(model.vocab, config, ["background", "x"])  # for its layers: the head is not looked at
    reader.encoder.load_state_dict(model.encoder.state_dict())
    engine = Engine(reader, device=best_device(device), bf16=bf16)
    with progress_bar("probe", len(rows), unit="records", show=progress) as bar:
        features = engine.features(rows, advance=bar.advance)
    return features, [width for _, width in engine.pooled for _ in range(config.n_pools)]


def set_head(model: Classifier, fit: LinearFit) -> None:
    """Give a classifier with ``n_head=0`` the weights of a fit, in float32."""
    with torch.no_grad():
        model.head.get_parameter("0.weight").copy_(torch.from_numpy(fit.weights))
        model.head.get_parameter("0.bias").copy_(torch.from_numpy(fit.bias))


def regress(
    features: NDArray[np.float32], targets: NDArray[np.int64], widths: Sequence[int], *, seed: int = 0
) -> LinearFit:
    """Fit a logistic regression, its penalty chosen by cross-validation.

    Each feature is centred and each block of features divided by one scale, so that all blocks vary by the same in
    sum. A scale for each feature would be an estimate from a handful of records, and units that hardly move in these
    but do in others would drown the rest: with 20 labels MCC .27 in place of .50.

    Classes weigh the same, however many records each has: else a class of one record in ten is hardly ever called, and
    probabilities are those of a set that is even. Of the `PENALTIES` the one with the lowest cross entropy, classes
    weighing the same, is taken, in five stratified folds (fewer where a class has fewer records) of at most 5,000
    records.

    Parameters
    ----------
    features : float32 array, shape (n_records, n_features)
        With the standardised float64 copy that is made of them 12 bytes a value: 2 GB for 100,000 records of 1,536.
    targets : int64 array, shape (n_records,)
        Class indices from 0 on; two records of each class at least.
    widths : sequence of int
        Of the blocks of columns, which sum to n_features.
    seed : int
        Of the folds.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    if (features == features[0]).all():
        raise DatasetError("the language model reads all records alike, so there is nothing to learn from them")
    scale = _block_scales(features.var(axis=0, dtype=np.float64), widths)
    standardised = features - mean
    standardised /= scale
    coordinates, basis = _in_their_span(standardised)
    penalty, loss = _best_penalty(coordinates, targets, seed)
    model = _regression(penalty).fit(coordinates, targets)
    weights = (model.coef_ if basis is None else model.coef_ @ basis.T @ standardised) / scale
    bias = model.intercept_ - weights @ mean
    if len(weights) == 1:
        weights, bias = (np.concatenate([np.zeros_like(x), x]) for x in (weights, bias))
    return LinearFit(weights, bias, penalty, loss)


def _in_their_span(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return fewer records than features as coordinates along axes at right angles, and what makes axes of records.

    The best weights lie in the span of the records, and the penalty is the same along any axes at right angles: so it
    is the same regression, of far fewer numbers (Hastie & Tibshirani 2004, doi:10.1093/biostatistics/kxh010).
    The axes are ``basis.T @ x``.
    """
    if len(x) >= x.shape[1]:
        return x, None
    squares, turned = np.linalg.eigh(x @ x.T)
    real = squares > squares.max(initial=0) * len(x) * np.finfo(np.float64).eps
    lengths, turned = np.sqrt(squares[real]), turned[:, real]
    return turned * lengths, turned / lengths


def _block_scales(variances: NDArray[np.float64], widths: Sequence[int]) -> NDArray[np.float64]:
    """Return a scale for each feature, the same within a block, that makes the mean variance of all features 1."""
    starts = np.cumsum([0, *widths[:-1]])
    sums = np.add.reduceat(variances, starts)
    return np.repeat(np.sqrt(sums / np.mean(widths)).clip(min=_TINY), widths)


def _best_penalty(standardised: NDArray[np.float64], targets: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the penalty with the lowest loss in cross-validation, and that loss."""
    from sklearn.model_selection import StratifiedKFold

    tried = _some_of_each(targets, seed)
    x, y = standardised[tried], targets[tried]
    folds = StratifiedKFold(min(_FOLDS, int(np.bincount(y).min())), shuffle=True, random_state=seed)
    losses = np.mean([_losses(x[learnt], y[learnt], x[left], y[left]) for learnt, left in folds.split(x, y)], axis=0)
    return PENALTIES[losses.argmin()], float(losses.min())


def _losses(
    x: NDArray[np.float64], y: NDArray[np.int64], left: NDArray[np.float64], truth: NDArray[np.int64]
) -> list[float]:
    """Return the cross entropy of what is left, for each of the penalties, classes weighing the same."""
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    even = compute_sample_weight("balanced", truth)
    model = _regression(PENALTIES[0], tolerance=1e-4).set_params(warm_start=True)  # each begins where the last ended
    fitted = (model.set_params(C=penalty).fit(x, y) for penalty in PENALTIES)
    return [float(log_loss(truth, model.predict_proba(left), sample_weight=even)) for model in fitted]


def _regression(penalty: float, tolerance: float = _TOLERANCE) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=_ITERATIONS, tol=tolerance)


def _some_of_each(targets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw at most 5,000 records, as many of each class where there are, and two at least."""
    order = np.random.default_rng(seed).permutation(len(targets))
    n_classes = int(targets.max()) + 1
    most = max(2, _MOST_TUNED // n_classes)
    return np.concatenate([order[targets[order] == number][:most] for number in range(n_classes)])
