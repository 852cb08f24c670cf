"""Verbs that use models: probabilities, tracks and explanations; and the demo."""

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
    insert_word,
    load_classifier,
    load_regions,
    output_file,
    whole_number,
    wrote,
)


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
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    aliases: Aliases = None,
    device: Device = None,
) -> None:
    """Score a genome with a sliding window.

    Example: genomic-ulmfit scan clf.safetensors genome.fa -o scores.bedgraph --regions chr1:1-40000 --peaks calls.bed
    """
    check_outputs(track=output, calls=peaks)
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
    if peaks is not None:
        calls = gu.call_peaks(blocks, threshold=threshold)
        wrote(gu.write_track(calls, peaks), f"{len(calls)} calls")


@app.command()
def saliency(
    model: ModelFile,
    genome: GenomeFile,
    regions: Annotated[str, typer.Option(metavar="REGION|BED", help="What to explain.", show_default=False)],
    output: Annotated[Path, output_file("Track to write, one value a base.")],
    plot: Annotated[Path | None, typer.Option(help="Picture of the first region.", show_default=False)] = None,
    lengths: Annotated[str, typer.Option(help="Lengths in bp that are replaced by random bases.")] = "1,5,10",
    insert: Annotated[list[str] | None, typer.Option(help="Motif that replaces what is there; repeatable.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Random replacements of each window.")] = 3,
    target: Target = None,
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    aliases: Aliases = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Show which bases support the call, by perturbing them.

    Example: genomic-ulmfit saliency clf.safetensors genome.fa --regions calls.bed -o saliency.bedgraph --plot first.png
    """
    from genomic_ulmfit.perturbation import records_at
    from genomic_ulmfit.plot import picture_format, plot_saliency, save_figure

    check_outputs(plot, track=output)
    if plot is not None:
        picture_format(plot)
    opened, classifier = gu.Genome(genome, aliases=aliases), load_classifier(model)
    records = records_at(classifier, opened, load_regions(regions, [opened]), target=target)
    widths = [whole_number(text, "--lengths") for text in lengths.split(",") if text]
    results = gu.saliency(
        classifier,
        records,
        lengths=widths,
        inserts=insert,
        draws=draws,
        target=target,
        precision=precision.value,
        exact=exact,
        device=device,
        seed=seed,
        progress=True,
    )
    track = gu.write_track(gu.saliency_track(results), output, chrom_sizes=opened.chrom_sizes)
    wrote(track, f"saliency of {len(results)} regions")
    if plot is not None:
        wrote(save_figure(plot_saliency(results[0], anchor=classifier.anchor), plot), f"picture of {records[0].id}")


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
