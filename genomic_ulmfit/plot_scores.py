"""How good probabilities are in, matplotlib figures out: ROC, precision-recall and reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from genomic_ulmfit.datasets.curves import Calibration, RankingCurves
from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.plot_style import BLUE, LINES, paper_figure, paper_letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_calibration", "plot_ranking"]


def plot_ranking(curves: Mapping[str, RankingCurves], *, title: str = "") -> Figure:
    """Draw ROC and precision-recall curves side by side, with their bootstrap intervals.

    Parameters
    ----------
    curves : mapping of str to RankingCurves
        By class or model, from `ranking_curves`; at most six.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide. Dotted lines are what chance gives.

    Raises
    ------
    SettingError
        If there are no curves or more than six.
    """
    if not 1 <= len(curves) <= len(LINES):
        raise SettingError(f"wanted 1 to {len(LINES)} curves to draw, got {len(curves)}")
    figure = paper_figure(columns=1, height=2.1 + 0.11 * len(curves))
    left, right = figure.subplots(1, 2)
    for (name, found), (color, line) in zip(curves.items(), LINES, strict=False):
        for axes, values, (low, high) in (
            (left, found.true_positive_rate, found.true_positive_rate_interval),
            (right, found.precision, found.precision_interval),
        ):
            axes.fill_between(found.grid, low, high, color=color, alpha=0.25, linewidth=0)
            axes.plot(found.grid, values, line, color=color, linewidth=1, label=_areas(name, found))
        share = found.positives / (found.positives + found.negatives)
        right.axhline(share, color=color, linestyle=":", linewidth=0.8)
    left.plot([0, 1], [0, 1], ":", color="0.4", linewidth=0.8)
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set(xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], box_aspect=1)
        axes.spines[["top", "right"]].set_visible(False)
    drawn = left.get_legend_handles_labels()
    figure.legend(
        *drawn, title="area (95 % interval)", loc="outside lower left", frameon=False, alignment="left", fontsize=6
    )
    left.set_title(title, loc="left")
    return paper_letters(figure)


def _areas(name: str, found: RankingCurves) -> str:
    texts = [f"{area:.3f} ({low:.3f} to {high:.3f})" for area, low, high in (found.roc_auc, found.pr_auc)]
    return f"{name}: ROC {texts[0]}, PR {texts[1]}"


def plot_calibration(found: Calibration, *, of: str = "the class", title: str = "") -> Figure:
    """Draw a reliability diagram: how often what is said with a probability comes true, and how often it is said.

    Parameters
    ----------
    found : Calibration
        From `calibration`.
    of : str
        What the probabilities are of.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib Figure
        One column of a paper wide. On the dotted line the probabilities are right; bars are 95 % intervals, the
        numbers below are records.
    """
    figure = paper_figure(columns=1, height=2.9)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    known = found.counts > 0
    x, y = found.predicted[known], found.observed[known]
    top.plot([0, 1], [0, 1], ":", color="0.4", linewidth=0.8)
    low, high = found.interval[:, known]
    top.vlines(x, low, high, color=BLUE, linewidth=0.8)
    top.plot(x, y, "o-", color=BLUE, markersize=3, linewidth=1)
    error, *ends = found.error
    top.annotate(
        f"expected calibration error\n{error:.3f} ({ends[0]:.3f} to {ends[1]:.3f})", (0.03, 0.97),
        xycoords="axes fraction", va="top",
    )  # fmt: skip
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share that is {of}", yticks=[0, 0.25, 0.5, 0.75, 1])
    top.set_title(title, loc="left")
    bottom.stairs(found.counts, found.edges, fill=True, color="0.8")
    for middle, count in zip((found.edges[1:] + found.edges[:-1]) / 2, found.counts, strict=True):
        bottom.annotate(
            f"{count:,}", (middle, count), xytext=(0, 1), textcoords="offset points", ha="center", va="bottom"
        )
    bottom.set(xlabel=f"probability of {of}", ylabel="records", ylim=(0, 1.25 * np.max(found.counts)))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    return paper_letters(figure)
