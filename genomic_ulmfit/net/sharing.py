"""Windows that overlap: a long row of k-mer ids and window starts in, the logits of every window out.

A window is read from the zero state. The state of an LSTM forgets: after some k-mers it no longer matters where the
reading began, and from there on the window's states are those of one common pass over the whole row. So each window
reads its own first k-mers until its state, in all layers, meets the common pass's, and takes the rest from there.
Windows whose state never meets it are read to their end. Any history of the common pass will do, since each window is
compared before it joins: gaps and ends need no care. `docs/engine.md` has a picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.common_pass import CELL, CommonPass
from genomic_ulmfit.net.engine import Engine, PlainEngine, Pool, softmax
from genomic_ulmfit.net.recurrence import State
from genomic_ulmfit.net.workers import in_order, n_workers

__all__ = ["Slider"]

_SAMPLE = 16  # windows whose memory is measured, and
_CHECKED = 64  # windows whose answers are compared, before sharing is believed in
_FEWEST = 512  # windows that are worth a sample
_WARM_UPS = 1.25  # k-mers of a common pass with its warm-ups, by its length, about
_GAIN = 1.1  # reading fewer k-mers by this factor is worth the work of sharing
_WINDOWS, _SPAN = 4096, 2**16  # windows of a block, k-mers between its first and last: what is held in memory
_CLOSED = {False: 1e-6, True: 5e-3}  # difference of states; rounding to bf16 keeps them apart by more
_DRIFT = {False: 5e-6, True: 1e-2}  # difference of probability by which sharing is given up

log = logging.getLogger(__name__)


class Slider:
    """Reads windows of one length, sharing what they have in common where that pays.

    Parameters
    ----------
    engine : Engine or PlainEngine
        What reads; a `PlainEngine` shares nothing.
    n : int
        k-mers of a window.
    batch_size : int
        Rows a batch.
    exact : bool
        True: every window is read to its end.

    Attributes
    ----------
    windows, joined, tokens : int
        Windows read so far, those of them that joined the common pass, and k-mers read in all.
    """

    def __init__(self, engine: Engine | PlainEngine, n: int, *, batch_size: int = 256, exact: bool = False) -> None:
        self.engine, self.n, self.batch_size = engine, n, batch_size
        self.windows = self.joined = self.tokens = 0
        self._sharer = _Sharer(engine, n, batch_size) if isinstance(engine, Engine) and not exact else None

    def logits(
        self, ids: Ids, starts: NDArray[np.int64], *, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Read windows.

        Parameters
        ----------
        ids : unsigned integer array, shape (n_ids,)
            The row.
        starts : int64 array, shape (n_windows,)
            Index in `ids` of each window's first k-mer, in any order.
        advance : callable, optional
            Told the number of windows done from time to time.

        Returns
        -------
        float32 array, shape (n_windows, n_classes)
            Logits in the order of `starts`; in float32 the same with and without sharing, to 1e-5 in probability.
        """
        self.windows += len(starts)
        order = np.argsort(starts, kind="stable")
        if self._sharer is not None and self._sharer.pays(ids, starts[order]):
            found = []
            for block in self._sharer.read(ids, starts[order]):
                found.append(block.logits)
                self.joined += block.joined
                self.tokens += block.tokens
                if advance is not None:
                    advance(len(block.logits))
            return np.concatenate(found)[np.argsort(order)]
        self.tokens += len(starts) * self.n
        rows = sliding_window_view(ids, self.n)[starts]
        return self.engine.logits(rows, batch_size=self.batch_size, advance=advance)


class _Block(NamedTuple):
    """Logits (n_windows, n_classes), how many windows joined the common pass, and how many k-mers were read."""

    logits: NDArray[np.float32]
    joined: int
    tokens: int


class _Sharer:
    """Reads windows with a common pass."""

    def __init__(self, engine: Engine, n: int, batch_size: int) -> None:
        self.engine, self.n, self.batch_size = engine, n, batch_size
        self.closed = _CLOSED[engine.bf16]
        self.closing = np.empty(0, dtype=np.int64)  # of the sampled windows, once they are measured

    def pays(self, ids: Ids, starts: NDArray[np.int64]) -> bool:
        """Tell whether sharing reads far fewer k-mers than whole windows at sorted `starts` of `ids`.

        How long the model remembers is measured on the first windows that are many.
        """
        if not len(self.closing):
            if len(starts) < _FEWEST:
                return False
            picked = np.linspace(0, len(starts) - 1, _SAMPLE).astype(np.int64)
            self.closing = _closing(self.engine, sliding_window_view(ids, self.n)[starts[picked]], self.closed)
            if self._pays(starts) and not self._agrees(ids, starts[:_CHECKED]):
                self.closing[:] = self.n
            log.info(
                "sharing: states forget where they began after %d of %d k-mers in the median, %d at most: %s",
                *(np.median(self.closing), self.n, self.closing.max()),
                "windows share their ends" if self._pays(starts) else "each window is read to its end",
            )
        return self._pays(starts)

    def _pays(self, starts: NDArray[np.int64]) -> bool:
        own = np.minimum(self.closing + CELL / 2, self.n).mean()
        common = (starts[-1] - starts[0] + self.n) / len(starts)
        return bool(_GAIN * (own + _WARM_UPS * common) < self.n)

    def _agrees(self, ids: Ids, starts: NDArray[np.int64]) -> bool:
        """Tell whether a few windows have the same probabilities with and without sharing."""
        whole = softmax(self.engine.logits(sliding_window_view(ids, self.n)[starts]))
        drift = float(np.abs(softmax(self._read(ids, starts).logits) - whole).max())
        log.info(
            "sharing: probabilities of %d windows differ by %.1e at most from those read whole", len(starts), drift
        )
        return drift <= _DRIFT[self.engine.bf16]

    def read(self, ids: Ids, starts: NDArray[np.int64]) -> Iterator[_Block]:
        """Read windows at sorted `starts`, block by block."""
        blocks = _blocks(starts, n_workers(self.engine.device))
        return in_order(lambda block: self._read(ids, block), blocks, self.engine.device)

    @torch.inference_mode()
    def _read(self, ids: Ids, starts: NDArray[np.int64]) -> _Block:
        """Read the windows of a block, all of them one cell of the grid further at a time, until they join or end."""
        ids, starts = ids[starts[0] : starts[-1] + self.n], starts - starts[0]
        common = CommonPass(
            self.engine,
            ids,
            begin=max(CELL, int(self.closing.min()) // CELL * CELL),
            warm_up=max(CELL, -(-int(np.quantile(self.closing.astype(float), 0.95)) // CELL) * CELL),
            closed=self.closed,
            batch_size=self.batch_size,
        )
        text = torch.from_numpy(ids.astype(np.int64)).to(self.engine.device)
        readers = _Readers.of(self.engine, torch.from_numpy(starts).to(text.device), self.n)
        features = torch.empty(len(starts), self.engine.n_features, device=text.device)
        line = common.begin + -(-readers.position // CELL) * CELL
        tokens, joined = common.tokens, 0
        while len(readers.row):
            to = torch.minimum(line, readers.end)
            tokens += int((to - readers.position).sum())
            readers.read(self.engine, text, to, self.batch_size)
            ended = readers.position == readers.end
            done, readers, line = readers[ended], readers[~ended], line[~ended] + CELL
            features[done.row] = done.pool.features(done.state, done.end - done.start)
            met = readers.state.distance(common.state_at(readers.position)) <= self.closed
            met &= readers.end <= common.reach(readers.position)
            done, readers, line = readers[met], readers[~met], line[~met]
            features[done.row] = common.finish(done.pool, done.position, done.end, done.end - done.start)
            joined += len(done.row)
        return _Block(self.engine.classify(features), joined, tokens)


@dataclass
class _Readers:
    """Windows that are still being read.

    Attributes
    ----------
    row, start, position, end : int64 Tensor (n,)
        Which window it is, and in the row of ids where it begins, how far it has come, and where it ends.
    state : State
    pool : Pool
    """

    row: Tensor
    start: Tensor
    position: Tensor
    end: Tensor
    state: State
    pool: Pool

    @classmethod
    def of(cls, engine: Engine, start: Tensor, length: int) -> _Readers:
        n = len(start)
        row = torch.arange(n, device=start.device)
        return cls(row, start, start, start + length, engine.recurrence.zero(n), engine.pool(n))

    def __getitem__(self, rows: Tensor) -> _Readers:
        row, start, position, end = (x[rows] for x in (self.row, self.start, self.position, self.end))
        return _Readers(row, start, position, end, self.state[rows], self.pool[rows])

    def read(self, engine: Engine, text: Tensor, to: Tensor, batch_size: int) -> None:
        """Read each window on to a position, in batches, the longest way first."""
        lengths = to - self.position
        for batch in lengths.argsort(descending=True).split(batch_size):
            steps = torch.arange(int(lengths[batch[0]]), device=engine.device)[:, None]
            ids = text[(self.position[batch] + steps).clamp(max=len(text) - 1)]
            state, pool = self.state[batch], self.pool[batch]
            for n in engine.recurrence.walk(ids, state, (lengths[batch] > steps).sum(dim=1).tolist()):
                pool.add(state, n)
            self.state[batch], self.pool[batch] = state, pool
        self.position = to


@torch.inference_mode()
def _closing(engine: Engine, rows: Ids, closed: float) -> NDArray[np.int64]:
    """Return after how many k-mers of each row (n_rows, n_kmers) its state no longer depends on where it began.

    Each row is read from the zero state and, beside that, from the state after another row. A row whose states stay
    apart has its length.
    """
    ids = torch.from_numpy(rows.T.astype(np.int64)).to(engine.device)
    other, fresh = (engine.recurrence.zero(len(rows)) for _ in range(2))
    for _ in engine.recurrence.walk(ids, other):
        pass
    used = other[torch.arange(len(rows)).roll(1)]
    closing = torch.zeros(len(rows), dtype=torch.int64, device=engine.device)
    walks = zip(engine.recurrence.walk(ids, fresh), engine.recurrence.walk(ids, used), strict=True)
    for t, _ in enumerate(walks, start=1):
        closing[fresh.distance(used) > closed] = t
    return closing.cpu().numpy()


def _blocks(starts: NDArray[np.int64], workers: int) -> list[NDArray[np.int64]]:
    """Cut sorted starts into runs of few enough windows within few enough k-mers, an even number for each worker."""
    rounds = math.ceil(len(starts) / (_WINDOWS * workers))
    most = math.ceil(len(starts) / (rounds * workers))
    blocks, first = [], 0
    while first < len(starts):
        last = min(first + most, int(np.searchsorted(starts, starts[first] + _SPAN)))
        blocks.append(starts[first:last])
        first = last
    return blocks
