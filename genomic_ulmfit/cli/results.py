"""Verbs that use models: probabilities, tracks and explanations; and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Aliases,
    Device,
    Exact,
    Feature,
    GenomeFile,
    MinDistance,
    ModelFile,
    NegativeMinus,
    Precision,
    ReadingPrecision,
    Scale,
    Seed,
    Strands,
    Target,
    check_outputs,
    load_classifier,
    load_regions,
    output_file,
    track_files,
    whole_number,
    wrote,
)
from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.genome.tracks import advise_bigwig


@app.command()
def scan(
    model: ModelFile,
    genome: GenomeFile,
    output: Annotated[Path, output_file("Track to write: .bedgraph, .bw, or either compressed (.bedgraph.gz).")],
    regions: Annotated[str | None, typer.Option(metavar="REGION|BED", help="chr:start-end, or a file.")] = None,
    strands: Annotated[Strands, typer.Option(help="both writes two files, out.plus.* and out.minus.*")] = Strands.max,
    step: Annotated[int, typer.Option(min=1, help="bp a bin.")] = 10,
    target: Target = None,
    scale: Annotated[Scale, typer.Option(help="Of the track; -log10 is -log10(1 - p).")] = Scale.probability,
    negative_minus: NegativeMinus = False,
    track_line: Annotated[bool, typer.Option("--track-line", help="Begin a bedGraph with UCSC's track line.")] = False,
    peaks: Annotated[
        Path | None, typer.Option(help="Calls to write, by strand: .bed or .narrowPeak.", show_default=False)
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest probability of a call.")] = 0.5,
    min_distance: MinDistance = 100,
    fdr: Annotated[bool, typer.Option("--fdr", help="Scan shuffled sequence too: how many calls are false?")] = False,
    fdr_sample: Annotated[int, typer.Option(min=1, help="bp that are shuffled, at most.")] = 1_000_000,
    sites: Annotated[
        Path | None, typer.Option(help="True starts, for --fdr: calls without one are counted.", show_default=False)
    ] = None,
    feature: Feature = None,
    tolerance: Annotated[int, typer.Option(min=0, help="bp between a call and its true start, at most.")] = 100,
    precision: ReadingPrecision = Precision.fp32,
    exact: Exact = False,
    aliases: Aliases = None,
    device: Device = None,
    seed: Seed = 0,
) -> None:
    """Score a genome with a sliding window.

    Example: genomic-ulmfit scan clf.safetensors genome.fa -o scores.bedgraph --regions chr1:1-40000 --peaks calls.bed
    """
    from genomic_ulmfit.scanning import count_bins

    check_outputs(track=output, calls=peaks)
    if (fdr and peaks is None) or (sites is not None and not fdr):
        raise SettingError("--fdr needs --peaks, and --sites needs --fdr")
    opened, classifier = gu.Genome(genome, aliases=aliases), load_classifier(model)
    where = None if regions is None else load_regions(regions, [opened])
    starts = None if sites is None else gu.read_tss(sites, feature=feature, aliases=opened.aliases, genome=opened)
    advise_bigwig(output, count_bins(opened, step=step, regions=where))
    read = Strands.both if strands is Strands.max else strands
    how: dict[str, Any] = {"step": step, "regions": where, "strands": read.value, "target": target, "progress": True}
    how |= {"precision": precision.value, "exact": exact, "device": device}
    calling: dict[str, Any] = {"threshold": threshold, "min_distance": min_distance}
    written = gu.write_scan(
        gu.scan(classifier, opened, **how),
        track_files(output, strands),
        chrom_sizes=opened.chrom_sizes,
        scale=scale.value,
        negative_minus=negative_minus,
        label=model.name if track_line else None,
        calls=peaks is not None,
        **calling,
    )
    for strand, path in written.tracks.items():
        wrote(path, "scores" if strand == "." else f"scores of the {strand} strand")
    if peaks is None:
        return
    calls = written.calls
    if fdr:
        sample: dict[str, Any] = {"sample_bp": fdr_sample, "sites": starts, "tolerance": tolerance, "seed": seed}
        found = gu.false_discovery(classifier, opened, calls, bp=written.bp, **how, **calling, **sample)
        calls = found.calls
        typer.echo(str(found))
    wrote(gu.write_track(calls, peaks, chrom_sizes=opened.chrom_sizes), f"{len(calls)} calls")


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
    records = records_at(classifier, opened, load_regions(regions, [opened], summits=True), target=target)
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
