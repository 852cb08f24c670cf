"""Verbs that use models: probabilities and tracks; and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Aliases,
    Device,
    Exact,
    GenomeFile,
    ModelFile,
    Precision,
    ReadingPrecision,
    Seed,
    Strands,
    Target,
    check_outputs,
    check_picture,
    insert_word,
    load_classifier,
    load_regions,
    output_file,
    write_text,
    wrote,
)
from genomic_ulmfit.errors import SettingError


@app.command()
def predict(
    model: ModelFile,
    sequences: Annotated[Path, typer.Argument(help="FASTA, plain or gzip.", show_default=False)],
    output: Annotated[Path, output_file("TSV to write: a row a record, a column a class.")],
    strands: Annotated[str, typer.Option(help="+, - or mean.")] = "+",
    precision: ReadingPrecision = Precision.fp32,
    device: Device = None,
) -> None:
    """Give each sequence the probabilities of the classes.

    Example: genomic-ulmfit predict clf.safetensors mine.fa -o probabilities.tsv
    """
    from genomic_ulmfit.datasets.records import read_records

    check_outputs(output)
    classifier, records = load_classifier(model), read_records(sequences)
    rows = gu.predict_proba(
        classifier,
        records,
        strands=strands,  # type: ignore[arg-type]
        precision=precision.value,
        device=device,
        progress=True,
    )
    lines = ["\t".join(["id", *classifier.classes])]
    lines += [
        "\t".join([str(record.id), *(f"{p:.6f}" for p in row)]) for record, row in zip(records, rows, strict=True)
    ]
    wrote(write_text("\n".join(lines) + "\n", output), f"probabilities of {len(records)} records")


@app.command()
def scan(
    model: ModelFile,
    genome: GenomeFile,
    output: Annotated[Path, output_file("Track to write: .bedgraph, .bw, or either compressed (.bedgraph.gz).")],
    regions: Annotated[str | None, typer.Option(metavar="REGION|BED", help="chr:start-end, or a file.")] = None,
    strands: Annotated[Strands, typer.Option(help="both writes two files, out.plus.* and out.minus.*")] = Strands.max,
    step: Annotated[int, typer.Option(min=1, help="bp a bin.")] = 10,
    target: Target = None,
    peaks: Annotated[Path | None, typer.Option(help="BED of calls to write, by strand.", show_default=False)] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest probability of a call.")] = 0.5,
    plot: Annotated[Path | None, typer.Option(help="Picture of the first region to write.", show_default=False)] = None,
    genes: Annotated[
        Path | None, typer.Option(help="GFF3, GTF or GenBank file: genes to draw as arrows.", show_default=False)
    ] = None,
    sites: Annotated[
        Path | None,
        typer.Option(help="True starts to mark in the picture, as `dataset` takes them.", show_default=False),
    ] = None,
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    aliases: Aliases = None,
    device: Device = None,
) -> None:
    """Score a genome with a sliding window.

    Example: genomic-ulmfit scan clf.safetensors genome.fa -o scores.bedgraph --regions chr1:1-40000 --peaks calls.bed
    """
    check_outputs(plot, track=output, calls=peaks)
    _check_drawing(plot, regions, genes or sites)
    opened, classifier = gu.Genome(genome, aliases=aliases), load_classifier(model)
    where = None if regions is None else load_regions(regions, [opened])
    read = Strands.both if strands is Strands.max else strands
    blocks = list(
        gu.scan(
            classifier,
            opened,
            step=step,
            regions=where,
            strands=read.value,  # type: ignore[arg-type]
            target=target,
            precision=precision.value,
            exact=exact,
            device=device,
            progress=True,
        )
    )
    if strands is Strands.both:
        for strand, word in (("+", "plus"), ("-", "minus")):
            path = output.with_name(insert_word(output.name, word))
            one = [block for block in blocks if block.strand == strand]
            wrote(gu.write_track(one, path, chrom_sizes=opened.chrom_sizes), f"scores of the {word} strand")
    else:
        shown = gu.best_strand(blocks) if strands is Strands.max else blocks
        wrote(gu.write_track(shown, output, chrom_sizes=opened.chrom_sizes), "scores")
    calls = gu.call_peaks(blocks, threshold=threshold) if peaks is not None else []
    if peaks is not None:
        wrote(gu.write_track(calls, peaks), f"{len(calls)} calls")
    if plot is not None and where is not None:
        _draw_scan(blocks, where[0], calls, opened, plot, genes, sites)


def _check_drawing(plot: Path | None, regions: str | None, drawn: Path | None) -> None:
    """Refuse, before hours are spent, a picture of a whole genome or of nothing."""
    if plot is None and drawn is not None:
        raise SettingError("--genes and --sites are drawn in a picture; wanted --plot with them")
    if plot is not None and regions is None:
        raise SettingError("--plot draws the first region; wanted --regions with it")
    check_picture(plot)


def _draw_scan(
    blocks: list[gu.ScoreBlock],
    region: gu.Interval,
    calls: list[gu.Interval],
    genome: gu.Genome,
    plot: Path,
    genes: Path | None,
    sites: Path | None,
) -> None:
    """Draw a region with what lies in it."""
    from genomic_ulmfit.genome.algebra import overlapping
    from genomic_ulmfit.plot import plot_scan, save_figure

    found = gu.read_genes(genes, aliases=genome.aliases) if genes else []
    starts = gu.read_tss(sites, aliases=genome.aliases, genome=genome) if sites else []
    figure = plot_scan(
        [b for b in blocks if b.chrom == region.chrom and b.start < region.end and region.start < b.end],
        sites=overlapping(starts, [region]),
        calls=overlapping(calls, [region]),
        genes=overlapping(found, [region]),
    )
    wrote(save_figure(figure, plot), f"picture of {region.region}")


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
