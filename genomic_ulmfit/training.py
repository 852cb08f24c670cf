"""Genomes and labelled records in, trained models with their cards out: the three stages of ULMFiT.

`pretrain` learns the k-mers of unlabelled genomes, `finetune` goes on with the task's sequences, `train_classifier`
turns the language model into a classifier. A model handed in goes home as it came; what comes out is a new one. The
loops themselves are in `genomic_ulmfit.net.train`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.audit import quick_audit
from genomic_ulmfit.datasets.records import labels, letters, part, require_labels
from genomic_ulmfit.errors import DatasetError, SettingError, UnknownChromosomeError
from genomic_ulmfit.genome.algebra import complement
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.net.awd_lstm import BACKGROUND, SIZES, AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.batches import Ids, LMStream, known_segments
from genomic_ulmfit.net.checkpoint import save
from genomic_ulmfit.net.engine import Precision
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.train import (
    ClassifierBatches,
    Recipe,
    fit_classifier,
    fit_language_model,
    gradual_stages,
)
from genomic_ulmfit.predict import encode_records

__all__ = ["bits_per_base", "finetune", "pretrain", "train_classifier"]

_log = logging.getLogger(__name__)

GenomeSource = Genome | SeqRecord | str | Path


def pretrain(
    genomes: GenomeSource | Iterable[GenomeSource],
    *,
    vocab: KmerVocab | None = None,
    config: AWDLSTMConfig | str = "small",
    epochs: int = 1,
    max_steps: int | None = None,
    exclude: object = None,
    valid_fraction: float = 0.02,
    both_strands: bool = True,
    lr: float | Literal["auto"] = 1e-2,
    batch_size: int = 64,
    bptt: int = 70,
    drop_mult: float | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    device: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> LanguageModel:
    """Train a language model on unlabelled genomes.

    Streams start from the zero state at each record and after each gap; chromosomes are never glued.

    Parameters
    ----------
    genomes : Genome, SeqRecord, path, or iterable of them
        Anything `Genome` reads.
    vocab : KmerVocab, optional
        k = 3, stride = 1 if not given.
    config : AWDLSTMConfig or {"small", "base"}
        Sizes and dropouts.
    epochs : int
        Passes over the genomes; both strands are one pass.
    max_steps : int, optional
        A budget in steps of ``batch_size * bptt`` k-mers, in place of `epochs`.
    exclude : list of Interval, or anything `read_intervals` reads, optional
        Regions that are left out of training and validation.
    valid_fraction : float
        Share of the sequence, from the end of each stretch, on which the loss is reported and nothing is learnt.
    both_strands : bool
        Learn the reverse complement too.
    lr : float or "auto"
        Peak rate of the one-cycle schedule; "auto" asks the LR finder.
    batch_size, bptt : int
        Rows a step, and k-mers each row reads.
    drop_mult : float, optional
        Factor on the dropouts, in place of the config's.
    seed : int
        Of weights, order and dropout. The same seed, machine and thread count give the same tensors.
    precision : {"fp32", "bf16", "auto"}
        "auto" takes bf16 autocast where the processor has units for it.
    device : str, optional
        A GPU where there is one if not given.
    checkpoint : str or Path, optional
        Where to save what was learnt so far if the training is interrupted (Ctrl-C).
    progress : bool
        Show progress.

    Returns
    -------
    LanguageModel
        In evaluation mode. Its card says what it saw, what was left out, and the validation loss in bits per base.

    Raises
    ------
    DatasetError
        If nothing is left to learn from.
    SettingError
        If a size is unknown or `valid_fraction` is not in [0, 1).
    UnknownChromosomeError, OutOfRangeError
        If `exclude` doesn't fit the genomes.
    """
    vocab = vocab or KmerVocab()
    if not 0 <= valid_fraction < 1:
        raise SettingError(f"valid_fraction is {valid_fraction}, wanted 0 <= valid_fraction < 1")
    settings = _config(config, drop_mult)
    opened = [genome if isinstance(genome, Genome) else Genome(genome) for genome in _listed(genomes)]
    left_out = [] if exclude is None else read_intervals(exclude)
    train_parts, valid_parts = _stretches(opened, left_out, valid_fraction, min_length=vocab.k + vocab.stride)
    train = _stream(vocab, train_parts, both_strands, batch_size, bptt, steps=max_steps, seed=seed)
    valid = _stream(vocab, valid_parts, False, batch_size, bptt) if valid_parts else None
    model = _seeded(seed, lambda: LanguageModel(vocab, settings))
    recipe = Recipe(lr=lr, seed=seed, precision=precision, device=device, progress=progress)
    passes = 1 if max_steps is not None else epochs
    with _rescued(model, checkpoint):
        history = fit_language_model(model, train, valid, epochs=passes, recipe=recipe)
    stage = {
        "stage": "pretrain",
        "sequences": [row for genome in opened for row in _provenance(genome)],
        "excluded": [interval.region for interval in left_out],
        "both_strands": both_strands,
        "valid_fraction": valid_fraction,
        "steps": passes * len(train),
        "batch_size": batch_size,
        "bptt": bptt,
    }
    model.card = _card({}, stage, recipe, _bits(history, vocab))
    return model


def finetune(
    model: LanguageModel,
    records: Iterable[SeqRecord],
    *,
    epochs: int = 1,
    both_strands: bool = False,
    lr: float | Literal["auto"] = 3e-3,
    batch_size: int = 64,
    bptt: int = 200,
    drop_mult: float | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    device: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> LanguageModel:
    """Go on training a language model on the task's sequences, the lower layers at lower rates.

    Parameters
    ----------
    model : LanguageModel
        Left as it is.
    records : iterable of SeqRecord
        Labels aren't used. Where records say ``split=``, only those of ``train`` are learnt, and the loss is
        reported on ``valid``; ``test`` is never touched.
    epochs, both_strands, lr, batch_size, bptt, drop_mult, seed, precision, device, checkpoint, progress
        As in `pretrain`.

    Returns
    -------
    LanguageModel
        A new model, in evaluation mode.

    Raises
    ------
    DatasetError
        If no record has two known k-mers.
    """
    records = list(records)
    learnt, checked = _training_parts(records)
    vocab = model.vocab
    train = _stream(vocab, [letters(record) for record in learnt], both_strands, batch_size, bptt, seed=seed)
    valid = _stream(vocab, [letters(record) for record in checked], False, batch_size, bptt) if checked else None
    tuned = _copy_language_model(model, _config(model.config, drop_mult))
    recipe = Recipe(lr=lr, discriminative=True, seed=seed, precision=precision, device=device, progress=progress)
    with _rescued(tuned, checkpoint):
        history = fit_language_model(tuned, train, valid, epochs=epochs, recipe=recipe)
    stage = {"stage": "finetune", "records": len(learnt), "both_strands": both_strands, "epochs": epochs}
    stage |= {"batch_size": batch_size, "bptt": bptt, "data_sha256": _digest(learnt)}
    tuned.card = _card(model.card, stage, recipe, _bits(history, vocab))
    return tuned


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
    learnt, checked = _training_parts(records)
    require_labels(learnt)
    require_labels(checked, at_least=0)
    for sentence in quick_audit(records):
        _log.warning("the data set leaks: %s", sentence)
    vocab, config = (model.vocab, model.config) if isinstance(model, LanguageModel) else model
    classes = sorted(set(labels(learnt)), key=lambda name: (name != BACKGROUND, name))
    window, anchor = _window_and_anchor(learnt)
    settings = _config(config, drop_mult, pool)
    classifier = _seeded(seed, lambda: Classifier(vocab, settings, classes, window=window, anchor=anchor))
    if isinstance(model, LanguageModel):
        classifier.encoder.load_state_dict(model.encoder.state_dict())
    train = _labelled(vocab, classes, learnt, batch_size, seed)
    valid = _labelled(vocab, classes, checked, batch_size, None) if checked else None
    pretrained = isinstance(model, LanguageModel)
    n_groups = len(classifier.layer_groups())
    stages = gradual_stages(n_groups, epochs) if pretrained else [(n_groups, epochs)]
    recipe = Recipe(lr=lr, discriminative=pretrained, seed=seed, precision=precision, device=device, progress=progress)
    with _rescued(classifier, checkpoint):
        history = fit_classifier(classifier, train, valid, stages=stages, recipe=recipe)
    stage = {"stage": "train", "from_scratch": not pretrained, "records": len(learnt), "epochs": epochs}
    stage |= {"batch_size": batch_size, "data_sha256": _digest(learnt)}
    classifier.card = _card(model.card if isinstance(model, LanguageModel) else {}, stage, recipe, history[-1])
    return classifier


def bits_per_base(nats_per_kmer: float, stride: int) -> float:
    """Turn a language model's loss into bits per base: nats / ln 2 / stride.

    Examples
    --------
    >>> round(bits_per_base(math.log(4), stride=1), 3)
    2.0
    """
    return nats_per_kmer / math.log(2) / stride


@contextmanager
def _rescued(model: LanguageModel | Classifier, checkpoint: str | Path | None) -> Iterator[None]:
    """Save what was learnt so far if the training is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is not None:
            model.card["interrupted"] = True
            _log.warning("%s: what was learnt before the interruption", save(model, checkpoint))
        raise


def _listed(genomes: GenomeSource | Iterable[GenomeSource]) -> list[GenomeSource]:
    return [genomes] if isinstance(genomes, Genome | SeqRecord | str | Path) else list(genomes)


def _config(
    config: AWDLSTMConfig | str, drop_mult: float | None, pool: Literal["last", "all"] | None = None
) -> AWDLSTMConfig:
    """Return the named or given config, with other dropouts or another head where asked."""
    if isinstance(config, str):
        if config not in SIZES:
            raise SettingError(f"size is {config!r}, wanted one of {', '.join(SIZES)}")
        config = SIZES[config]
    if drop_mult is not None:
        config = dataclasses.replace(config, drop_mult=drop_mult)
    return config if pool is None else dataclasses.replace(config, pool=pool)


def _seeded(seed: int, make: Any) -> Any:
    """Make a net with weights drawn from `seed`, leaving the global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def _stretches(
    genomes: Sequence[Genome], left_out: list[Interval], valid_fraction: float, min_length: int
) -> tuple[list[Seq], list[Seq]]:
    """Cut the genomes into stretches to learn from and stretches to check on."""
    train: list[Seq] = []
    valid: list[Seq] = []
    for genome in genomes:
        here = [interval for interval in left_out if interval.chrom in genome.chrom_sizes]
        for stretch in complement(here, genome.chrom_sizes):
            sequence = Seq(genome.sequence(stretch.chrom, stretch.start, stretch.end))
            cut = len(sequence) - int(len(sequence) * valid_fraction)
            train.append(sequence[:cut])
            valid.append(sequence[cut:])
    _refuse_strangers(left_out, [chrom for genome in genomes for chrom in genome.chrom_sizes])
    long_enough = [[s for s in part_ if len(s) >= min_length] for part_ in (train, valid)]
    return long_enough[0], long_enough[1]


def _refuse_strangers(left_out: list[Interval], known: list[str]) -> None:
    """Raise where a region to leave out is on no genome: a misspelt name must not let held-out sequence in."""
    for interval in left_out:
        if interval.chrom not in known:
            raise UnknownChromosomeError(interval.chrom, known, "a region to exclude must be on one of the genomes")


def _stream(
    vocab: KmerVocab,
    sequences: Iterable[Seq],
    both_strands: bool,
    batch_size: int,
    bptt: int,
    *,
    steps: int | None = None,
    seed: int | None = None,
) -> LMStream:
    """Make a stream of the known k-mers of sequences; without a seed, in the order given."""
    segments = [
        segment for s in sequences for ids in _strands(vocab, s, both_strands) for segment in known_segments(ids)
    ]
    if not segments:
        raise DatasetError(f"nothing to learn from: no stretch of two or more known {vocab.k}-mers")
    shuffle = seed is not None
    return LMStream(segments, batch_size=batch_size, bptt=bptt, steps=steps, seed=seed or 0, shuffle=shuffle)


def _strands(vocab: KmerVocab, sequence: Seq, both: bool) -> Iterator[Ids]:
    yield vocab.encode(sequence)
    if both:
        yield vocab.encode(sequence.reverse_complement())


def _training_parts(records: list[SeqRecord]) -> tuple[list[SeqRecord], list[SeqRecord]]:
    """Return the records to learn from and those to check on; all to learn from where none says ``split=``."""
    if not any("split" in record.annotations for record in records):
        return records, []
    learnt = part(records, "train")
    if not learnt:
        raise DatasetError("no record says split=train, though some say another split")
    return learnt, part(records, "valid")


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


def _copy_language_model(model: LanguageModel, config: AWDLSTMConfig) -> LanguageModel:
    copy = _seeded(0, lambda: LanguageModel(model.vocab, config, model.card))
    copy.load_state_dict(model.state_dict())
    return copy


def _provenance(genome: Genome) -> Iterator[dict[str, Any]]:
    for chrom, size in genome.chrom_sizes.items():
        text = genome.sequence(chrom, 0, size).upper()
        yield {"id": chrom, "bp": size, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _digest(records: Iterable[SeqRecord]) -> str:
    """Return the sha256 of ids, labels and sequences, so that a card tells one data set from another."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f">{record.id} {record.annotations.get('label')}\n{record.seq}\n".encode())
    return digest.hexdigest()


def _bits(history: list[dict[str, float]], vocab: KmerVocab) -> dict[str, float]:
    """Return the last epoch's losses in bits per base."""
    return {
        name.replace("loss", "bits_per_base"): bits_per_base(value, vocab.stride) for name, value in history[-1].items()
    }


def _card(before: dict[str, Any], stage: dict[str, Any], recipe: Recipe, result: dict[str, float]) -> dict[str, Any]:
    """Return a card with one more stage. No wall-clock times: the same training gives the same file."""
    how = {name: value for name, value in dataclasses.asdict(recipe).items() if name not in ("progress", "device")}
    return {**before, "stages": [*before.get("stages", []), {**stage, **how, **result}]}
