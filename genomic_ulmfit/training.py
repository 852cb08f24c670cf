"""Labelled records in, a classifier with its card out: the last stage of ULMFiT.

The language model handed in goes home as it came. The loop itself is in `genomic_ulmfit.net.classifier_training`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.audit import quick_audit
from genomic_ulmfit.datasets.records import labels, require_labels
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.net.awd_lstm import BACKGROUND, AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.classifier_training import ClassifierBatches, fit_classifier, gradual_stages
from genomic_ulmfit.net.engine import Precision
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.learner import Recipe
from genomic_ulmfit.predict import encode_records
from genomic_ulmfit.stages import card_with, digest_of, rescued, seeded, settings_of, training_parts

__all__ = ["train_classifier"]

_log = logging.getLogger(__name__)


def train_classifier(
    model: LanguageModel | tuple[KmerVocab, AWDLSTMConfig],
    records: Iterable[SeqRecord],
    *,
    epochs: int = 6,
    lr: float | Literal["auto"] = 5e-3,
    batch_size: int = 64,
    drop_mult: float | None = None,
    pool: Literal["last", "all"] | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    device: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Classifier:
    """Train a classifier on labelled records.

    From a language model, its layers are unfrozen one by one, the lower ones at lower rates. From a vocabulary and a
    config (the naive baseline), all layers learn from the start at one rate, for the same number of epochs.

    Parameters
    ----------
    model : LanguageModel, or (KmerVocab, AWDLSTMConfig)
        Left as it is.
    records : iterable of SeqRecord
        With ``annotations["label"]``. Where records say ``split=``, only those of ``train`` are learnt, and the loss is
        reported on ``valid``.
    epochs : int
        Passes over the training part, over all stages.
    lr : float or "auto"
        Peak rate of the head's one-cycle schedule in each stage.
    pool : {"last", "all"}, optional
        Which LSTM layers the head pools, in place of the config's.
    batch_size, drop_mult, seed, precision, device, checkpoint, progress
        As in `pretrain`.

    Returns
    -------
    Classifier
        In evaluation mode. Its classes are the labels in order, "background" first; window and anchor are the
        records', where all have the same.

    Raises
    ------
    DatasetError
        If records have no labels or fewer than two classes.
    SequenceTooShortError
        If a record is shorter than k.
    """
    records = list(records)
    learnt, checked = training_parts(records)
    require_labels(learnt)
    require_labels(checked, at_least=0)
    for sentence in quick_audit(records):
        _log.warning("the data set leaks: %s", sentence)
    vocab, config = (model.vocab, model.config) if isinstance(model, LanguageModel) else model
    classes = sorted(set(labels(learnt)), key=lambda name: (name != BACKGROUND, name))
    window, anchor = _window_and_anchor(learnt)
    settings = settings_of(config, drop_mult, pool)
    classifier = seeded(seed, lambda: Classifier(vocab, settings, classes, window=window, anchor=anchor))
    if isinstance(model, LanguageModel):
        classifier.encoder.load_state_dict(model.encoder.state_dict())
    train = _labelled(vocab, classes, learnt, batch_size, seed)
    valid = _labelled(vocab, classes, checked, batch_size, None) if checked else None
    pretrained = isinstance(model, LanguageModel)
    n_groups = len(classifier.layer_groups())
    stages = gradual_stages(n_groups, epochs) if pretrained else [(n_groups, epochs)]
    recipe = Recipe(lr=lr, discriminative=pretrained, seed=seed, precision=precision, device=device, progress=progress)
    with rescued(classifier, checkpoint):
        history = fit_classifier(classifier, train, valid, stages=stages, recipe=recipe)
    stage = {"stage": "train", "from_scratch": not pretrained, "records": len(learnt), "epochs": epochs}
    stage |= {"batch_size": batch_size, "data_sha256": digest_of(learnt)}
    classifier.card = card_with(model.card if isinstance(model, LanguageModel) else {}, stage, recipe, history[-1])
    return classifier


def _labelled(
    vocab: KmerVocab, classes: list[str], records: list[SeqRecord], batch_size: int, seed: int | None
) -> ClassifierBatches:
    unknown = set(labels(records)) - set(classes)
    if unknown:
        raise DatasetError(f"the valid part has labels {sorted(unknown)} that the training part has not")
    indices = np.array([classes.index(label) for label in labels(records)], dtype=np.int64)
    return ClassifierBatches(encode_records(vocab, records), indices, batch_size=batch_size, seed=seed)


def _window_and_anchor(records: list[SeqRecord]) -> tuple[int | None, int | None]:
    """Return the length that all records share and the anchor that all records share, or None."""
    lengths = {len(record) for record in records}
    anchors: set[Any] = {record.annotations.get("anchor") for record in records}
    window = lengths.pop() if len(lengths) == 1 else None
    return window, anchors.pop() if window is not None and len(anchors) == 1 else None
