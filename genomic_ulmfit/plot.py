"""Results in, matplotlib figures out; nothing is computed here. Coordinates are shown 1-based, as in browsers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.tracks import ScoreBlock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genomic_ulmfit.perturbation import Saliency

__all__ = ["picture_format", "plot_saliency", "plot_scan", "save_figure"]

# Okabe & Ito's colours, told apart by colour-blind readers
_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def plot_scan(
    blocks: Sequence[ScoreBlock], *, sites: Sequence[Interval] = (), calls: Sequence[Interval] = (), title: str = ""
) -> Figure:
    """Draw the scores of both strands along one stretch, "+" upwards and "-" downwards.

    Parameters
    ----------
    blocks : sequence of ScoreBlock
        Scores in [0, 1] of one chromosome, as ``scan(strands="both")`` gives them.
    sites : sequence of Interval
        True sites, marked by a tick on their strand.
    calls : sequence of Interval
        Calls, marked by a bar on their strand.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        7.2 inches wide, as two columns of a paper.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.0), layout="constrained", dpi=200)
    axes = figure.subplots()
    for block in blocks:
        edges = np.minimum(block.start + np.arange(len(block.scores) + 1) * block.step, block.end) + 1
        sign = -1 if block.strand == "-" else 1
        axes.stairs(sign * block.scores, edges, fill=True, color=_ORANGE if sign < 0 else _BLUE, linewidth=0)
    _marks(axes, sites, height=1.12, color="black", label="annotated start")
    _bars(axes, calls, height=1.03)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(ylim=(-1.3, 1.3), yticks=[-1, -0.5, 0, 0.5, 1], yticklabels=["1", "0.5", "0", "0.5", "1"])
    axes.set_title(title, loc="left")
    axes.set_xlim(min(b.start for b in blocks) + 1, max(b.end for b in blocks))
    axes.set_xlabel(f"{blocks[0].chrom} (bp)")
    axes.set_ylabel("probability\n\u2212 strand      + strand")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if sites or calls:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_saliency(result: Saliency, *, anchor: int | None = None, title: str = "") -> Figure:
    """Draw what each base of one record does for the call, by what replaced it.

    Parameters
    ----------
    result : Saliency
        Of one record.
    anchor : int, optional
        0-based index in the record to mark by a line.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        Above the mean saliency of each base, below a heat map with a row for each replacement length or motif.
    """
    from matplotlib.figure import Figure

    n = len(result.scores)
    zero = anchor or 0
    figure = Figure(figsize=(7.2, 3.6), layout="constrained", dpi=200)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    positions = np.arange(n) - zero
    top.bar(positions, result.scores, width=1.0, color=np.where(result.scores >= 0, _BLUE, _RED))
    top.axhline(0, color="black", linewidth=0.5)
    top.set(ylabel="saliency (nats)", title=title)
    rows = np.array(list(result.curves.values()))
    largest = np.nanmax(np.abs(rows)) or 1.0
    extent = (-zero - 0.5, n - zero - 0.5, len(rows) - 0.5, -0.5)
    image = bottom.imshow(
        rows, aspect="auto", cmap="RdBu", vmin=-largest, vmax=largest, extent=extent, interpolation="none"
    )
    bottom.set_yticks(range(len(rows)), [f"{kind} bp" if kind.isdigit() else kind for kind in result.curves])
    bottom.set(
        ylabel="replaced", xlabel=f"position from the start (bp) in {result.record.id}" if anchor else "position (bp)"
    )
    figure.colorbar(image, ax=bottom, label="nats", pad=0.01)
    for axes in (top, bottom):
        if anchor is not None:
            axes.axvline(-0.5, color="black", linewidth=0.8, linestyle="--")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, told by the suffix; the same figure gives the same bytes.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    SettingError
        If the suffix is none of them.
    """
    picture_format(path)
    from matplotlib import rc_context

    is_svg = Path(path).suffix == ".svg"
    with replacing(path) as temporary, rc_context({"svg.hashsalt": "genomic_ulmfit"}):  # ids are random without a salt
        figure.savefig(temporary, metadata={"Date": None} if is_svg else None)
    return Path(path)


def picture_format(path: str | Path) -> str:
    """Return the format in which `save_figure` would write, so that a wrong name is refused before long work.

    Raises
    ------
    SettingError
        If the suffix is none of .png, .svg and .pdf.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg", ".pdf"):
        raise SettingError(f"{path}: pictures are .png, .svg or .pdf, got {suffix or 'no suffix'}")
    return suffix[1:]


def _marks(axes: Axes, sites: Sequence[Interval], height: float, color: str, label: str) -> None:
    for i, site in enumerate(sites):
        sign = -1 if site.strand == "-" else 1
        axes.plot([site.start + 1] * 2, [0, sign * height], color=color, linewidth=0.6, label=label if i == 0 else None)


def _bars(axes: Axes, calls: Sequence[Interval], height: float) -> None:
    for i, call in enumerate(calls):
        y = -height if call.strand == "-" else height
        middle = (call.start + call.end) / 2
        marker = "^" if call.strand == "-" else "v"
        axes.plot(middle, y * 1.15, marker, color=_GREEN, markersize=4, label="call" if i == 0 else None)
