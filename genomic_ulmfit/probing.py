"""A language model and labelled records in, a linear probe with its card out; and which of two classifiers to keep.

A probe is a `Classifier` like any other, whose encoder is the language model's, untouched, and whose head is one linear
layer. The regression itself is in `genomic_ulmfit.net.probe`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import labels
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.engine import Precision, check_precision
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.probe import fit_probe, set_head
from genomic_ulmfit.predict import encode_records, predict_proba
from genomic_ulmfit.prevalence import strategies_of
from genomic_ulmfit.stages import class_indices, class_order, digest_of, seeded, window_and_anchor, with_stage

__all__ = ["Method", "better", "check_method", "train_probe"]

Method = Literal["finetune", "probe", "auto"]

_FEW = 50  # records of a validation part, below which its choice is a warning's worth

_log = logging.getLogger(__name__)


def check_method(method: str, model: LanguageModel | tuple[KmerVocab, AWDLSTMConfig], checked: list[SeqRecord]) -> None:
    """Refuse a way of training that isn't one, or that this model or this validation part can't be used for.

    Raises
    ------
    SettingError
        If `method` is no `Method`, or it reads a language model and `model` is none.
    DatasetError
        If both ways are to be compared and nothing is there to compare them on.
    """
    if method not in get_args(Method):
        raise SettingError(f"method is {method!r}, wanted 'finetune', 'probe' or 'auto'")
    if method != "finetune" and not isinstance(model, LanguageModel):
        raise SettingError(
            f"method is {method!r}, but a probe reads a trained language model: from a vocabulary and a config (from "
            "scratch) only 'finetune' can learn"
        )
    if method == "auto" and not checked:
        raise DatasetError(
            "method 'auto' compares on the validation part, and no record says split=valid; divide the records "
            "(`split`, `split_records`) or choose 'probe' or 'finetune'"
        )


def train_probe(
    model: LanguageModel,
    learnt: list[SeqRecord],
    checked: list[SeqRecord],
    *,
    pool: Literal["last", "all"] | None = None,
    segments: Sequence[int] = (1,),
    seed: int = 0,
    precision: Precision = "auto",
    device: str | None = None,
    progress: bool = True,
) -> Classifier:
    """Fit a linear probe.

    Parameters
    ----------
    model : LanguageModel
        Left as it is.
    learnt, checked : list of SeqRecord
        What it learns from, and what its metrics are reported on (perhaps nothing), with ``annotations["label"]``.
        Features of all of `learnt` are held at once: see `genomic_ulmfit.net.probe.regress` for the memory.
    pool : {"last", "all"}, optional
        Which LSTM layers are pooled; if not given, what does better in cross-validation.
    segments : sequence of int
        Into how many parts each record may be divided: what does better in cross-validation.
    seed : int
        Of the cross-validation's folds.
    precision : {"fp32", "bf16", "auto"}
        Of reading the records; "auto" is float32 here, as predictions are by default.
    device, progress
        As in `train_classifier`.

    Returns
    -------
    Classifier
        In evaluation mode.

    Raises
    ------
    DatasetError
        If a class has fewer than two records.
    SequenceTooShortError
        If a record is shorter than k.
    """
    check_precision(precision)
    classes = class_order(learnt)
    targets = class_indices(classes, learnt)
    class_indices(classes, checked)  # refuses strange labels before the records are read
    _refuse_lonely(learnt)
    window, anchor = window_and_anchor(learnt)
    taken, n_segments, fit = fit_probe(
        model,
        encode_records(model.vocab, learnt),
        targets,
        pools=["all", "last"] if pool is None else [pool],
        segments=segments,
        seed=seed,
        bf16=precision == "bf16",
        device=device,
        progress=progress,
    )
    config = dataclasses.replace(model.config, n_head=0, pool=taken, segments=n_segments)
    probe = seeded(seed, lambda: Classifier(model.vocab, config, classes, window=window, anchor=anchor)).eval()
    probe.encoder.load_state_dict(model.encoder.state_dict())
    set_head(probe, fit)
    stage: dict[str, Any] = {"stage": "train", "method": "probe", "from_scratch": False, "records": len(learnt)}
    stage |= {"C": fit.penalty, "cross_validated_loss": fit.loss, "n_features": fit.weights.shape[1], "pool": taken}
    stage["segments"] = n_segments
    stage |= {"seed": seed, "precision": precision}
    stage |= {"prevalence": dict.fromkeys(classes, 1 / len(classes)), "strategies": strategies_of(learnt)}
    stage |= {"data_sha256": digest_of(learnt)} | _valid_metrics(probe, checked, device)
    probe.card = with_stage(model.card, stage)
    return probe


def better(probe: Classifier, tuned: Classifier, checked: list[SeqRecord], *, device: str | None = None) -> Classifier:
    """Return the one with the higher MCC on the validation part, on a tie the probe, and say so in its card.

    Parameters
    ----------
    probe, tuned : Classifier
        Of the same classes. The card of the one that is kept gets both figures.
    checked : list of SeqRecord
        With labels, at least one.
    device : str, optional
        As in `predict_proba`.
    """
    candidates = {"probe": probe, "finetune": tuned}
    mcc = {name: _valid_metrics(model, checked, device)["valid_mcc"] for name, model in candidates.items()}
    kept = "finetune" if mcc["finetune"] > mcc["probe"] else "probe"
    _log.info(
        "on %d validation records the probe has MCC %.3f and the fine-tuned classifier %.3f: the %s is kept",
        *(len(checked), mcc["probe"], mcc["finetune"], "probe" if kept == "probe" else "fine-tuned one"),
    )
    if len(checked) < _FEW:
        _log.warning("%d validation records decided between probe and fine-tuning: chance may have", len(checked))
    candidates[kept].card["stages"][-1]["compared_valid_mcc"] = mcc
    return candidates[kept]


def _valid_metrics(model: Classifier, checked: list[SeqRecord], device: str | None) -> dict[str, float]:
    """Return MCC, accuracy and cross entropy (nats a record) on the validation part; nothing if there is none."""
    if not checked:
        return {}
    truth = class_indices(list(model.classes), checked)
    probabilities = predict_proba(model, checked, device=device)
    found = metrics(truth, probabilities)
    of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    loss = float(-np.log(of_truth.clip(min=np.finfo(np.float32).tiny)).mean())
    return {"valid_loss": loss, "valid_mcc": found["mcc"], "valid_accuracy": found["accuracy"]}


def _refuse_lonely(records: list[SeqRecord]) -> None:
    """Refuse a class of which cross-validation can't both learn and check."""
    lonely = sorted(name for name, n in Counter(labels(records)).items() if n < 2)
    if lonely:
        raise DatasetError(
            f"the training part has one record only of {', '.join(map(repr, lonely[:5]))}"
            f"{', ...' if len(lonely) > 5 else ''}; a probe wants two of each class at least"
        )
