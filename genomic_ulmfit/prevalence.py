"""Probabilities in, probabilities for another share of the classes out: a genome has fewer targets than a data set.

A classifier learns as if the classes were as frequent as they weighed in its loss, mostly equally. Where a target is
one window in a thousand, its probability there follows by Bayes' rule (Saerens, Latinne & Decaestecker 2002, Neural
Computation 14:21, eq. 2.4): p'(c) is proportional to p(c) times the share of class c there, divided by that in
training.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.net.ensemble import AnyClassifier, members_of
from genomic_ulmfit.net.kinds import require_classifier

__all__ = ["at_prevalence", "strategies_of", "trained_prevalence"]

_UNLIKE_A_GENOME = ("gene-body", "shuffle", "partial-shuffle")

_log = logging.getLogger(__name__)


def at_prevalence(
    model: AnyClassifier, probabilities: NDArray[np.floating], prior: float, *, target: str | None = None
) -> NDArray[np.float32]:
    """Shift probabilities to a world in which the target class has another share.

    The other classes keep their shares among each other. A warning is logged where the negatives that the model
    learnt from are not like a genome (gene bodies, shuffled sequence): what it says of the rest is then unknown.

    Parameters
    ----------
    model : Classifier or Ensemble
        That gave the probabilities.
    probabilities : float array, shape (n, n_classes)
        As from `predict_proba`.
    prior : float
        Share of the target class there, between 0 and 1: 0.001 is one window in a thousand.
    target : str, optional
        The class; the only one not called "background" if not given.

    Returns
    -------
    float32 array, shape (n, n_classes)
        Rows sum to 1.

    Raises
    ------
    ModelKindError
        If `model` is no classifier.
    SettingError
        If `prior` is not between 0 and 1.
    UnknownClassError
        If there is no such class, or there are several to choose from.

    Examples
    --------
    >>> from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
    >>> from genomic_ulmfit.net.kmers import KmerVocab
    >>> model = Classifier(KmerVocab(1), AWDLSTMConfig(n_embedding=1, n_hidden=1), ["background", "promoter"])
    >>> at_prevalence(model, np.array([[0.1, 0.9]]), prior=0.01).round(3)
    array([[0.917, 0.083]], dtype=float32)
    """
    require_classifier(model)
    check_prior(prior)
    column = model.target_index(target)
    before = trained_prevalence(model)
    after = before * (1 - prior) / (1 - before[column])
    after[column] = prior
    unlike = sorted({name for name in _strategies(model) if name in _UNLIKE_A_GENOME})
    if unlike:
        _log.warning(
            "the model learnt from negatives that are not like a genome (%s): "
            "its probabilities elsewhere, and so at a prior of %g, are not to be trusted",
            *(", ".join(unlike), prior),
        )
    shifted = np.asarray(probabilities, dtype=np.float64) * (after / before)
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def check_prior(prior: float) -> None:
    """Refuse what is no share of a class, with a `SettingError`."""
    if not 0 < prior < 1:
        raise SettingError(f"prior is {prior}, wanted a share between 0 and 1, such as 0.001")


def trained_prevalence(model: AnyClassifier) -> NDArray[np.float64]:
    """Return the share of each class in the loss that the model was trained on, (n_classes,); equal if not known.

    Of an ensemble: the mean of its members'.
    """
    shares = [_last_stage(member).get("prevalence") or dict.fromkeys(model.classes, 1) for member in members_of(model)]
    rows = np.array([[float(share[name]) for name in model.classes] for share in shares])
    return (rows / rows.sum(axis=1, keepdims=True)).mean(axis=0)


def strategies_of(records: Iterable[SeqRecord]) -> dict[str, int]:
    """Count how negatives were drawn, by ``annotations["strategy"]``."""
    return dict(Counter(str(record.annotations["strategy"]) for record in records if "strategy" in record.annotations))


def _strategies(model: AnyClassifier) -> list[str]:
    return [name for member in members_of(model) for name in _last_stage(member).get("strategies", {})]


def _last_stage(model: Any) -> Mapping[str, Any]:
    stages = [stage for stage in model.card.get("stages", []) if stage.get("stage") == "train"]
    return stages[-1] if stages else {}
