"""One reading of a long row of k-mer ids, kept so that many windows can take their ends from it.

The row is cut into chunks that are read side by side, each from a warm-up before its begin. Positions lie on a grid of
cells of `CELL` k-mers. Kept are the states at the grid's lines and how long they will be heard
(`genomic_ulmfit.net.echo`), the pooled layers' outputs, their running sums, and their maxima over 1, 2, 4, ... cells.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.echo import Echo
from genomic_ulmfit.net.engine import Engine, Pool
from genomic_ulmfit.net.kmers import PAD
from genomic_ulmfit.net.pooling import segment_starts
from genomic_ulmfit.net.recurrence import State

__all__ = ["CELL", "CommonPass"]

CELL = 8
_STEP = 32


class CommonPass:
    """The states and outputs of one reading of ``ids[begin:]``.

    Parameters
    ----------
    engine : Engine
        What reads.
    ids : unsigned integer array, shape (n_ids,)
        The row.
    begin : int
        Where what is kept begins: the first line of the grid.
    ahead : int
        k-mers that are read after a line, at most: those of a window.
    warm_up : int
        k-mers read before each chunk, a multiple of `CELL`. Before the row's begin, and after its end, PAD is read.
    closed : float
        States whose outputs will never be further apart count as the same.
    batch_size : int
        Chunks, at most.

    Attributes
    ----------
    tokens : int
        k-mers read.
    """

    def __init__(
        self, engine: Engine, ids: Ids, *, begin: int, ahead: int, warm_up: int, closed: float, batch_size: int
    ) -> None:
        # many chunks read many warm-ups, few fill no batch: a step costs as much as _STEP rows and its own
        n_chunks = min(batch_size, math.ceil(math.sqrt(_STEP * (len(ids) - begin) / warm_up)))
        self.engine, self.begin = engine, begin
        self.cells = math.ceil((len(ids) - begin) / n_chunks / CELL)  # of a chunk
        chunk = self.cells * CELL
        text = _chunks(ids, begin - warm_up, warm_up + chunk, chunk, n_chunks)
        self.tokens = text.size
        echoes = self._read(torch.from_numpy(text).to(engine.device), warm_up)
        self._echo = self._from_each(echoes, math.ceil(ahead / CELL))
        self._reach = self._unbroken(closed) * chunk
        self._levels = self._pyramid()

    def difference(self, state: State, positions: Tensor) -> Tensor:
        """Return how far outputs after `state` will be from those kept, at most, if `positions` come next (rows,).

        Positions are int64, on the grid's lines.
        """
        cell = (positions - self.begin) // CELL
        kept = self._lines[cell + cell // self.cells]  # each chunk has one line more than it has cells
        return self._echo[cell].difference(state, kept)

    def reach(self, positions: Tensor) -> Tensor:
        """Return how far one may go from `positions` until two chunks don't fit together."""
        return self.begin + self._reach[(positions - self.begin) // (self.cells * CELL)]

    def finish(self, pool: Pool, positions: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
        """Pool the outputs of ``[positions, ends)`` into `pool`, and return the features of each row.

        Parameters
        ----------
        pool : Pool
            Of what the rows have read themselves; changed in place.
        positions, ends : int64 Tensor (n,)
            The rest of each row; positions on the grid's lines, ends after them.
        lengths : int64 Tensor (n,)
            k-mers of each whole row.
        """
        first, last = (positions - self.begin) // CELL, (ends - self.begin) // CELL
        for level, highs in enumerate(self._levels):
            rows = ((last - first) >> level & 1).nonzero()[:, 0]
            pool.raise_highs(rows, [x[first[rows]] for x in highs])
            first[rows] += 1 << level
        for offset in range(CELL - 1):
            rows = (offset < (ends - self.begin) % CELL).nonzero()[:, 0]
            pool.raise_highs(rows, [x[last[rows] * CELL + offset] for x in self._outputs])
        edges = (ends - lengths)[:, None] + segment_starts(lengths, self.engine.segments)
        edges = edges.clamp(min=positions[:, None]) - self.begin
        for sums, totals in zip(pool.sums, self._totals, strict=True):
            for segment, (left, right) in enumerate(pairwise(edges.unbind(dim=1))):
                sums[:, segment] += totals[right] - totals[left]
        return pool.features([x[ends - self.begin - 1] for x in self._outputs], lengths)

    def _read(self, text: Tensor, warm_up: int) -> Echo:
        """Read chunks (time, n_chunks); keep the states at lines and the outputs, one chunk after the other.

        Return the echo of each cell.
        """
        n, chunk = text.shape[1], self.cells * CELL
        state, lines = self.engine.recurrence.zero(n), self.engine.recurrence.zero(n * (self.cells + 1))
        self._outputs = [state.h[layer].new_empty(n, chunk, state.h[layer].shape[1]) for layer, _ in self.engine.pooled]
        line_of = torch.arange(n, device=text.device) * (self.cells + 1)
        state.gates, echoes = [], []
        for t, _ in enumerate(self.engine.recurrence.walk(text, state), start=1 - warm_up):
            if t >= 0 and t % CELL == 0:
                lines[line_of + t // CELL] = state
            if t > 0:
                for kept, (layer, _) in zip(self._outputs, self.engine.pooled, strict=True):
                    kept[:, t - 1] = state.h[layer]
                if t % CELL == 1:
                    echoes.append(Echo.silence(self.engine.recurrence, n))
                echoes[-1].add(state, n)
        self._lines = lines
        self._outputs = [kept.flatten(0, 1) for kept in self._outputs]
        self._totals = [F.pad(kept.cumsum(dim=0, dtype=torch.float64), (0, 0, 1, 0)) for kept in self._outputs]
        return Echo.interleaved(echoes)

    def _from_each(self, cells: Echo, ahead: int) -> Echo:
        """Return the echo of so many cells from each cell on, or of those there are."""
        power, width = cells, 1
        found, begin = Echo.silence(self.engine.recurrence, len(cells)), 0
        while ahead:
            if ahead & 1:
                found, begin = found.then(self._shifted(power, begin)), begin + width
            power, width, ahead = power.then(self._shifted(power, width)), 2 * width, ahead >> 1
        return found

    def _shifted(self, cells: Echo, n: int) -> Echo:
        """Return the cells from the n-th on, and silence for those that are not there."""
        n = min(n, len(cells))
        return Echo.joined([cells[n:], Echo.silence(self.engine.recurrence, n)])

    def _unbroken(self, closed: float) -> Tensor:
        """Return, for each chunk, the first chunk after it that doesn't fit its forerunner (n_chunks,)."""
        n = len(self._lines) // (self.cells + 1)
        chunks = torch.arange(1, n, device=self.engine.device)
        before = self._lines[chunks * (self.cells + 1) - 1]
        apart = self.difference(before, self.begin + chunks * self.cells * CELL)
        fits = [*(apart <= closed).tolist(), False]
        reach = [n] * n
        for i in reversed(range(n)):
            reach[i] = reach[i + 1] if fits[i] else i + 1
        return torch.tensor(reach, device=self.engine.device)

    def _pyramid(self) -> list[list[Tensor]]:
        """Return maxima of the outputs from each cell on over 1, 2, 4, ... cells."""
        highs = [x.unflatten(0, (-1, CELL)).amax(dim=1) for x in self._outputs]
        levels = [highs]
        while (width := 1 << (len(levels) - 1)) * 2 <= len(highs[0]) + width - 1:
            highs = [torch.maximum(x[:-width], x[width:]) for x in highs]
            levels.append(highs)
        return levels


def _chunks(ids: Ids, begin: int, length: int, step: int, n: int) -> NDArray[np.int64]:
    """Return `n` pieces of `ids`, (length, n), each `step` after the one before, PAD outside the row."""
    positions = begin + np.arange(length)[:, None] + step * np.arange(n)
    inside = (positions >= 0) & (positions < len(ids))
    return np.where(inside, ids[np.clip(positions, 0, len(ids) - 1)], PAD).astype(np.int64)
