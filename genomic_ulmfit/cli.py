"""The command line: parses, calls one public function a verb, prints what it made. It computes nothing itself."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.errors import FileFormatError, GenomicUlmfitError, SettingError

__all__ = ["app", "main"]

app = typer.Typer(
    name="genomic-ulmfit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="ULMFiT for genomes: from a genome and its gene starts to a classifier, tracks and explanations. "
    "Typed regions (chr:start-end) are 1-based inclusive, as in samtools; files are what their format says.",
)

_INTERRUPTED = 130


class Size(StrEnum):
    """Named configs."""

    small = "small"
    base = "base"


class Strands(StrEnum):
    """What `scan` reports."""

    max = "max"
    plus = "+"
    minus = "-"
    both = "both"


class Precision(StrEnum):
    """Of training."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class SplitMethod(StrEnum):
    """How `dataset` holds records out."""

    chromosome = "chromosome"
    region = "region"
    none = "none"


def _output(what: str) -> Any:
    return typer.Option("-o", "--output", help=what, show_default=False)


Seed = Annotated[int, typer.Option(help="Same seed, machine and thread count: the same result.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: a GPU where there is one]")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the data.")]
Rate = Annotated[str | None, typer.Option(metavar="X|auto", help="Peak learning rate; auto asks the LR finder.")]
PrecisionOption = Annotated[Precision, typer.Option(help="auto: bf16 where the processor has units for it.")]
Target = Annotated[str | None, typer.Option(help="Class to speak of, where there are several.", show_default=False)]
Aliases = Annotated[
    Path | None, typer.Option(help="Two columns: a chromosome's name in the interval files, and in the genome.")
]
ModelFile = Annotated[Path, typer.Argument(help="Model file (.safetensors).", show_default=False)]
GenomeFile = Annotated[Path, typer.Argument(help="FASTA (plain, gzip, bgzip), 2bit or GenBank.", show_default=False)]
DataFile = Annotated[Path, typer.Argument(help="Labelled FASTA, CSV or TSV.", show_default=False)]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows a batch.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(gu.__version__)
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def dataset(
    genome: GenomeFile,
    tss: Annotated[Path, typer.Argument(help="EPDnew BED or SGA, BED6, GFF3 or GenBank.", show_default=False)],
    output: Annotated[Path, _output("FASTA to write, with a BED and the held-out regions beside it.")],
    upstream: Annotated[int, typer.Option(min=0, help="bp before the TSS.")] = 200,
    downstream: Annotated[int, typer.Option(min=1, help="bp from the TSS on.")] = 50,
    negatives: Annotated[str, typer.Option(help="random, gene-body or gc-matched.")] = "gc-matched",
    ratio: Annotated[float, typer.Option(min=0, help="Negatives for each positive.")] = 1.0,
    genes: Annotated[Path | None, typer.Option(help="Genes for gene-body, if TSS doesn't have them.")] = None,
    feature: Annotated[str | None, typer.Option(help="Feature type of GFF3 or GenBank to take starts of.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="BED of regions to stay out of.")] = None,
    split: Annotated[SplitMethod | None, typer.Option(help="[default: chromosome where three exceed 1 Mbp]")] = None,
    test: Annotated[str | None, typer.Option(metavar="REGION", help="chr:start-end to hold out for test.")] = None,
    mask: Annotated[str | None, typer.Option(metavar="START:END", help="0-based positions to turn into N.")] = None,
    label: Annotated[str, typer.Option(help="Name of the positive class.")] = "promoter",
    format: Annotated[str | None, typer.Option(help="Of TSS: epdnew, bed, sga, gff3 or genbank.")] = None,
    aliases: Aliases = None,
    seed: Seed = 0,
) -> None:
    """Build a labelled data set from a genome and a list of TSSs.

    Example: genomic-ulmfit dataset genome.fa tss.bed -o data.fa
    """
    _check_outputs(output)
    opened = gu.Genome(genome, aliases=aliases)
    regions = _split(opened, split, test, seed)
    records = gu.promoter_dataset(
        opened,
        gu.read_tss(tss, format=format, feature=feature, aliases=aliases, genome=opened),
        upstream=upstream,
        downstream=downstream,
        negatives=negatives,
        ratio=ratio,
        genes=_genes(genes or tss, negatives, feature, aliases),
        exclude=exclude,
        split=regions,
        label=label,
        mask=None if mask is None else _positions(mask),
        seed=seed,
    )
    held_out = [region for region in regions if region.name != "train"]
    _wrote(gu.write_dataset(records, output), f"{len(records)} labelled records")
    _wrote(output.with_suffix(".bed"), "the same records as intervals")
    if held_out:
        path = output.with_suffix(".held-out.bed")
        _wrote(gu.write_track(held_out, path), "valid and test regions, for `pretrain --exclude`")


@app.command()
def pretrain(
    genomes: Annotated[list[Path], typer.Argument(help="FASTA, 2bit or GenBank files.", show_default=False)],
    output: Annotated[Path, _output("Language model to write.")],
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
    _check_outputs(output)
    opened = [gu.Genome(path) for path in genomes]
    model = gu.pretrain(
        opened,
        vocab=gu.KmerVocab(k, stride),
        config=size.value,
        epochs=epochs,
        max_steps=max_steps,
        exclude=None if exclude is None else _regions(exclude, opened),
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **_given(lr=_rate(lr)),
    )
    _wrote(gu.save(model, output), f"language model, {_last_bits(model)}")


@app.command()
def finetune(
    model: ModelFile,
    data: DataFile,
    output: Annotated[Path, _output("Language model to write.")],
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
    _check_outputs(output)
    tuned = gu.finetune(
        _language_model(model),
        gu.read_dataset(data),
        epochs=epochs,
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **_given(lr=_rate(lr)),
    )
    _wrote(gu.save(tuned, output), f"language model, {_last_bits(tuned)}")


@app.command()
def train(
    model: ModelFile,
    data: DataFile,
    output: Annotated[Path, _output("Classifier to write.")],
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Use the model's k, stride and sizes only.")
    ] = False,
    epochs: Epochs = 6,
    lr: Rate = None,
    batch_size: BatchSize = 64,
    drop_mult: Annotated[float | None, typer.Option(help="Factor on the dropouts.")] = None,
    precision: PrecisionOption = Precision.auto,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Train a classifier from a language model, unfreezing it layer by layer.

    Example: genomic-ulmfit train lm2.safetensors data.fa -o clf.safetensors
    """
    _check_outputs(output)
    start = _language_model(model)
    classifier = gu.train_classifier(
        (start.vocab, start.config) if from_scratch else start,
        gu.read_dataset(data),
        epochs=epochs,
        batch_size=batch_size,
        drop_mult=drop_mult,
        precision=precision.value,
        device=device,
        seed=seed,
        checkpoint=output.with_suffix(".interrupted.safetensors"),
        **_given(lr=_rate(lr)),
    )
    _wrote(gu.save(classifier, output), f"classifier of {', '.join(classifier.classes)}")


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

    _check_outputs(json_file)
    found = gu.evaluate(_classifier(model), gu.read_dataset(data), device=device, seed=seed, progress=True)
    typer.echo(table({model.name: found}))
    if json_file is not None:
        _wrote(_write_text(json.dumps(found.to_dict(), indent=2) + "\n", json_file), "the metrics")


@app.command()
def predict(
    model: ModelFile,
    sequences: Annotated[Path, typer.Argument(help="FASTA, plain or gzip.", show_default=False)],
    output: Annotated[Path, _output("TSV to write: a row a record, a column a class.")],
    strands: Annotated[str, typer.Option(help="+, - or mean.")] = "+",
    device: Device = None,
) -> None:
    """Give each sequence the probabilities of the classes.

    Example: genomic-ulmfit predict clf.safetensors mine.fa -o probabilities.tsv
    """
    from genomic_ulmfit.datasets.records import read_records

    _check_outputs(output)
    classifier, records = _classifier(model), read_records(sequences)
    rows = gu.predict_proba(classifier, records, strands=strands, device=device, progress=True)  # type: ignore[arg-type]
    lines = ["\t".join(["id", *classifier.classes])]
    lines += [
        "\t".join([str(record.id), *(f"{p:.6f}" for p in row)]) for record, row in zip(records, rows, strict=True)
    ]
    _wrote(_write_text("\n".join(lines) + "\n", output), f"probabilities of {len(records)} records")


@app.command()
def scan(
    model: ModelFile,
    genome: GenomeFile,
    output: Annotated[Path, _output("Track to write: .bedgraph, .bw, or either compressed (.bedgraph.gz).")],
    regions: Annotated[str | None, typer.Option(metavar="REGION|BED", help="chr:start-end, or a file.")] = None,
    strands: Annotated[Strands, typer.Option(help="both writes two files, out.plus.* and out.minus.*")] = Strands.max,
    step: Annotated[int, typer.Option(min=1, help="bp a bin.")] = 10,
    target: Target = None,
    peaks: Annotated[Path | None, typer.Option(help="BED of calls to write, by strand.", show_default=False)] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest probability of a call.")] = 0.5,
    aliases: Aliases = None,
    device: Device = None,
) -> None:
    """Score a genome with a sliding window.

    Example: genomic-ulmfit scan clf.safetensors genome.fa -o scores.bedgraph --regions chr1:1-40000 --peaks calls.bed
    """
    _check_outputs(track=output, calls=peaks)
    opened, classifier = gu.Genome(genome, aliases=aliases), _classifier(model)
    where = None if regions is None else _regions(regions, [opened])
    read = Strands.both if strands is Strands.max else strands
    blocks = list(
        gu.scan(
            classifier,
            opened,
            step=step,
            regions=where,
            strands=read.value,  # type: ignore[arg-type]
            target=target,
            device=device,
            progress=True,
        )
    )
    if strands is Strands.both:
        for strand, word in (("+", "plus"), ("-", "minus")):
            path = output.with_name(_insert(output.name, word))
            one = [block for block in blocks if block.strand == strand]
            _wrote(gu.write_track(one, path, chrom_sizes=opened.chrom_sizes), f"scores of the {word} strand")
    else:
        shown = gu.best_strand(blocks) if strands is Strands.max else blocks
        _wrote(gu.write_track(shown, output, chrom_sizes=opened.chrom_sizes), "scores")
    if peaks is not None:
        calls = gu.call_peaks(blocks, threshold=threshold)
        _wrote(gu.write_track(calls, peaks), f"{len(calls)} calls")


@app.command()
def saliency(
    model: ModelFile,
    genome: GenomeFile,
    regions: Annotated[str, typer.Option(metavar="REGION|BED", help="What to explain.", show_default=False)],
    output: Annotated[Path, _output("Track to write, one value a base.")],
    plot: Annotated[Path | None, typer.Option(help="Picture of the first region.", show_default=False)] = None,
    lengths: Annotated[str, typer.Option(help="Lengths in bp that are replaced by random bases.")] = "1,5,10",
    insert: Annotated[list[str] | None, typer.Option(help="Motif that replaces what is there; repeatable.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Random replacements of each window.")] = 3,
    target: Target = None,
    aliases: Aliases = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Show which bases support the call, by perturbing them.

    Example: genomic-ulmfit saliency clf.safetensors genome.fa --regions calls.bed -o saliency.bedgraph --plot first.png
    """
    from genomic_ulmfit.perturbation import records_at
    from genomic_ulmfit.plot import picture_format, plot_saliency, save_figure

    _check_outputs(plot, track=output)
    if plot is not None:
        picture_format(plot)
    opened, classifier = gu.Genome(genome, aliases=aliases), _classifier(model)
    records = records_at(classifier, opened, _regions(regions, [opened]), target=target)
    widths = [_whole_number(text, "--lengths") for text in lengths.split(",") if text]
    results = gu.saliency(
        classifier,
        records,
        lengths=widths,
        inserts=insert,
        draws=draws,
        target=target,
        device=device,
        seed=seed,
        progress=True,
    )
    track = gu.write_track(gu.saliency_track(results), output, chrom_sizes=opened.chrom_sizes)
    _wrote(track, f"saliency of {len(results)} regions")
    if plot is not None:
        _wrote(save_figure(plot_saliency(results[0], anchor=classifier.anchor), plot), f"picture of {records[0].id}")


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


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the results go.")] = Path("demo"),
    seed: Seed = 0,
) -> None:
    """Run the whole road on E. coli: data set, language model, classifier, tracks, explanation.

    Example: genomic-ulmfit demo demo/
    """
    from genomic_ulmfit.demo import run_demo

    typer.echo(run_demo(folder, seed=seed))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process if not given.

    Returns
    -------
    int
        0; 2 where input or usage is wrong (one line says why); 130 where it was interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("genomic_ulmfit").setLevel(logging.INFO)
    try:
        status = app(arguments, standalone_mode=False)
    except (GenomicUlmfitError, OSError) as error:
        if "--verbose" in arguments:
            raise
        return _fail(str(error) if isinstance(error, GenomicUlmfitError) or not error.strerror else _os_error(error))
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        return _fail(error.format_message())
    if status == _INTERRUPTED:  # typer returns it too
        print("interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    print(f"genomic-ulmfit: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _os_error(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _wrote(path: Path, what: str) -> None:
    typer.echo(f"{path}: {what}")


def _write_text(text: str, path: Path) -> Path:
    from genomic_ulmfit.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text)
    return path


def _check_outputs(*outputs: Path | None, track: Path | None = None, calls: Path | None = None) -> None:
    """Refuse, before hours are spent, an output in a folder that isn't there or a track that can't hold its content."""
    for output in (*outputs, track, calls):
        if output is not None and not output.parent.is_dir():
            raise FileNotFoundError(f"{output}: the folder {output.parent} does not exist")
    from genomic_ulmfit.genome.tracks import track_format

    if track is not None and track_format(track) == "bed":
        raise SettingError(f"{track}: BED holds calls, not scores; wanted .bedgraph or .bw")
    if calls is not None and track_format(calls) != "bed":
        raise SettingError(f"{calls}: calls are written as BED; wanted .bed or .bed.gz")


def _insert(name: str, word: str) -> str:
    """Put a word before the suffixes of a track's name: out.bedgraph.gz -> out.plus.bedgraph.gz."""
    suffixes = "".join(Path(name).suffixes[-2:] if name.endswith(".gz") else Path(name).suffixes[-1:])
    return f"{name.removesuffix(suffixes)}.{word}{suffixes}"


def _regions(text: str, genomes: list[gu.Genome]) -> list[gu.Interval]:
    """Read a file of intervals, or a typed region of one of the genomes."""
    if Path(text).exists() or Path(text).suffix in (".bed", ".gz", ".narrowPeak"):
        intervals = gu.read_intervals(text)
        if not intervals:
            raise FileFormatError(text, "holds no intervals")
        return intervals
    sizes = {chrom: size for genome in genomes for chrom, size in genome.chrom_sizes.items()}
    return [gu.Interval.from_region(text, sizes)]


def _split(genome: gu.Genome, method: SplitMethod | None, test: str | None, seed: int) -> list[gu.Interval]:
    held_out = None if test is None else gu.Interval.from_region(test, genome.chrom_sizes)
    return gu.split_genome(genome.chrom_sizes, method and method.value, test=held_out, seed=seed)


def _genes(path: Path, negatives: str, feature: str | None, aliases: Path | None) -> list[gu.Interval] | None:
    if negatives != "gene-body":
        return None
    how = {} if feature is None else {"feature": feature}
    return gu.read_genes(path, aliases=aliases, **how)


def _positions(text: str) -> tuple[int, int]:
    start, colon, end = text.partition(":")
    if not colon:
        raise SettingError(f"--mask is {text!r}, wanted START:END, 0-based half-open")
    return _whole_number(start, "--mask"), _whole_number(end, "--mask")


def _whole_number(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingError(f"{option} has {text!r}, wanted a whole number") from None


def _rate(text: str | None) -> float | str | None:
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise SettingError(f"--lr is {text!r}, wanted a number or auto") from None


def _given(**options: Any) -> dict[str, Any]:
    """Leave out what was not given, so that the function's own default holds."""
    return {name: value for name, value in options.items() if value is not None}


def _language_model(path: Path) -> gu.LanguageModel:
    return _of_kind(path, gu.LanguageModel, "a language model, as `pretrain` and `finetune` write")


def _classifier(path: Path) -> gu.Classifier:
    return _of_kind(path, gu.Classifier, "a classifier, as `train` writes")


def _of_kind(path: Path, kind: type, wanted: str) -> Any:
    from genomic_ulmfit.errors import ModelFileError

    model = gu.load(path)
    if not isinstance(model, kind):
        raise ModelFileError(path, f"wanted {wanted}, got a {type(model).__name__}")
    return model


def _last_bits(model: gu.LanguageModel) -> str:
    stage = model.card["stages"][-1]
    bits = stage.get("valid_bits_per_base", stage["train_bits_per_base"])
    return f"{bits:.3f} bits per base{'' if 'valid_bits_per_base' in stage else ' in training'}"


if __name__ == "__main__":
    sys.exit(main())
