"""k-mer ids in, batches out: language-model streams with their resets, and right-padded records with their lengths."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from itertools import count, islice, pairwise, zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genomic_ulmfit.net.kmers import PAD, UNK

__all__ = ["IGNORE", "LMBatch", "LMStream", "by_length", "known_segments", "pad"]

IGNORE = -100
"""Target at padding, left out of the loss (the default of torch's cross entropy)."""

Ids = NDArray[np.unsignedinteger]

_CHUNK = 1 << 22  # k-mers looked at at a time


def known_segments(ids: Ids) -> list[Ids]:
    """Cut ids at unknown k-mers, so that no stream crosses a gap.

    Parameters
    ----------
    ids : unsigned integer array, shape (n_kmers,)
        Ids of one record.

    Returns
    -------
    list of unsigned integer array
        Views of the runs without UNK that have at least two k-mers: one to read and one to predict.
    """
    edges: list[int] = []
    gap = True
    for at in range(0, len(ids), _CHUNK):  # a chromosome is not to be held in memory
        unknown = ids[at : at + _CHUNK] == UNK
        edges += (np.flatnonzero(np.diff(unknown, prepend=gap)) + at).tolist()
        gap = unknown[-1]
    edges += [] if gap else [len(ids)]
    return [ids[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start >= 2]


def pad(rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Pad rows of ids on the right.

    Parameters
    ----------
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.

    Returns
    -------
    ids : int64 Tensor (n_rows, longest)
    lengths : int64 Tensor (n_rows,)
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.full((len(rows), lengths.max()), PAD, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def by_length(
    lengths: Sequence[int],
    batch_size: int,
    *,
    max_tokens: int = 2**20,
    rng: np.random.Generator | None = None,
) -> list[list[int]]:
    """Deal records of similar length into batches, so that little is padded.

    Parameters
    ----------
    lengths : sequence of int
        Number of k-mers of each record.
    batch_size : int
        Records a batch, at most.
    max_tokens : int
        k-mers a batch, padding included, at most; a longer record is alone.
    rng : numpy Generator, optional
        If given, equal lengths are in random order and so are the batches.

    Returns
    -------
    list of list of int
        Indices of the records of each batch.
    """
    keys = np.asarray(lengths)
    ties = np.arange(len(keys)) if rng is None else rng.permutation(len(keys))
    batches: list[list[int]] = [[]]
    for i in np.lexsort((ties, keys)).tolist():
        if batches[-1] and (len(batches[-1]) == batch_size or (len(batches[-1]) + 1) * keys[i] > max_tokens):
            batches.append([])
        batches[-1].append(i)
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


LMBatch = tuple[Tensor, Tensor, Tensor]
"""One step of language-model training.

ids : int64 (batch, time), the k-mers to read, padded on the right. reset : bool (batch,), True where the row begins a
record or a stretch after a gap, and starts from the zero state. targets : int64 (batch, time), the k-mers that follow;
IGNORE at padding.
"""


class LMStream:
    """Batches of truncated back-propagation through time over many segments, none of which is glued to another.

    Each row of a batch walks along one segment after the other. Segments longer than a row's share are cut into
    pieces; each piece starts from the zero state. Each pass deals the pieces anew.

    Parameters
    ----------
    segments : sequence of unsigned integer array
        Runs of known k-mer ids.
    batch_size : int
        Rows a batch, at most; fewer where there are fewer segments and little to cut.
    bptt : int
        Most k-mers a row reads in one step. Pieces that are a little longer than a multiple of it are read in equal
        windows instead, so that short records aren't mostly padding.
    steps : int, optional
        Steps of one iteration; a whole pass if not given. More than a pass goes on with the next pass.
    seed : int
        Of the dealing. Each pass is dealt by the seed and its own number, so that any place can be gone to.
    shuffle : bool
        False: deal in the given order, without the random offset of the first cut.

    Raises
    ------
    ValueError
        If there are no segments.
    """

    def __init__(
        self,
        segments: Sequence[Ids],
        *,
        batch_size: int,
        bptt: int,
        steps: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        if not segments:
            raise ValueError("no stretch of two or more known k-mers to learn from")
        self.segments, self.seed, self.shuffle = list(segments), seed, shuffle
        self.n_tokens = sum(len(segment) - 1 for segment in self.segments)
        self.batch_size = max(1, min(batch_size, self.n_tokens // 2))
        self.share = -(-self.n_tokens // self.batch_size)
        longest = min(self.share, max(len(segment) - 1 for segment in self.segments))
        self.bptt = -(-longest // -(-longest // bptt))
        self.pass_steps = self._n_steps(self._deal(0))
        self.steps = steps if steps is not None else self.pass_steps
        self._endless = self.batches()

    def __len__(self) -> int:
        """Return the number of steps of one iteration."""
        return self.steps

    def __iter__(self) -> Iterator[LMBatch]:
        """Yield the next `steps` batches, going on where the last iteration ended."""
        for _ in range(self.steps):
            yield next(self._endless)

    def batches(self, start: int = 0) -> Iterator[LMBatch]:
        """Yield batches pass after pass without end, but not the first `start` of them."""
        for number in count():
            rows = self._deal(number)
            n_steps = self._n_steps(rows)
            if start < n_steps:
                yield from map(self._batch, islice(self._windows(rows), start, None))
            start = max(0, start - n_steps)

    def one_pass(self, number: int = 0) -> Iterator[LMBatch]:
        """Yield the batches of one whole pass: each k-mer but the first of each segment is a target once."""
        yield from map(self._batch, self._windows(self._deal(number)))

    def digest(self) -> str:
        """Return the sha256 of the segments: it tells one corpus from another."""
        found = hashlib.sha256()
        for segment in self.segments:
            found.update(f" {len(segment)} {segment.dtype.itemsize} ".encode())
            found.update(np.ascontiguousarray(segment).data)
        return found.hexdigest()

    def _windows(self, rows: list[list[Ids]]) -> Iterator[tuple[tuple[Ids, bool], ...]]:
        """Yield each step's windows; rows that have ended give an empty one."""
        empty = [(row[0][:1], True) for row in rows]
        for windows in zip_longest(*(self._walk(row) for row in rows)):
            yield tuple(window or nothing for window, nothing in zip(windows, empty, strict=True))

    def _n_steps(self, rows: list[list[Ids]]) -> int:
        return max(sum(-(-(len(piece) - 1) // self.bptt) for piece in row) for row in rows)

    def _deal(self, number: int) -> list[list[Ids]]:
        """Cut segments into pieces for a pass and give each to the row with the least so far."""
        rng = np.random.default_rng((self.seed, number))
        pieces = [piece for segment in self.segments for piece in self._cut(segment, rng)]
        if self.shuffle:
            pieces = [pieces[i] for i in rng.permutation(len(pieces))]
        rows: list[list[Ids]] = [[] for _ in range(self.batch_size)]
        heap = [(0, i) for i in range(self.batch_size)]
        for piece in sorted(pieces, key=len, reverse=True):
            filled, i = heapq.heappop(heap)
            rows[i].append(piece)
            heapq.heappush(heap, (filled + len(piece), i))
        return [row for row in rows if row]

    def _cut(self, segment: Ids, rng: np.random.Generator) -> Iterator[Ids]:
        """Cut a segment longer than a row's share; neighbours share one k-mer: a target here, the start there."""
        n = len(segment) - 1
        first = int(rng.integers(1, self.share + 1)) if self.shuffle and n > self.share else self.share
        cuts = [0, *range(first, n, self.share), n]
        for start, end in pairwise(cuts):
            yield segment[start : end + 1]

    def _walk(self, row: list[Ids]) -> Iterator[tuple[Ids, bool]]:
        """Split a row's pieces into windows; True marks one that starts a piece.

        Only a piece's last window may be narrower than the batch: a state is never carried across padding.
        """
        for piece in row:
            for start in range(0, len(piece) - 1, self.bptt):
                yield piece[start : start + self.bptt + 1], start == 0

    @staticmethod
    def _batch(windows: Sequence[tuple[Ids, bool]]) -> LMBatch:
        width = max(len(window) - 1 for window, _ in windows)
        ids = np.full((len(windows), width), PAD, dtype=np.int64)
        targets = np.full((len(windows), width), IGNORE, dtype=np.int64)
        for i, (window, _) in enumerate(windows):
            ids[i, : len(window) - 1] = window[:-1]
            targets[i, : len(window) - 1] = window[1:]
        reset = torch.tensor([start for _, start in windows])
        return torch.from_numpy(ids), reset, torch.from_numpy(targets)
