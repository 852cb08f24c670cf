"""Scores along a chromosome: `ScoreBlock`, and blocks in, blocks on another scale out, 0-based half-open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genomic_ulmfit.errors import SettingError

__all__ = ["SCALES", "Scale", "ScoreBlock", "negated", "rescale"]

Scale = Literal["probability", "log-odds", "-log10"]
SCALES = ("probability", "log-odds", "-log10")

_CLOSEST = 2.0**-24  # float32 has no number between 1 - 2**-24 and 1


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of neighbouring bins of one chromosome.

    Parameters
    ----------
    chrom : str
        Chromosome name.
    start : int
        Start of the first bin, 0-based, in bp.
    step : int
        Length of a bin in bp. The last one may be shorter.
    scores : float32 array, shape (n_bins,)
        Bin ``i`` covers ``[start + i * step, min(start + (i + 1) * step, end))``. NaN: no answer there.
    end : int
        End of the last bin.
    strand : str
        "+", "-", or "." where the scores speak of both or of neither.

    Raises
    ------
    ValueError
        If the number of scores is not that of the bins.

    Examples
    --------
    >>> block = ScoreBlock("chr1", 100, 10, np.array([0.1, 0.9, 0.5], dtype=np.float32), 125)
    >>> block.starts.tolist(), block.ends.tolist()
    ([100, 110, 120], [110, 120, 125])
    """

    chrom: str
    start: int
    step: int
    scores: np.ndarray
    end: int
    strand: str = "."

    def __post_init__(self) -> None:
        """Check that the scores fit the bins."""
        scores = np.asarray(self.scores, dtype=np.float32)
        object.__setattr__(self, "scores", scores)
        if self.step < 1 or not 0 <= self.start < self.end:
            raise ValueError(f"wanted step >= 1 and 0 <= start < end, got {self.step}, {self.start} and {self.end}")
        n_bins = -((self.start - self.end) // self.step)
        if scores.shape != (n_bins,):
            where = f"{self.chrom}:{self.start}-{self.end}"
            raise ValueError(f"{where} has {n_bins} bins of {self.step} bp, got scores of shape {scores.shape}")

    @property
    def starts(self) -> np.ndarray:
        """Start of each bin, 0-based; int64 array, shape (n_bins,)."""
        return self.start + self.step * np.arange(len(self.scores), dtype=np.int64)

    @property
    def ends(self) -> np.ndarray:
        """End of each bin; int64 array, shape (n_bins,)."""
        return np.minimum(self.starts + self.step, self.end)


def rescale(blocks: Iterable[ScoreBlock], scale: Scale) -> Iterator[ScoreBlock]:
    """Return blocks of probabilities on another scale.

    Parameters
    ----------
    blocks : iterable of ScoreBlock
        Probabilities, as `scan` gives them.
    scale : {"probability", "log-odds", "-log10"}
        As they are; ``ln(p / (1 - p))`` in nats, 0 where p is a half; or ``-log10(1 - p)``, 2 where p is 0.99.

    Yields
    ------
    ScoreBlock
        NaN stays NaN.

    Notes
    -----
    The two other scales tell apart what is squeezed together near 0 and 1. float32 has no number between 1 - 6e-8
    (2**-24) and 1: probabilities are kept that far from 1, and from 0, so that nothing is infinite. Log-odds lie within
    16.64 on either side, -log10 between 0 and 7.23. Near the upper end of both 1 - p is a small multiple of 6e-8, and
    steps show.

    Raises
    ------
    SettingError
        If there is no such scale, or a score is no probability.

    Examples
    --------
    >>> block = ScoreBlock("chr1", 0, 10, np.array([0.5, 0.9, 1.0], dtype=np.float32), 30)
    >>> [next(rescale([block], scale)).scores.round(3).tolist() for scale in ("log-odds", "-log10")]
    [[0.0, 2.197..., 16.63...], [0.30..., 1.0, 7.22...]]
    """
    if scale not in SCALES:
        raise SettingError(f"scale is {scale!r}, wanted one of {', '.join(SCALES)}")
    return (_rescaled(block, scale) for block in blocks)


def _rescaled(block: ScoreBlock, scale: Scale) -> ScoreBlock:
    p = block.scores.astype(np.float64)
    if ((p < 0) | (p > 1)).any():
        where = f"{block.chrom}:{block.start}-{block.end}"
        raise SettingError(f"{where} has scores outside 0..1; only probabilities can be rescaled")
    if scale == "probability":
        return block
    rest = np.maximum(1 - p, _CLOSEST)
    scores = -np.log10(rest) if scale == "-log10" else np.log(np.maximum(p, _CLOSEST) / rest)
    return replace(block, scores=scores.astype(np.float32))


def negated(blocks: Iterable[ScoreBlock]) -> Iterator[ScoreBlock]:
    """Yield the blocks with their scores below zero: how genome browsers are shown the minus strand."""
    for block in blocks:
        yield replace(block, scores=-block.scores)
