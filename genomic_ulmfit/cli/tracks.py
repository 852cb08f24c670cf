"""Verbs that read tracks, from here or from elsewhere: calls, and how well they fit true starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Feature,
    MinDistance,
    Minus,
    NegativeMinus,
    Sites,
    check_outputs,
    check_picture,
    load_regions,
    output_file,
    whole_number,
    write_text,
    wrote,
)


@app.command()
def peaks(
    track: Annotated[Path, typer.Argument(help="bedGraph (plain, gzip) or bigWig.", show_default=False)],
    output: Annotated[Path, output_file("Calls to write: .bed or .narrowPeak, perhaps with .gz.")],
    threshold: Annotated[float, typer.Option(help="Lowest score of a call, in the track's own scores.")] = 0.5,
    min_distance: MinDistance = 100,
    minus: Minus = None,
    negative_minus: NegativeMinus = False,
) -> None:
    """Call the places where a track is high.

    Example: genomic-ulmfit peaks scores.plus.bw --minus scores.minus.bw -o calls.narrowPeak --threshold 0.9
    """
    check_outputs(calls=output, inputs=[track, minus])
    blocks = gu.read_track(track, minus=minus, negative_minus=negative_minus)
    calls = gu.call_peaks(blocks, threshold=threshold, min_distance=min_distance)
    wrote(gu.write_track(calls, output), f"{len(calls)} calls")


@app.command()
def evaluate_track(
    track: Annotated[
        Path, typer.Argument(help="bedGraph, bigWig, BED or narrowPeak, of any program.", show_default=False)
    ],
    sites: Sites,
    minus: Minus = None,
    negative_minus: NegativeMinus = False,
    feature: Feature = None,
    within: Annotated[str, typer.Option(help="Largest distances of a match, in bp.")] = "50,100,500,1000",
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of a call. [default: a BED's all, a track's best F1]")
    ] = None,
    min_distance: MinDistance = 100,
    regions: Annotated[
        str | None, typer.Option(metavar="REGION|BED", help="What to evaluate. [default: what the track covers]")
    ] = None,
    genome: Annotated[
        Path | None, typer.Option(help="To check RegulonDB's starts against, and for its names.", show_default=False)
    ] = None,
    aliases: Annotated[Path | None, typer.Option(help="Two columns: names among the starts, and in the track.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON to write.", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Precision-recall curve to draw (.png, .svg, .pdf).", show_default=False)
    ] = None,
) -> None:
    """Compare a track, or calls, with true starts: precision and recall within some distances.

    Example: genomic-ulmfit evaluate-track scores.plus.bw genome.gbk --minus scores.minus.bw --plot curve.png
    """
    from genomic_ulmfit.plot import plot_track_evaluation, save_figure

    check_outputs(json_file, plot, inputs=[track, sites, minus, regions, genome, aliases])
    check_picture(plot)
    opened = None if genome is None else gu.Genome(genome, aliases=aliases)
    found = gu.evaluate_track(
        track,
        gu.read_tss(sites, feature=feature, aliases=aliases, genome=opened),
        minus=minus,
        negative_minus=negative_minus,
        distances=[whole_number(text, "--within") for text in within.split(",") if text],
        threshold=threshold,
        min_distance=min_distance,
        regions=None if regions is None else load_regions(regions, [] if opened is None else [opened]),
    )
    typer.echo(str(found))
    if json_file is not None:
        wrote(write_text(json.dumps(found.to_dict(), indent=2) + "\n", json_file), "the figures and curves")
    if plot is not None:
        wrote(save_figure(plot_track_evaluation(found, title=track.name), plot), "precision against recall")
