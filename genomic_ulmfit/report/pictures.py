"""Evaluations and histories in, matplotlib figures for the page out. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genomic_ulmfit.datasets.findings import NAMES
from genomic_ulmfit.plot_style import as_typed
from genomic_ulmfit.report.browser import BLUE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_evaluations", "draw_history"]


def draw_evaluations(evaluations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the MCC of each evaluation with its 95 % interval, and that of its baselines below it.

    Parameters
    ----------
    evaluations : mapping of str to mapping
        As `Evaluation.to_dict` gives them, by name.

    Returns
    -------
    matplotlib Figure
        5 inches wide; models are filled, baselines hollow.
    """
    from matplotlib.figure import Figure

    rows: list[tuple[str, float | None, Any]] = []
    for name, found in evaluations.items():
        rows.append((name, found["mcc"], found["intervals"]["mcc"]))
        rows += [(NAMES.get(rival, rival), values["mcc"], None) for rival, values in found["baselines"].items()]
    figure = Figure(figsize=(5, 0.8 + 0.26 * len(rows)), layout="constrained", dpi=200)
    axes = figure.subplots()
    for y, (_, mcc, interval) in enumerate(rows):
        axes.axhline(y, color="0.92", linewidth=0.8, zorder=0)
        if interval is not None and None not in interval:
            axes.plot(list(interval), [y, y], color=BLUE, linewidth=3, alpha=0.5, solid_capstyle="round")
        if mcc is not None:
            color, inside = ("0.4", "white") if interval is None else (BLUE, BLUE)
            axes.plot([mcc], [y], "o", color=color, markerfacecolor=inside, markersize=6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(yticks=range(len(rows)), yticklabels=[row[0] for row in rows], xlabel="MCC", ylim=(len(rows) - 0.4, -0.6))
    for label, (_, _, interval) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(color="0.35" if interval is None else "black", fontweight="normal" if interval is None else "bold")
    axes.set_xlim(min(0.0, *(row[1] or 0.0 for row in rows), *(low or 0.0 for row in rows for low in row[2] or ())), 1)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return as_typed(figure)


def draw_history(stage: Mapping[str, Any]) -> Figure:
    """Draw what each epoch of a classifier's training brought.

    Parameters
    ----------
    stage : mapping
        Of a card, with ``history`` and ``best_epoch``.

    Returns
    -------
    matplotlib Figure
        5 inches wide: losses above, MCC and accuracy on the validation part below, where there are any.
    """
    from matplotlib.figure import Figure

    history, best = stage["history"], stage["best_epoch"]
    has_scores = any("valid_mcc" in row for row in history)
    figure = Figure(figsize=(5, 4 if has_scores else 2.4), layout="constrained", dpi=200)
    panels = figure.subplots(1 + has_scores, 1, sharex=True, squeeze=False)[:, 0]
    _lines(panels[0], history, {"train_loss": ("training", BLUE, "o-"), "valid_loss": ("validation", RED, "D--")})
    panels[0].set(ylabel="loss (nats)", ylim=(0, 1.05 * panels[0].get_ylim()[1]))
    if has_scores:
        _lines(panels[1], history, {"valid_mcc": ("MCC", RED, "D--"), "valid_accuracy": ("accuracy", "0.4", "s:")})
        panels[1].set(ylabel="validation")
    for axes in panels:
        axes.axvline(best, color="0.7", linewidth=0.8, zorder=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    panels[-1].set_xlabel(f"epoch (the weights are those of epoch {best})")
    return as_typed(figure)


def _lines(axes: Axes, history: Sequence[Mapping[str, float]], lines: Mapping[str, tuple[str, str, str]]) -> None:
    epochs = [row["epoch"] for row in history]
    for key, (label, color, shape) in lines.items():
        values = [row.get(key, float("nan")) for row in history]
        if any(key in row for row in history):
            axes.plot(epochs, values, shape, color=color, markersize=4, linewidth=1.2, label=label)
