"""What a record and its perturbed copies share: the record's states and pools kept, copies that run between them.

`genomic_ulmfit.net.perturbed` says what for. A place is before each fourth k-mer of a record, and its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.net.batches import Ids, pad
from genomic_ulmfit.net.echo import Echo
from genomic_ulmfit.net.engine import Engine, Pool
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.recurrence import State

__all__ = ["EVERY", "Copies", "Edits", "Kept", "follow"]

EVERY = 4  # k-mers from one place to the next: fewer cost memory, more make each copy run longer
_AS_IT_WAS = -1  # in place of an id


@dataclass(frozen=True)
class Edits:
    """Copies of one record, each with other ids in one short stretch.

    Attributes
    ----------
    starts : int64 array, shape (n_copies,)
        Index of the first k-mer of each stretch, in the order of reading.
    ids : unsigned integer array, shape (n_copies, width)
        The ids there; those outside the stretch are the record's.
    """

    starts: NDArray[np.int64]
    ids: Ids

    @classmethod
    def of(
        cls, vocab: KmerVocab, sequence: NDArray[np.uint8], offsets: NDArray[np.int64], letters: NDArray[np.uint8]
    ) -> Edits:
        """Encode what replacing bases does to the k-mers.

        Parameters
        ----------
        vocab : KmerVocab
            The k-mers.
        sequence : uint8 array, shape (n_bases,)
            Letters of the record, at least k.
        offsets : int64 array, shape (n_copies,)
            Index of the first replaced base of each copy.
        letters : uint8 array, shape (n_copies, n_replaced)
            What stands there instead.

        Examples
        --------
        >>> sequence, change = np.frombuffer(b"AAAAAA", np.uint8), np.frombuffer(b"C", np.uint8)
        >>> edits = Edits.of(KmerVocab(k=2), sequence, np.array([0, 3]), np.array([change, change]))
        >>> edits.starts, [KmerVocab(k=2).decode(ids) for ids in edits.ids]
        (array([0, 2]), ['CAA', 'ACA'])
        """
        n_kmers, width = vocab.n_kmers(len(sequence)), letters.shape[1]
        reach = min(n_kmers, (width + vocab.k - 2) // vocab.stride + 1)  # the most k-mers that so many bases touch
        starts = np.clip(-((vocab.k - 1 - offsets) // vocab.stride), 0, n_kmers - reach)
        if not len(offsets):
            return cls(starts, np.empty((0, reach), dtype=vocab.dtype))
        places = starts[:, None] * vocab.stride + np.arange(vocab.span(reach - 1)[1])
        inside = places - offsets[:, None]
        changed = np.take_along_axis(letters, inside.clip(0, width - 1), axis=1)
        stretches = np.where((inside >= 0) & (inside < width), changed, sequence[places])
        every = KmerVocab(vocab.k, 1).encode(stretches.tobytes())  # of all stretches, end to end
        first = np.arange(len(offsets))[:, None] * stretches.shape[1]
        ids = every[first + np.arange(reach) * vocab.stride]
        return cls(vocab.turned_starts(starts, reach, n_kmers), vocab.turned(ids))


class Kept:
    """Records that were run in full, and what is kept of them at places: before each fourth k-mer, and at the end.

    That is their state, pools of what comes before and of what comes after, and what comes after does to a difference.
    Those of record `r` at place `p` are in row ``p * n_records + r``.
    """

    @torch.inference_mode()
    def __init__(self, engine: Engine, rows: list[Ids]) -> None:
        self.engine, self.n_records = engine, len(rows)
        ids, lengths = pad(rows)
        self.ids = F.pad(ids, (0, -ids.shape[1] % EVERY)).t().contiguous().to(engine.device)
        self.lengths = lengths.to(engine.device)
        self.ends = -(-self.lengths // EVERY)
        state, everyone = engine.recurrence.zero(len(rows)), torch.arange(len(rows), device=engine.device)
        state.gates = []
        states, pools, echoes = [state[everyone]], [], []
        for start in range(0, len(self.ids), EVERY):
            pool, echo = engine.pool(len(rows)), Echo.silence(engine.recurrence, len(rows))
            stretch = _walk(engine, self.ids[start : start + EVERY], self.lengths - start, state)
            for position, n in enumerate(stretch, start):
                pool.add(state, n, position, self.lengths)
                echo.add(state, n)
            states.append(state[everyone])
            pools.append(pool)
            echoes.append(echo)
        self.states = _stacked(states)
        nothing = engine.pool(len(rows))
        self.before = _stacked_pools([*accumulate(pools, _then, initial=nothing)])
        self.after = _stacked_pools(_from_the_end(pools, _then, nothing))
        self.echo = _stacked_echoes(_from_the_end(echoes, Echo.then, Echo.silence(engine.recurrence, len(rows))))

    def row(self, record: Tensor, place: Tensor) -> Tensor:
        """Return where what is kept of a record at a place stands."""
        return place * self.n_records + record

    def logits(self) -> NDArray[np.float32]:
        """Score the records."""
        end = self.row(torch.arange(self.n_records, device=self.engine.device), self.ends)
        return self.engine.classify(self.before[end].features(self.states[end], self.lengths))


class Copies:
    """The copies of a group of records, end to end: of which record, and what is changed where."""

    def __init__(self, kept: Kept, edits: Sequence[Sequence[Edits]]) -> None:
        self.kept = kept
        parts = [part for several in edits for part in several]
        self.counts, self.n_parts = [len(part.starts) for part in parts], [len(several) for several in edits]
        of_part = np.repeat(np.arange(len(edits)), self.n_parts)
        width = max((part.ids.shape[1] for part in parts), default=1)
        changed = np.full((sum(self.counts), width), _AS_IT_WAS, dtype=np.int32)
        for rows, part in zip(np.split(changed, np.cumsum(self.counts)), parts, strict=False):
            rows[:, : part.ids.shape[1]] = part.ids
        starts = np.concatenate([np.empty(0, np.int64), *(part.starts for part in parts)])
        self.record, self.start, self.changed = (
            torch.from_numpy(x).to(kept.engine.device) for x in (np.repeat(of_part, self.counts), starts, changed)
        )
        places = self.start[:, None] + torch.arange(width, device=self.start.device)
        there = kept.ids[places.clamp(max=len(kept.ids) - 1), self.record[:, None]]
        differs = (self.changed != there) & (self.changed != _AS_IT_WAS)
        self.differs = differs.any(dim=1)
        self.first = self.start + differs.int().argmax(dim=1)
        self.stop = self.start + width - differs.flip(1).int().argmax(dim=1)

    def ids(self, copies: Tensor, place: Tensor) -> Tensor:
        """Return the ids of some copies between a place and the next, int64 (time, rows)."""
        positions = place * EVERY + torch.arange(EVERY, device=place.device)[:, None]
        inside, width = positions - self.start[copies], self.changed.shape[1]
        new = self.changed[copies, inside.clamp(0, width - 1)]
        taken = (inside >= 0) & (inside < width) & (new != _AS_IT_WAS)
        return torch.where(taken, new, self.kept.ids[positions, self.record[copies]])

    def dealt(self, found: NDArray[Any]) -> list[list[NDArray[Any]]]:
        """Deal what was found for all copies to their records, and there to their edits."""
        parts = iter(np.split(found, np.cumsum(self.counts)))
        return [[next(parts) for _ in range(n)] for n in self.n_parts]


@torch.inference_mode()
def follow(copies: Copies, which: Tensor, batch_size: int, tolerance: float) -> list[NDArray[Any]]:
    """Run some copies; return which they were, in the order in which they ended, and their logits, n_run and shared."""
    batch = _Batch(copies, which)
    nothing = torch.zeros(0, dtype=torch.bool, device=which.device)
    found = [batch.leave(nothing, nothing)]
    while batch.fill(batch_size):
        batch.read()
        ended = batch.ended()
        closed = batch.closed(tolerance) & ~ended
        if (done := closed | ended).any():
            found.append(batch.leave(done, closed))
    return [np.concatenate(x) for x in zip(*found, strict=True)]


class _Batch:
    """Copies that run side by side. Those that are done leave, and the next take their places."""

    def __init__(self, copies: Copies, waiting: Tensor) -> None:
        self.all, self.kept, self.waiting = copies, copies.kept, waiting
        self.copies, self.place = waiting[:0], waiting[:0]
        self.state, self.pool = self.kept.states[waiting[:0]], self.kept.before[waiting[:0]]

    def fill(self, batch_size: int) -> bool:
        """Let in copies that wait, each before its first change; False where there is nothing left to run."""
        n = len(self.copies)
        fresh, self.waiting = self.waiting.tensor_split([batch_size - n])
        self.copies = torch.cat([self.copies, fresh])
        self.place = torch.cat([self.place, self.all.first[fresh] // EVERY])
        begin = self._here()[n:]
        self.state = _stacked([self.state, self.kept.states[begin]])
        self.pool = _stacked_pools([self.pool, self.kept.before[begin]])
        return len(self.copies) > 0

    def read(self) -> None:
        """Run each copy to its next place. The order of the rows may change."""
        left = self._lengths() - self.place * EVERY
        if (left < EVERY).any():
            left, order = left.sort(descending=True, stable=True)
            self._keep(order)
        position, lengths = self.place * EVERY, self._lengths()
        for n in _walk(self.kept.engine, self.all.ids(self.copies, self.place), left, self.state):
            self.pool.add(self.state, n, position, lengths)
            position = position + 1
        self.place = self.place + 1

    def closed(self, tolerance: float) -> Tensor:
        """Return which copies have their change behind them, and nothing left that would show, bool (rows,)."""
        past, here = self.place * EVERY >= self.all.stop[self.copies], self._here()
        return past & (self.kept.echo[here].difference(self.state, self.kept.states[here]) <= tolerance)

    def ended(self) -> Tensor:
        """Return which copies are at their end, bool (rows,)."""
        return self.place == self.kept.ends[self.all.record[self.copies]]

    def leave(self, done: Tensor, closed: Tensor) -> list[NDArray[Any]]:
        """Take out the copies that are done (rows,); if closed (rows,), the record's rest is theirs.

        Return which they were, their logits, how many k-mers were run for them, and which had closed.
        """
        copies, lengths, here, closed = self.copies[done], self._lengths()[done], self._here()[done], closed[done]
        n_run = torch.minimum(self.place[done] * EVERY, lengths) - self.all.first[copies] // EVERY * EVERY
        state, pool = self.state[done], _then(self.pool[done], self.kept.after[here])
        record = self.all.record[copies[closed]]
        state[closed] = self.kept.states[self.kept.row(record, self.kept.ends[record])]
        self._keep(~done)
        logits = self.kept.engine.classify(pool.features(state, lengths))
        return [copies.cpu().numpy(), logits, n_run.cpu().numpy(), closed.cpu().numpy()]

    def _keep(self, rows: Tensor) -> None:
        self.copies, self.place = self.copies[rows], self.place[rows]
        self.state, self.pool = self.state[rows], self.pool[rows]

    def _lengths(self) -> Tensor:
        return self.kept.lengths[self.all.record[self.copies]]

    def _here(self) -> Tensor:
        """Return the rows of what is kept where the copies are now."""
        return self.kept.row(self.all.record[self.copies], self.place)


def _walk(engine: Engine, ids: Tensor, left: Tensor, state: State) -> Iterator[int]:
    """Read ids (time, rows) of rows that have so many left (rows,), the most first."""
    n_rows = (left > torch.arange(len(ids), device=left.device)[:, None]).sum(dim=1).tolist()
    return engine.recurrence.walk(ids, state, n_rows)


def _then(pool: Pool, later: Pool) -> Pool:
    """Pool k-mers and those that follow."""
    sums = [a + b for a, b in zip(pool.sums, later.sums, strict=True)]
    highs = [torch.maximum(a, b) for a, b in zip(pool.highs, later.highs, strict=True)]
    return Pool(pool.layers, sums, highs)


def _from_the_end(parts: list[Any], then: Callable[[Any, Any], Any], nothing: Any) -> list[Any]:
    """Join each part with all that follow it; the last is nothing."""
    return [*accumulate(reversed(parts), lambda later, part: then(part, later), initial=nothing)][::-1]


def _stacked(states: Sequence[State]) -> State:
    return State(_joined([x.h for x in states]), _joined([x.c for x in states]))


def _stacked_pools(pools: Sequence[Pool]) -> Pool:
    return Pool(pools[0].layers, _joined([x.sums for x in pools]), _joined([x.highs for x in pools]))


def _stacked_echoes(echoes: Sequence[Echo]) -> Echo:
    """Stack what is asked of them later."""
    return Echo([], _joined([x.loudest for x in echoes]), _joined([x.largest for x in echoes]))


def _joined(layers: list[list[Tensor]]) -> list[Tensor]:
    """Put rows below rows, layer by layer."""
    return [torch.cat(x) for x in zip(*layers, strict=True)]
