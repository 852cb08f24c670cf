"""What all pictures share: widths of paper columns, sizes of letters, colours that colour-blind readers tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "LINES", "ORANGE", "PURPLE", "RED", "as_typed", "paper_figure", "paper_letters"]

# Okabe & Ito's colours
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
LINES = ((BLUE, "-"), (RED, "--"), (GREEN, "-."), (ORANGE, "-"), (PURPLE, "--"), ("black", ":"))

_WIDTHS = {1: 85 / 25.4, 2: 180 / 25.4}  # inches, of one column of a paper and of two


def paper_figure(*, columns: int, height: float) -> Figure:
    """Make an empty figure as wide as one or two columns of a paper (85 or 180 mm), its height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTHS[columns], height), layout="constrained", dpi=300)


def as_typed(figure: Figure) -> Figure:
    """Show names as they are: those of users may hold dollar signs, which would be read as formulas."""
    from matplotlib.text import Text

    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    powers = {label for axis in axes if axis.get_scale() == "log" for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in powers:  # of ten, which are formulas
            text.set_parse_math(False)
    return figure


def paper_letters(figure: Figure) -> Figure:
    """Set the letters of a finished figure: titles in 8 points, labels in 7, ticks and all other text in 6."""
    from matplotlib.text import Text

    for text in as_typed(figure).findobj(Text):
        if isinstance(text, Text):
            text.set_fontsize(6)
    for axes in figure.axes:
        axes.tick_params(labelsize=6, width=0.6)  # ticks are made anew when a figure is drawn
        for spine in axes.spines.values():
            spine.set_linewidth(0.6)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(7)
        titles = {axes.get_title("left"), axes.get_title("center"), axes.get_title("right")} - {""}
        for text in axes.findobj(Text):
            if isinstance(text, Text) and text.get_text() in titles:
                text.set_fontsize(8)
    return figure
