"""Explanations in, matplotlib figures out: logos, mean profiles and maps of k-mers; nothing is computed here.

All are as wide as one column of a paper, 85 mm, or two, with letters of 6 to 8 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genomic_ulmfit.plot_style import BLUE, GREEN, ORANGE, RED, paper_figure, paper_letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genomic_ulmfit.profiles import Profile

__all__ = ["plot_kmers", "plot_logo", "plot_profile"]

_LETTERS = {"A": GREEN, "C": BLUE, "G": ORANGE, "T": RED}
_NAMED = 64  # k-mers that can be written out in one picture
_ROW = 100  # letters that can be read side by side over two columns


def plot_logo(
    heights: NDArray[np.floating], *, anchor: int | None = None, ylabel: str = "nats", title: str = ""
) -> Figure:
    """Draw bases as letters as high as what they do for the call; those against it stand below the line.

    Parameters
    ----------
    heights : float array, shape (n_bases, 4)
        Of A, C, G and T at each position, such as `letter_heights` gives them.
    anchor : int, optional
        0-based index of the anchor: positions count from it, and a line marks it.
    ylabel : str
        What the heights are.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        Two columns wide, in rows of up to 100 bases, all to one scale.
    """
    from logomaker import Logo
    from pandas import DataFrame

    zero, n_rows = anchor or 0, -(-len(heights) // _ROW)
    table = DataFrame(np.asarray(heights, dtype=float), columns=list("ACGT"), index=np.arange(len(heights)) - zero)
    figure = paper_figure(columns=2, height=0.35 + 1.05 * n_rows)
    rows = figure.subplots(n_rows, 1, squeeze=False, sharey=True)[:, 0]
    width = -(-len(heights) // n_rows)
    for i, axes in enumerate(rows):
        part = table.iloc[i * width : (i + 1) * width]
        Logo(part, ax=axes, color_scheme=_LETTERS, baseline_width=0.5, vpad=0.02)
        axes.set(xlim=(i * width - zero - 0.5, (i + 1) * width - zero - 0.5), ylabel=ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        if anchor is not None and i * width <= anchor < (i + 1) * width:
            axes.axvline(-0.5, color="black", linewidth=0.8, linestyle="--")
    rows[0].set_title(title, loc="left")
    rows[-1].set_xlabel("position (bp)" if anchor is None else "position from the anchor (bp)")
    return paper_letters(figure)


def plot_profile(
    profile: Profile, *, anchored: bool = True, boxes: Sequence[tuple[int, int, str]] = (), title: str = ""
) -> Figure:
    """Draw mean saliency around the anchor with its interval, and below it each curve as a row of a heat map.

    Parameters
    ----------
    profile : Profile
        From `average_profile`.
    anchored : bool
        Mark position 0 by a line.
    boxes : sequence of (int, int, str)
        Stretches ``start <= position < end`` to shade, with their names.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        One column wide.
    """
    figure = paper_figure(columns=1, height=2.5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
    top.fill_between(profile.positions, profile.low, profile.high, step="mid", color=BLUE, alpha=0.3, linewidth=0)
    top.step(profile.positions, profile.mean, where="mid", color=BLUE, linewidth=1)
    top.axhline(0, color="black", linewidth=0.5)
    for start, end, name in boxes:
        top.axvspan(start - 0.5, end - 0.5, color="0.9", zorder=0, linewidth=0)
        top.annotate(name, ((start + end - 1) / 2, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    top.set_ylabel(f"mean saliency of {len(profile.values):,}\nrecords (nats, 95 % interval)")
    top.set_title(title, loc="left", pad=12 if boxes else None)
    rows = np.array(list(profile.curves.values()))
    largest = np.nanmax(np.abs(rows)) or 1.0
    extent = (profile.positions[0] - 0.5, profile.positions[-1] + 0.5, len(rows) - 0.5, -0.5)
    image = bottom.imshow(
        rows, aspect="auto", cmap="RdBu", vmin=-largest, vmax=largest, extent=extent, interpolation="none"
    )
    bottom.set_yticks(range(len(rows)), [f"{kind} bp" if kind.isdigit() else kind for kind in profile.curves])
    bottom.set(ylabel="replaced", xlabel="position from the anchor (bp)" if anchored else "position (bp)")
    figure.colorbar(image, ax=bottom, label="nats", pad=0.02, aspect=8)
    for axes in (top, bottom):
        if anchored:
            axes.axvline(-0.5, color="black", linewidth=0.8, linestyle="--")
        axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)


def plot_kmers(places: NDArray[np.floating], kmers: Sequence[str], *, title: str = "") -> Figure:
    """Draw a map of k-mers, coloured by their share of G and C.

    Parameters
    ----------
    places : float array, shape (n_kmers, 2)
        Where each k-mer lies, from `kmer_map`.
    kmers : sequence of str
        Their letters. Up to 64 are written out, neighbours in one list; of more, there are points only.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        One column wide; colours from dark blue (no G or C) to yellow (all).
    """
    figure = paper_figure(columns=1, height=3.3)
    axes = figure.subplots()
    gc = [sum(letter in "GC" for letter in kmer) / len(kmer) for kmer in kmers]
    size = max(2.0, 600 / len(kmers))
    x, y = np.asarray(places).T
    points = axes.scatter(x, y, c=gc, cmap="cividis", vmin=0, vmax=1, s=size, linewidth=0)
    for where, names in _together(places, kmers) if len(kmers) <= _NAMED else ():
        axes.annotate("\n".join(names), where, xytext=(4, 0), textcoords="offset points", va="center")
    figure.colorbar(points, ax=axes, label="share of G and C", pad=0.02, aspect=30)
    axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.margins(x=0.16, y=0.1)
    axes.set_title(title, loc="left")
    return paper_letters(figure)


def _together(places: NDArray[np.floating], kmers: Sequence[str]) -> list[tuple[tuple[float, float], list[str]]]:
    """List k-mers that lie so close that their names would cover one another, each list with its place."""
    from scipy.cluster.hierarchy import fcluster, linkage

    groups = fcluster(linkage(places, "single"), 0.04 * np.ptp(places, axis=0).max(), "distance")
    found = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group).tolist()
        right = float(places[members, 0].max()), float(places[members, 1].mean())
        found.append((right, [kmers[i] for i in members]))
    return found
