"""Intervals in BED order, 0-based half-open; typed regions (`chr:start-end`, 1-based inclusive) are converted here."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Interval"]


class Interval(NamedTuple):
    """A stretch of a chromosome with the first six columns of BED.

    Parameters
    ----------
    chrom : str
        Chromosome name.
    start, end : int
        0-based half-open, in bp.
    name : str
        Free text without blanks, "." if there is none.
    score : float
        Any number.
    strand : str
        "+", "-", or "." if there is none.
    """

    chrom: str
    start: int
    end: int
    name: str = "."
    score: float = 0.0
    strand: str = "."
