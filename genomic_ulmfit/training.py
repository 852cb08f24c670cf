"""Labelled records in, a classifier with its card out: the last stage of ULMFiT.

The language model handed in goes home as it came. The loop itself is in `genomic_ulmfit.net.classifier_training`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.audit import quick_audit
from genomic_ulmfit.datasets.records import require_labels
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.classifier_training import ClassifierBatches, fit_classifier, gradual_stages
from genomic_ulmfit.net.engine import Precision
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.learner import Recipe
from genomic_ulmfit.predict import encode_records
from genomic_ulmfit.probing import Method, better, check_method, train_probe
from genomic_ulmfit.stages import (
    card_with,
    class_indices,
    class_order,
    digest_of,
    rescued,
    seeded,
    settings_of,
    training_parts,
    window_and_anchor,
)

__all__ = ["train_classifier"]

_log = logging.getLogger(__name__)


def train_classifier(
    model: LanguageModel | tuple[KmerVocab, AWDLSTMConfig],
    records: Iterable[SeqRecord],
    *,
    method: Method = "finetune",
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

    Fine-tuning from a language model, its layers are unfrozen one by one, the lower ones at lower rates. From a
    vocabulary and a config (the naive baseline), all layers learn from the start at one rate, for the same number of
    epochs.

    A probe leaves the language model as it is: logistic regression on the pooled outputs of its layers, read once, with
    penalty and layers chosen by cross-validation on the training part. It takes seconds and needs no schedule, and is
    for few labels.

    Parameters
    ----------
    model : LanguageModel, or (KmerVocab, AWDLSTMConfig)
        Left as it is.
    records : iterable of SeqRecord
        With ``annotations["label"]``. Where records say ``split=``, only those of ``train`` are learnt, and the loss is
        reported on ``valid``.
    method : {"finetune", "probe", "auto"}
        "auto" trains both on the training part and keeps the one with the higher MCC on the validation part, on a tie
        the probe; log and card say both figures. A probe does not look at `epochs`, `lr`, `batch_size`, `drop_mult` and
        `checkpoint`, and reads in float32 unless `precision` is "bf16".
    epochs : int
        Passes over the training part, over all stages.
    lr : float or "auto"
        Peak rate of the head's one-cycle schedule in each stage.
    pool : {"last", "all"}, optional
        Which LSTM layers the head pools, in place of the config's; if not given, a probe takes what does better in
        cross-validation.
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
        If records have no labels or fewer than two classes; of a probe, if a class has one record only; of "auto", if
        no record says ``split=valid``.
    SettingError
        If `method` is none of the three, or wants a language model and `model` is none.
    SequenceTooShortError
        If a record is shorter than k.
    """
    records = list(records)
    learnt, checked = training_parts(records)
    require_labels(learnt)
    require_labels(checked, at_least=0)
    check_method(method, model, checked)
    for sentence in quick_audit(records):
        _log.warning("the data set leaks: %s", sentence)
    probe = None
    if isinstance(model, LanguageModel) and method != "finetune":
        probe = train_probe(
            model, learnt, checked, pool=pool, seed=seed, precision=precision, device=device, progress=progress
        )
        if method == "probe":
            return probe
    tuned = _fine_tuned(
        model,
        learnt,
        checked,
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        drop_mult=drop_mult,
        pool=pool,
        seed=seed,
        precision=precision,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    return tuned if probe is None else better(probe, tuned, checked, device=device)


def _fine_tuned(
    model: LanguageModel | tuple[KmerVocab, AWDLSTMConfig],
    learnt: list[SeqRecord],
    checked: list[SeqRecord],
    *,
    epochs: int,
    lr: float | Literal["auto"],
    batch_size: int,
    drop_mult: float | None,
    pool: Literal["last", "all"] | None,
    seed: int,
    precision: Precision,
    device: str | None,
    checkpoint: str | Path | None,
    progress: bool,
) -> Classifier:
    vocab, config = (model.vocab, model.config) if isinstance(model, LanguageModel) else model
    classes = class_order(learnt)
    window, anchor = window_and_anchor(learnt)
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
    stage = {
        "stage": "train",
        "method": "finetune",
        "from_scratch": not pretrained,
        "records": len(learnt),
        "epochs": epochs,
    }
    stage |= {"batch_size": batch_size, "data_sha256": digest_of(learnt)}
    classifier.card = card_with(model.card if isinstance(model, LanguageModel) else {}, stage, recipe, history[-1])
    return classifier


def _labelled(
    vocab: KmerVocab, classes: list[str], records: list[SeqRecord], batch_size: int, seed: int | None
) -> ClassifierBatches:
    indices = class_indices(classes, records)
    return ClassifierBatches(encode_records(vocab, records), indices, batch_size=batch_size, seed=seed)
