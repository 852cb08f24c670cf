"""Verbs that make and look at models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    BatchSize,
    ClassWeights,
    DataFile,
    Device,
    Epochs,
    ModelFile,
    Precision,
    PrecisionOption,
    Rate,
    Seed,
    Size,
    check_outputs,
    given,
    learning_rate,
    load_classifier,
    load_language_model,
    load_regions,
    output_file,
    write_text,
    wrote,
)
from genomic_ulmfit.errors import SettingError


@app.command()
def pretrain(
    genomes: Annotated[list[Path], typer.Argument(help="FASTA, 2bit or GenBank files.", show_default=False)],
    output: Annotated[Path, output_file("Language model to write.")],
    size: Annotated[Size, typer.Option(help="small is for two cores, base is the paper's.")] = Size.small,
    k: Annotated[int, typer.Option(min=1, max=8, help="Length of a k-mer in bp.")] = 3,
    stride: Annotated[int, typer.Option(min=1, max=8, help="bp from one k-mer to the next, at most k.")] = 1,
    epochs: Epochs = 1,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Budget in steps, in place of epochs.")] = None,
    exclude: Annotated[str | None, typer.Option(metavar="REGION|BED", help="What is held out.")] = None,
    lr: Rate = None,
    batch_size: BatchSize = 64,
    drop_mult: Annotated[float | None, typer.Option(help="Factor on the dropouts.")] = None,
    precision: PrecisionOption = Precision.auto,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a language model on unlabelled genomes.

    Example: genomic-ulmfit pretrain genome.fa.gz --exclude data.held-out.bed -o lm.safetensors
    """
    check_outputs(output)
    opened = [gu.Genome(path) for path in genomes]
    model = gu.pretrain(
        opened,
        vocab=gu.KmerVocab(k, stride),
        config=size.value,
        epochs=epochs,
        max_steps=max_steps,
        exclude=None if exclude is None else load_regions(exclude, opened),
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **given(lr=learning_rate(lr)),
    )
    wrote(gu.save(model, output), f"language model, {_last_bits(model)}")


@app.command()
def finetune(
    model: ModelFile,
    data: DataFile,
    output: Annotated[Path, output_file("Language model to write.")],
    epochs: Epochs = 1,
    lr: Rate = None,
    batch_size: BatchSize = 64,
    drop_mult: Annotated[float | None, typer.Option(help="Factor on the dropouts.")] = None,
    precision: PrecisionOption = Precision.auto,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Go on training a language model on the task's sequences.

    Example: genomic-ulmfit finetune lm.safetensors data.fa -o lm2.safetensors
    """
    check_outputs(output)
    tuned = gu.finetune(
        load_language_model(model),
        gu.read_dataset(data),
        epochs=epochs,
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **given(lr=learning_rate(lr)),
    )
    wrote(gu.save(tuned, output), f"language model, {_last_bits(tuned)}")


@app.command()
def train(
    model: ModelFile,
    data: DataFile,
    output: Annotated[Path, output_file("Classifier to write.")],
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Use the model's k, stride and sizes only.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data. [default: by its size]", show_default=False)
    ] = None,
    lr: Rate = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Records a batch. [default: by their number]", show_default=False)
    ] = None,
    class_weights: Annotated[
        ClassWeights, typer.Option(help="balanced: every class counts the same, however few records it has.")
    ] = ClassWeights.balanced,
    patience: Annotated[
        int, typer.Option(min=0, help="Epochs without a better one after which a stage ends; 0: never early.")
    ] = 20,
    max_backprop_tokens: Annotated[
        int, typer.Option(min=0, help="Learn from the last so many k-mers of a record; 0: all. Pooling covers all.")
    ] = 3500,
    drop_mult: Annotated[float | None, typer.Option(help="Factor on the dropouts.")] = None,
    log: Annotated[Path | None, typer.Option(help="CSV of each epoch to write.", show_default=False)] = None,
    lr_plot: Annotated[
        Path | None,
        typer.Option(help="Picture of the LR finder's curves to write, with --lr auto.", show_default=False),
    ] = None,
    precision: PrecisionOption = Precision.auto,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier from a language model, unfreezing it layer by layer.

    Example: genomic-ulmfit train lm2.safetensors data.fa -o clf.safetensors --log epochs.csv
    """
    check_outputs(output, log, lr_plot)
    if lr_plot is not None:
        from genomic_ulmfit.plot import picture_format, plot_lr_finder, save_figure

        picture_format(lr_plot)
        if lr != "auto":
            raise SettingError("--lr-plot draws what the LR finder saw; wanted --lr auto with it")
    start = load_language_model(model)
    classifier = gu.train_classifier(
        (start.vocab, start.config) if from_scratch else start,
        gu.read_dataset(data),
        epochs=epochs,
        batch_size=batch_size,
        class_weights=None if class_weights == ClassWeights.none else "balanced",
        patience=patience or None,
        max_backprop_tokens=max_backprop_tokens or None,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        log=log,
        **given(lr=learning_rate(lr)),
    )
    wrote(gu.save(classifier, output), f"classifier of {', '.join(classifier.classes)}, {_best_epoch(classifier)}")
    if lr_plot is not None:
        curves = classifier.card["stages"][-1]["lr_finder"]
        wrote(save_figure(plot_lr_finder(curves), lr_plot), "what the LR finder saw")
    if log is not None:
        wrote(log, "loss and scores of each epoch")


@app.command()
def evaluate(
    model: ModelFile,
    data: DataFile,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON to write.", show_default=False)] = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Score a classifier on the test part of a data set, baselines beside it.

    Example: genomic-ulmfit evaluate clf.safetensors data.fa --json metrics.json
    """
    from genomic_ulmfit.evaluation import table

    check_outputs(json_file)
    found = gu.evaluate(load_classifier(model), gu.read_dataset(data), device=device, seed=seed, progress=True)
    typer.echo(table({model.name: found}))
    if json_file is not None:
        wrote(write_text(json.dumps(found.to_dict(), indent=2) + "\n", json_file), "the metrics")


@app.command()
def info(
    model: ModelFile,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a model is and what it saw.

    Example: genomic-ulmfit info clf.safetensors
    """
    from genomic_ulmfit.net.checkpoint import card_text, describe

    loaded = gu.load(model)
    typer.echo(json.dumps(describe(loaded), indent=2) if as_json else card_text(loaded))


def _last_bits(model: gu.LanguageModel) -> str:
    stage = model.card["stages"][-1]
    bits = stage.get("valid_bits_per_base", stage["train_bits_per_base"])
    return f"{bits:.3f} bits per base{'' if 'valid_bits_per_base' in stage else ' in training'}"


def _best_epoch(model: gu.Classifier) -> str:
    stage = model.card["stages"][-1]
    found = f": MCC {stage['valid_mcc']:.3f} on the valid part" if "valid_mcc" in stage else ", no valid part"
    return f"epoch {stage['best_epoch']} of {stage['epochs']}{found}"
