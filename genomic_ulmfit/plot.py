"""Results in, matplotlib figures out; nothing is computed here. Coordinates are shown 1-based, as in browsers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.tracks import ScoreBlock
from genomic_ulmfit.plot_style import BLUE, GREEN, LINES, ORANGE, RED, paper_figure, paper_letters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genomic_ulmfit.perturbation import Saliency
    from genomic_ulmfit.track_truth import TrackEvaluation

__all__ = [
    "as_svg",
    "picture_format",
    "plot_baselines",
    "plot_distribution",
    "plot_losses",
    "plot_lr_finder",
    "plot_saliency",
    "plot_scan",
    "plot_track_evaluation",
    "save_figure",
]

_ARROW = 0.01  # of the picture's width: the head of a gene's arrow


def plot_scan(
    blocks: Sequence[ScoreBlock],
    *,
    sites: Sequence[Interval] = (),
    calls: Sequence[Interval] = (),
    genes: Sequence[Interval] = (),
    title: str = "",
) -> Figure:
    """Draw the scores of both strands along one stretch, "+" upwards and "-" downwards.

    Parameters
    ----------
    blocks : sequence of ScoreBlock
        Scores in [0, 1] of one chromosome, as ``scan(strands="both")`` gives them.
    sites : sequence of Interval
        True sites, marked by a tick on their strand.
    calls : sequence of Interval
        Calls, marked by a triangle on their strand.
    genes : sequence of Interval
        As from `read_genes`: arrows below, "+" above "-", with their names where there is room. What lies beyond the
        stretch, or on other chromosomes, is not drawn.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        Two columns of a paper wide.
    """
    sites, calls, genes = ([i for i in found if i.chrom == blocks[0].chrom] for found in (sites, calls, genes))
    figure = paper_figure(columns=2, height=3.0 if genes else 2.5)
    axes, *below = figure.subplots(
        1 + bool(genes), 1, sharex=True, squeeze=False, height_ratios=[4, 1] if genes else None
    )[:, 0]
    for block in blocks:
        edges = np.minimum(block.start + np.arange(len(block.scores) + 1) * block.step, block.end) + 1
        sign = -1 if block.strand == "-" else 1
        axes.stairs(sign * block.scores, edges, fill=True, color=ORANGE if sign < 0 else BLUE, linewidth=0)
    _marks(axes, sites, height=1.12, color="black", label="annotated start")
    _triangles(axes, calls, height=1.03)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(ylim=(-1.3, 1.3), yticks=[-1, -0.5, 0, 0.5, 1], yticklabels=["1", "0.5", "0", "0.5", "1"])
    axes.set_title(title, loc="left")
    start, end = min(b.start for b in blocks) + 1, max(b.end for b in blocks)
    axes.set_xlim(start, end)
    axes.set_ylabel("probability\n\u2212 strand      + strand")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if sites or calls:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    for row in below:
        _gene_arrows(row, genes, start, end)
    (below[0] if below else axes).set_xlabel(f"{blocks[0].chrom} (bp)")
    return paper_letters(figure)


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
    n = len(result.scores)
    zero = anchor or 0
    figure = paper_figure(columns=2, height=3.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    positions = np.arange(n) - zero
    top.bar(positions, result.scores, width=1.0, color=np.where(result.scores >= 0, BLUE, RED))
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
        ylabel="replaced",
        xlabel=f"position from the anchor (bp) in {result.record.id}" if anchor is not None else "position (bp)",
    )
    figure.colorbar(image, ax=bottom, label="nats", pad=0.01)
    for axes in (top, bottom):
        if anchor is not None:
            axes.axvline(-0.5, color="black", linewidth=0.8, linestyle="--")
        axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)


def plot_distribution(
    counts: Mapping[str, Sequence[int]], edges: Sequence[float], *, xlabel: str, log: bool = False
) -> Figure:
    """Draw how the records of each class are distributed, as shares of the class.

    Parameters
    ----------
    counts : mapping of str to sequence of int
        Records in each bin, by class; one class at least.
    edges : sequence of float
        Of the bins, one more than these.
    xlabel : str
        What is counted.
    log : bool
        Use a logarithmic axis.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide; classes differ in colour and in the kind of line.
    """
    figure = paper_figure(columns=1, height=1.8)
    axes = figure.subplots()
    for (name, found), (color, line) in zip(counts.items(), LINES, strict=False):
        shares = 100 * np.array(found) / max(1, sum(found))
        axes.stairs(shares, edges, color=color, linestyle=line, linewidth=1.5, label=name)
    axes.set(xlabel=xlabel, ylabel="% of the class", ylim=(0, None), xscale="log" if log else "linear")
    figure.legend(loc="outside right upper", frameon=False, fontsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)


def plot_losses(curve: Sequence[Mapping[str, float]], *, references: Mapping[str, float] | None = None) -> Figure:
    """Draw the losses of a language model's training against what it has read.

    Parameters
    ----------
    curve : sequence of mapping
        As the stages of a model's card hold it: ``tokens`` (k-mers), ``train_bits_per_base`` and, with a validation
        part, ``valid_bits_per_base``.
    references : mapping of str to float, optional
        Bits per base of other models by name, drawn as level lines; the informed guess of 2 is always there.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide; the curves differ in colour and in shape.
    """
    figure = paper_figure(columns=1, height=2.1)
    axes = figure.subplots()
    tokens = [row["tokens"] / 1e6 for row in curve]
    for part, name, color, shape in (("train", "training", BLUE, "o-"), ("valid", "validation", RED, "D--")):
        losses = [row.get(f"{part}_bits_per_base", float("nan")) for row in curve]
        if not np.isnan(losses).all():
            axes.plot(tokens, losses, shape, color=color, markersize=3, linewidth=1.2, label=name)
    for (name, bits), style in zip(
        {"guess": 2.0, **(references or {})}.items(), cycle((":", "-.", "--")), strict=False
    ):
        axes.axhline(bits, color="0.5", linewidth=0.8, linestyle=style, label=f"{name} ({bits:.4g})")
    axes.set(xlabel="k-mers read (millions)", ylabel="loss (bits per base)", xlim=(0, None))
    axes.locator_params(axis="x", nbins=5)  # labels of a small fraction of a million are long
    figure.legend(loc="outside right upper", frameon=False, fontsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)


def plot_baselines(scores: Mapping[str, Mapping[str, float]], *, xlabel: str = "MCC") -> Figure:
    """Draw what baselines score on one split and on another, a row each.

    Parameters
    ----------
    scores : mapping of str to mapping of str to float
        By split, then by baseline; what is missing or NaN is left out.
    xlabel : str
        What the scores are.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide; splits differ in colour and in shape.
    """
    names = list(dict.fromkeys(name for found in scores.values() for name in found))[::-1]
    figure = paper_figure(columns=1, height=0.7 + 0.2 * len(names))
    axes = figure.subplots()
    axes.hlines(range(len(names)), 0, 1, color="0.9", linewidth=1)
    for (split, found), color, marker in zip(scores.items(), (BLUE, RED), "oD", strict=False):
        rows = [names.index(name) for name in found]
        axes.plot(list(found.values()), rows, marker, color=color, markersize=4, label=split, clip_on=False)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel=xlabel, ylim=(-0.6, len(names) - 0.4))
    axes.set_xlim(min([0.0, *(value for found in scores.values() for value in found.values())]), 1)
    if scores:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return paper_letters(figure)


def plot_lr_finder(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw what the LR finder saw before each stage of a training, and the rates it chose.

    Parameters
    ----------
    curves : sequence of mapping
        ``rates``, the smoothed ``losses`` there and the ``chosen`` rate, as a card's ``lr_finder`` has them.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide, with a logarithmic axis of rates; losses far above the first one are cut off.

    Raises
    ------
    SettingError
        If there are no curves: the rate was given, or the finder's loss was no number from the start.
    """
    curves = [curve for curve in curves if curve["losses"]]
    if not curves:
        raise SettingError("the LR finder has no curve to draw; it looks for a rate with lr='auto' only")
    figure = paper_figure(columns=1, height=2.0)
    axes = figure.subplots()
    for i, curve in enumerate(curves):
        color, line = LINES[i % len(LINES)]
        label = f"stage {i + 1}: {curve['chosen']:.2g}"
        axes.plot(curve["rates"], curve["losses"], line, color=color, linewidth=1.5, label=label)
        axes.axvline(curve["chosen"], color=color, linestyle=line, linewidth=0.8)
    lowest = min(min(curve["losses"]) for curve in curves)
    first = max(curve["losses"][0] for curve in curves)
    axes.set_ylim(lowest - 0.2 * (first - lowest), first + 0.5 * (first - lowest))  # the explosion hides the valley
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)")
    axes.legend(frameon=False, fontsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)


def as_svg(figure: Figure, name: str) -> str:
    """Return a figure as an ``<svg>`` element to stand in a page; the same figure and name give the same text.

    Parameters
    ----------
    figure : matplotlib Figure
        Its text stays text.
    name : str
        Tells it from the other figures of the page: their ids must differ.
    """
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(written, format="svg", metadata={"Date": None}, transparent=True)
    text = written.getvalue()[written.getvalue().index("<svg") :]
    used = set(re.findall(r"#([\w-]+)", text))  # the others are the same in every figure
    return re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text)


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


def _gene_arrows(axes: Axes, genes: Sequence[Interval], start: int, end: int) -> None:
    """Draw genes between two 1-based positions, "+" in the upper row and "-" in the lower one."""
    head, per_letter = (end - start) * _ARROW, (end - start) * 0.0085
    for gene in genes:
        left, right = gene.start + 1, gene.end
        row, color = (-1, ORANGE) if gene.strand == "-" else (1, BLUE)
        tail, tip = (right, left) if row < 0 else (left, right)
        neck = tip - row * min(head, right - left)
        corners = [(tail, row - 0.4), (neck, row - 0.4), (tip, row), (neck, row + 0.4), (tail, row + 0.4)]
        axes.fill(*zip(*corners, strict=True), facecolor=color, alpha=0.35, edgecolor=color, linewidth=0.6)
        seen = max(left, start), min(right, end)
        if gene.name != "." and seen[1] - seen[0] > per_letter * (len(gene.name) + 1):
            axes.text(sum(seen) / 2, row, gene.name, ha="center", va="center", style="italic")
    axes.set_xlim(start, end)
    axes.set(ylim=(-1.8, 1.8), yticks=[-1, 1], yticklabels=["\u2212", "+"], ylabel="genes")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _triangles(axes: Axes, calls: Sequence[Interval], height: float) -> None:
    for i, call in enumerate(calls):
        y = -height if call.strand == "-" else height
        middle = (call.start + call.end) / 2
        marker = "^" if call.strand == "-" else "v"
        axes.plot(middle, y * 1.15, marker, color=GREEN, markersize=4, label="call" if i == 0 else None)


def plot_track_evaluation(evaluation: TrackEvaluation, *, title: str = "") -> Figure:
    """Draw the precision of a track's calls against their recall, a curve for each distance.

    Parameters
    ----------
    evaluation : TrackEvaluation
        As `evaluate_track` gives it; of its rows those of all strands are drawn.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide; the curves differ in colour and in the kind of line. A dot marks the threshold of
        the table, a short stroke at the right the precision of a call made at random.
    """
    figure = paper_figure(columns=1, height=2.2)
    axes = figure.subplots()
    rows = [row for row in evaluation.rows if row.strand == "all"]
    for row, (color, line) in zip(rows, cycle(LINES), strict=False):
        label = f"{row.distance:,} bp ({row.average_precision:.2f})"
        axes.plot(row.curve["recall"], row.curve["precision"], line, color=color, linewidth=1.4, label=label)
        axes.plot(row.recall, row.precision, "o", color=color, markersize=3)
        axes.plot([0.97, 1], [row.chance] * 2, color=color, linewidth=2.5, solid_capstyle="butt")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title, loc="left")
    figure.legend(loc="outside right upper", frameon=False, fontsize=6, title="within (area)")
    axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)
