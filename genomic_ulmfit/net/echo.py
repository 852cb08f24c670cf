"""How much of a difference between two states will ever show: a run of a `Recurrence` in, a bound for what follows out.

Cells of a trained net count. They hold tens while their output, o * tanh(c), says no more than "many", and two states
with equal outputs and other counts give equal outputs for a long time, though the states are never the same again.
They part only if forget gates bring a count back to where tanh bends. The gates of one of the two runs tell, since for
as long as outputs agree the gates do too: a cell's difference d is d * F after some steps, F the product of its forget
gates. Between c - d * F and c + d * F tanh is no steeper than sech²(c / 2) where d * F <= |c| / 2, and never steeper
than 1. So outputs will differ by no more than

    d * max over the steps that follow of o * F * sech²(c / 2)      if d <= min of |c| / (2 * F)
    d                                                               else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genomic_ulmfit.net.recurrence import Recurrence, State

__all__ = ["Echo"]

_TINY = 1e-30  # in place of a product of forget gates that has come to nothing


@dataclass
class Echo:
    """What some time steps do to a difference of cells that was there before them.

    Attributes
    ----------
    faded : list of float32 Tensor (rows, width)
        Product of the forget gates, for each layer.
    loudest : list of float32 Tensor (rows, width)
        The most that a difference of 1 shows in the outputs, if it is no larger than `largest`.
    largest : list of float32 Tensor (rows, width)
        The largest difference for which that holds.
    """

    faded: list[Tensor]
    loudest: list[Tensor]
    largest: list[Tensor]

    @classmethod
    def silence(cls, recurrence: Recurrence, n: int) -> Echo:
        """Return the echo of no time step."""
        faded, loudest, largest = (
            [torch.full((n, width), value, device=recurrence.device) for width in recurrence.widths]
            for value in (1.0, 0.0, torch.inf)
        )
        return cls(faded, loudest, largest)

    @classmethod
    def joined(cls, echoes: Sequence[Echo]) -> Echo:
        """Put the rows of several below one another."""
        parts = [(echo.faded, echo.loudest, echo.largest) for echo in echoes]
        return cls(*([torch.cat(x) for x in zip(*part, strict=True)] for part in zip(*parts, strict=True)))

    @classmethod
    def interleaved(cls, echoes: Sequence[Echo]) -> Echo:
        """Put the first rows of several below one another, then their second rows, and so on."""
        n = len(echoes[0])
        order = torch.arange(n * len(echoes)).view(len(echoes), n).t().flatten()
        return cls.joined(echoes)[order]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.loudest[0])

    def __getitem__(self, rows: slice | Tensor) -> Echo:
        """Return some of the rows."""
        return Echo(*([x[rows] for x in part] for part in (self.faded, self.loudest, self.largest)))

    def add(self, state: State, n: int) -> None:
        """Take in the time step that the first `n` rows of a state, which keeps its gates, have just made."""
        for faded, loudest, largest, gates, c in zip(
            self.faded, self.loudest, self.largest, state.gates or (), state.c, strict=True
        ):
            _, forget, _, out = gates.chunk(4, dim=1)
            faded[:n] = (faded[:n] * forget).clamp(min=_TINY)
            bend = 1 - (c[:n] / 2).tanh() ** 2
            loudest[:n] = torch.maximum(loudest[:n], out * faded[:n] * bend)
            largest[:n] = torch.minimum(largest[:n], c[:n].abs() / (2 * faded[:n]))

    def then(self, later: Echo) -> Echo:
        """Return the echo of these time steps and those that follow them."""
        pairs = [*zip(self.faded, self.loudest, self.largest, later.faded, later.loudest, later.largest, strict=True)]
        return Echo(
            [(f * g).clamp(min=_TINY) for f, _, _, g, _, _ in pairs],
            [torch.maximum(x, f * y) for f, x, _, _, y, _ in pairs],
            [torch.minimum(x, y / f) for f, _, x, _, _, y in pairs],
        )

    def difference(self, one: State, other: State) -> Tensor:
        """Return how far the outputs of two states are apart at most, now and in the steps to come, float32 (rows,)."""
        shown = [(a - b).abs().amax(dim=1) for a, b in zip(one.h, other.h, strict=True)]
        for a, b, loudest, largest in zip(one.c, other.c, self.loudest, self.largest, strict=True):
            apart = (a - b).abs()
            shown.append((apart * torch.where(apart <= largest, loudest, 1)).amax(dim=1))
        return torch.stack(shown).amax(dim=0)
