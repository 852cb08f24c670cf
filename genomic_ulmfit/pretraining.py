"""Genomes in, a language model with its card out; and the same model gone on with the task's sequences.

`pretrain` learns the k-mers of unlabelled genomes, `finetune` goes on with the sequences of a task. A model handed in
goes home as it came; what comes out is a new one. The loop itself is in `genomic_ulmfit.net.lm_training`.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.records import letters
from genomic_ulmfit.errors import DatasetError, SettingError, UnknownChromosomeError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.algebra import complement
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, LanguageModel
from genomic_ulmfit.net.batches import Ids, LMStream, known_segments
from genomic_ulmfit.net.engine import Precision
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.learner import Recipe
from genomic_ulmfit.net.lm_training import Training, bits_per_base, fit_language_model
from genomic_ulmfit.net.processes import is_first_process
from genomic_ulmfit.net.resuming import Keeping
from genomic_ulmfit.stages import card_with, digest_of, seeded, settings_of, training_parts

__all__ = ["bits_per_base", "finetune", "pretrain"]

_COLUMNS = [
    "step",
    "epoch",
    "tokens",
    "lr",
    "train_bits_per_base",
    "valid_bits_per_base",
    "tokens_per_second",
    "seconds",
]
_WALL_CLOCK = ("tokens_per_second", "seconds")

_log = logging.getLogger(__name__)

GenomeSource = Genome | SeqRecord | str | Path


def pretrain(
    genomes: GenomeSource | Iterable[GenomeSource],
    *,
    vocab: KmerVocab | None = None,
    config: AWDLSTMConfig | str = "small",
    epochs: int = 1,
    max_steps: int | None = None,
    max_hours: float | None = None,
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
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
    log_file: str | Path | None = None,
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
    config : AWDLSTMConfig or {"small", "medium", "base"}
        Sizes and dropouts.
    epochs : int
        Passes over the genomes; both strands are one pass.
    max_steps : int, optional
        A budget in steps of ``batch_size * bptt`` k-mers, in place of `epochs`.
    max_hours : float, optional
        A budget of time, in place of `epochs`. It is turned into a number of steps once, by the speed of a few that are
        taken back; the checkpoint keeps the number, and the card says it.
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
        Where to write the state of the training now and then, and on Ctrl-C. It stays when the training is done:
        delete it when the model is saved. One that is there is only gone on with, never written over.
    resume : bool
        Go on from the checkpoint: the same arguments give, on the same CPU, thread count and in float32, the tensors of
        a training that was not stopped, bit for bit. `lr` and `precision` may be others. Where there is no checkpoint
        the training begins anew.
    checkpoint_minutes : float
        Between two checkpoints; there is one at the end of a pass too, unless passes are short.
    log_file : str or Path, optional
        CSV to write at the end of each pass, and more often where a pass is long: losses in bits per base, rate, speed.
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
    OSError
        If `checkpoint` or `log_file` can't be written; before anything is learnt.
    ResumeError
        If the checkpoint is damaged or of another training, or is there and `resume` is False.
    SettingError
        If a size is unknown, `valid_fraction` is not in [0, 1), or there are two budgets.
    TrainingDivergedError
        If the loss is no longer a number; the last checkpoint is kept.
    UnknownChromosomeError, OutOfRangeError
        If `exclude` doesn't fit the genomes.
    """
    vocab = vocab or KmerVocab()
    if max_steps is not None and max_hours is not None:
        raise SettingError(f"max_steps is {max_steps} and max_hours {max_hours}; wanted one of them")
    if not 0 <= valid_fraction < 1:
        raise SettingError(f"valid_fraction is {valid_fraction}, wanted 0 <= valid_fraction < 1")
    settings = settings_of(config, drop_mult)
    opened = [genome if isinstance(genome, Genome) else Genome(genome) for genome in _listed(genomes)]
    left_out = [] if exclude is None else read_intervals(exclude)
    train_parts, valid_parts = _stretches(opened, left_out, valid_fraction, min_length=vocab.k + vocab.stride)
    train = _stream(vocab, train_parts, both_strands, batch_size, bptt, steps=max_steps, seed=seed)
    valid = _stream(vocab, valid_parts, False, batch_size, bptt) if valid_parts else None
    model = seeded(seed, lambda: LanguageModel(vocab, settings))
    recipe = Recipe(lr=lr, seed=seed, precision=precision, device=device, progress=progress)
    done = fit_language_model(
        model,
        train,
        valid,
        epochs=1 if max_steps is not None else epochs,
        max_hours=max_hours,
        recipe=recipe,
        keeping=Keeping(None if checkpoint is None else Path(checkpoint), checkpoint_minutes, resume),
        report=_reporter(log_file, vocab.stride),
    )
    stage = {
        "stage": "pretrain",
        "sequences": [row for genome in opened for row in _provenance(genome)],
        "excluded": [interval.region for interval in left_out],
        "both_strands": both_strands,
        "valid_fraction": valid_fraction,
        "batch_size": batch_size,
        "bptt": bptt,
    }
    model.card = card_with({}, stage, recipe, _figures(done, vocab.stride))
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
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
    log_file: str | Path | None = None,
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
    epochs, both_strands, lr, batch_size, bptt, drop_mult, seed, precision, device : optional
        As in `pretrain`.
    checkpoint, resume, checkpoint_minutes, log_file, progress : optional
        As in `pretrain`.

    Returns
    -------
    LanguageModel
        A new model, in evaluation mode.

    Raises
    ------
    DatasetError
        If no record has two known k-mers.
    OSError, ResumeError, TrainingDivergedError
        As in `pretrain`.
    """
    records = list(records)
    learnt, checked = training_parts(records)
    vocab = model.vocab
    train = _stream(vocab, [letters(record) for record in learnt], both_strands, batch_size, bptt, seed=seed)
    valid = _stream(vocab, [letters(record) for record in checked], False, batch_size, bptt) if checked else None
    tuned = _copy_language_model(model, settings_of(model.config, drop_mult))
    recipe = Recipe(lr=lr, discriminative=True, seed=seed, precision=precision, device=device, progress=progress)
    done = fit_language_model(
        tuned,
        train,
        valid,
        epochs=epochs,
        recipe=recipe,
        keeping=Keeping(None if checkpoint is None else Path(checkpoint), checkpoint_minutes, resume),
        report=_reporter(log_file, vocab.stride),
    )
    stage = {"stage": "finetune", "records": len(learnt), "both_strands": both_strands, "epochs": epochs}
    stage |= {"batch_size": batch_size, "bptt": bptt, "data_sha256": digest_of(learnt)}
    tuned.card = card_with(model.card, stage, recipe, _figures(done, vocab.stride))
    return tuned


def _listed(genomes: GenomeSource | Iterable[GenomeSource]) -> list[GenomeSource]:
    return [genomes] if isinstance(genomes, Genome | SeqRecord | str | Path) else list(genomes)


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


def _copy_language_model(model: LanguageModel, config: AWDLSTMConfig) -> LanguageModel:
    copy = seeded(0, lambda: LanguageModel(model.vocab, config, model.card))
    copy.load_state_dict(model.state_dict())
    return copy


def _provenance(genome: Genome) -> Iterator[dict[str, Any]]:
    for chrom, size in genome.chrom_sizes.items():
        text = genome.sequence(chrom, 0, size).upper()
        yield {"id": chrom, "bp": size, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _figures(done: Training, stride: int) -> dict[str, Any]:
    """Return what a card says of a training: no wall-clock times."""
    curve = [
        {name: value for name, value in row.items() if name not in _WALL_CLOCK} for row in _in_bits(done.rows, stride)
    ]
    last = {name: value for name, value in curve[-1].items() if name.endswith("bits_per_base")}
    changed = {"changed": done.rates[1:]} if len(done.rates) > 1 else {}
    return {
        "steps": done.steps,
        "tokens": curve[-1]["tokens"],
        "peak_lr": done.rates[-1]["rate"],
        **changed,
        **last,
        "curve": curve,
    }


def _in_bits(rows: Sequence[dict[str, Any]], stride: int) -> list[dict[str, Any]]:
    """Return rows with their losses in bits per base."""
    return [
        {
            name.replace("loss", "bits_per_base"): bits_per_base(value, stride) if name.endswith("loss") else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _reporter(log_file: str | Path | None, stride: int) -> Callable[[Sequence[dict[str, Any]]], None] | None:
    """Return what writes the CSV anew when there is a new row, and write its first line."""
    if log_file is None:
        return None
    path = Path(log_file)

    def write(rows: Sequence[dict[str, Any]]) -> None:
        with replacing(path) as temporary, open(temporary, "w", newline="") as handle:
            writer = csv.DictWriter(handle, _COLUMNS)
            writer.writeheader()
            writer.writerows(_in_bits(rows, stride))

    def report(rows: Sequence[dict[str, Any]]) -> None:
        try:
            write(rows)
        except OSError as error:
            _log.warning("%s: the log could not be written (%s)", path, error)

    if is_first_process() and not path.exists():
        write([])
    return report
