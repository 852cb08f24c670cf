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
    DataFile,
    Device,
    Epochs,
    Method,
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

_METHOD_HELP = (
    "finetune: all layers learn. probe: logistic regression on the language model as it is, for few labels; it has no "
    "epochs, rate or dropout. auto: both, and the one with the higher MCC on the validation part is kept."
)


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
    method: Annotated[Method, typer.Option(help=_METHOD_HELP)] = Method.finetune,
    probe: Annotated[bool, typer.Option("--probe", help="The same as --method probe.")] = False,
    epochs: Epochs = 6,
    lr: Rate = None,
    batch_size: BatchSize = 64,
    drop_mult: Annotated[float | None, typer.Option(help="Factor on the dropouts.")] = None,
    precision: PrecisionOption = Precision.auto,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier from a language model: unfreeze it layer by layer, or probe it as it is.

    Example: genomic-ulmfit train lm2.safetensors data.fa -o clf.safetensors
    """
    check_outputs(output)
    if probe and method is Method.auto:
        raise SettingError("--probe and --method auto are two methods, wanted one")
    start = load_language_model(model)
    classifier = gu.train_classifier(
        (start.vocab, start.config) if from_scratch else start,
        gu.read_dataset(data),
        method="probe" if probe else method.value,
        epochs=epochs,
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **given(lr=learning_rate(lr)),
    )
    wrote(gu.save(classifier, output), f"classifier of {', '.join(classifier.classes)}")


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
