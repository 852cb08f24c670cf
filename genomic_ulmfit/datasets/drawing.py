"""What strategies for negatives draw with: free stretches of a genome in, windows with their letters out.

Coordinates are 0-based half-open. Memory grows with the windows asked for, not with the genome.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from Bio.Seq import reverse_complement
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.letters import UNKNOWN, base_codes

__all__ = ["Accept", "Candidate", "Ground", "Room", "Score", "Tally", "codes_of", "draw", "fetch", "fill"]

_BATCH = 64, 4096  # least and most places looked at in one go
_LOOKS = 64  # places looked at for each negative wanted, before the search is given up
_LEAST_LOOKS = 1 << 16

Accept = Callable[[list[str]], np.ndarray]
Score = Callable[[list[SeqRecord]], np.ndarray]


class Candidate(NamedTuple):
    """A window and its letters, along its strand, their case as in the file."""

    window: Interval
    text: str


_Binned = tuple[Candidate, int]


@dataclass
class Tally:
    """How many places there were, were looked at, and were turned down for what."""

    places: int = 0
    what: str = "places clear of positives and excluded regions"
    looked: int = 0
    unknown: int = 0
    repeated: int = 0
    refused: int = 0

    def __str__(self) -> str:
        """Say what became of the places looked at."""
        return (
            f"there are {self.places:,} {self.what}; of {self.looked:,} looked at, {self.unknown:,} hold letters other "
            f"than ACGT, {self.repeated:,} repeat a sequence and {self.refused:,} were not accepted "
            "(25-mers of another part)"
        )


@dataclass(frozen=True)
class Ground:
    """What a strategy draws from, and what was turned down.

    Parameters
    ----------
    genome : Genome
        The sequence.
    free : list of Interval
        Stretches where negatives may lie, clear of padded positives and excluded regions, none touching another.
    positives : list of Candidate
        What is to be matched.
    inside : list of Candidate
        Those positives that lie inside the regions asked for.
    length : int
        Length of a negative in bp.
    genes : list of Interval
        Perhaps none.
    accept : callable or None
        Takes a list of sequences and returns a bool array.
    score : callable or None
        Takes a list of SeqRecords and returns a float array.
    candidates : int
        Windows to choose among for each negative.
    forward : float
        Chance that a window whose strand is free lies on "+".
    max_unknown : float
        Share of letters other than ACGT allowed.
    """

    genome: Genome
    free: list[Interval]
    positives: list[Candidate]
    inside: list[Candidate]
    length: int
    genes: list[Interval]
    accept: Accept | None
    score: Score | None
    candidates: int
    forward: float
    max_unknown: float
    tally: Tally = field(default_factory=Tally)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Take the positives as seen."""
        self._seen.update(_canonical(positive.text) for positive in self.positives)

    def known(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Leave out those with too many unknown letters."""
        if not candidates:
            return []
        shares = (codes_of(candidates) == UNKNOWN).mean(axis=1)
        passed = [c for c, share in zip(candidates, shares.tolist(), strict=True) if share <= self.max_unknown]
        self.tally.looked += len(candidates)
        self.tally.unknown += len(candidates) - len(passed)
        return passed

    def passes(self, candidates: Sequence[Candidate]) -> list[bool]:
        """Tell which repeat no sequence seen before, on either strand, and are accepted; all are seen from now on."""
        new = [self._is_new(candidate.text) for candidate in candidates]
        texts = [candidate.text for candidate, fresh in zip(candidates, new, strict=True) if fresh]
        accepted = [True] * len(texts) if self.accept is None or not texts else self.accept(texts).tolist()
        self.tally.repeated += len(new) - len(texts)
        self.tally.refused += len(texts) - sum(accepted)
        answers = iter(accepted)
        return [fresh and next(answers) for fresh in new]

    def _is_new(self, text: str) -> bool:
        canonical = _canonical(text)
        is_new = canonical not in self._seen
        self._seen.add(canonical)
        return is_new


class Room:
    """Places not yet taken, so that no two windows of one length overlap.

    Parameters
    ----------
    stretches : iterable of Interval
        None overlapping or touching another.
    length : int
        Length of a window in bp.

    Examples
    --------
    >>> room = Room([Interval("chr1", 0, 25)], length=10)
    >>> room.take("chr1", 8), room.take("chr1", 12), room.nearest("chr1", 12, step=1), room.nearest("chr1", 12, step=-1)
    (True, False, None, None)
    >>> room = Room([Interval("chr1", 0, 40)], length=10)
    >>> room.take("chr1", 15), room.nearest("chr1", 12, step=1), room.nearest("chr1", 12, step=-1)
    (True, 25, 5)
    """

    def __init__(self, stretches: Iterable[Interval], length: int) -> None:
        self._length = length
        self._firsts: dict[str, list[int]] = defaultdict(list)  # of each stretch the first and last start of a window
        self._lasts: dict[str, list[int]] = defaultdict(list)
        for stretch in sorted(stretches, key=lambda stretch: stretch[:2]):
            if stretch.length >= length:
                self._firsts[stretch.chrom].append(stretch.start)
                self._lasts[stretch.chrom].append(stretch.end - length)

    def nearest(self, chrom: str, start: int, step: int) -> int | None:
        """Return the nearest free start from `start` on, to the right (`step` 1) or to the left (-1); None without."""
        firsts, lasts = self._firsts[chrom], self._lasts[chrom]
        if step > 0:
            at = bisect_left(lasts, start)
            return max(firsts[at], start) if at < len(lasts) else None
        at = bisect_right(firsts, start) - 1
        return min(lasts[at], start) if at >= 0 else None

    def take(self, chrom: str, start: int) -> bool:
        """Take the place that starts there, and all that overlap it; False if it is not free."""
        firsts, lasts = self._firsts[chrom], self._lasts[chrom]
        at = bisect_right(firsts, start) - 1
        if at < 0 or lasts[at] < start:
            return False
        pieces = [(firsts[at], start - self._length), (start + self._length, lasts[at])]
        pieces = [(first, last) for first, last in pieces if first <= last]
        firsts[at : at + 1] = [first for first, _ in pieces]
        lasts[at : at + 1] = [last for _, last in pieces]
        return True


def fetch(genome: Genome, windows: Sequence[Interval]) -> list[Candidate]:
    """Return the windows with their letters; read in file order, which is fastest in compressed files."""
    texts = [""] * len(windows)
    for i in sorted(range(len(windows)), key=lambda i: windows[i][:2]):
        text = genome.sequence(*windows[i][:3])
        texts[i] = reverse_complement(text) if windows[i].strand == "-" else text
    return [Candidate(window, text) for window, text in zip(windows, texts, strict=True)]


def codes_of(candidates: Sequence[Candidate]) -> np.ndarray:
    """Return the letters of candidates, all of one length, as numbers: uint8 array, shape (n_candidates, length)."""
    return base_codes("".join(candidate.text for candidate in candidates)).reshape(len(candidates), -1)


def draw(
    ground: Ground, stretches: Iterable[Interval], n: int, rng: np.random.Generator, *, evenly: bool = False
) -> Iterator[list[Candidate]]:
    """Yield windows of the stretches, for `n` negatives, in batches; those with unknown letters are left out.

    Where places are few each comes once, else they are drawn at random up to a bound. All places are alike, or with
    `evenly` all stretches. A stretch without strand gives windows on either.
    """
    stretches = [stretch for stretch in stretches if stretch.length >= ground.length]
    rooms = np.array([stretch.length - ground.length + 1 for stretch in stretches], dtype=np.int64)
    ground.tally.places = int(rooms.sum())
    looks = max(_LEAST_LOOKS, n * max(_LOOKS, 2 * ground.candidates))
    numbers = _each_once(rooms, rng, evenly) if ground.tally.places <= looks else _at_random(rooms, looks, rng, evenly)
    size = min(max(_BATCH[0], 2 * n), _BATCH[1])
    for first in range(0, len(numbers), size):
        windows = _windows(numbers[first : first + size], stretches, rooms, ground, rng)
        yield ground.known(fetch(ground.genome, windows))


def fill(
    ground: Ground,
    stretches: Iterable[Interval],
    quota: Counter[int],
    bins_of: Callable[[Sequence[Candidate]], Sequence[int]],
    rng: np.random.Generator,
    *,
    evenly: bool = False,
) -> tuple[list[Candidate], Counter[int], dict[int, list[Candidate]]]:
    """Draw windows of the stretches until every bin has its quota, or places or patience run out.

    Returns
    -------
    found : list of Candidate
        As many of each bin as its quota says, or fewer.
    lacking : Counter
        What is left of the quota.
    spare : dict of int to list of Candidate
        Windows by bin that came when it was full; they may repeat one another, and are not accepted yet.
    """
    found: list[Candidate] = []
    lacking, most = quota.copy(), max(quota.values())
    spare: dict[int, list[Candidate]] = defaultdict(list)
    for batch in draw(ground, stretches, quota.total(), rng, evenly=evenly):
        waiting = list(zip(batch, bins_of(batch), strict=True))
        while waiting:
            picked, waiting = _fitting(waiting, lacking)
            passed = ground.passes([candidate for candidate, _ in picked])
            kept = [pick for pick, good in zip(picked, passed, strict=True) if good]
            found += [candidate for candidate, _ in kept]
            lacking.subtract(number for _, number in kept)
            if len(kept) == len(picked):
                break  # else some did not pass, and those left get their turn
        for candidate, number in waiting:
            if len(spare[number]) < most:
                spare[number].append(candidate)
        if not lacking.total():
            break
    return found, +lacking, spare


def _fitting(waiting: Sequence[_Binned], lacking: Counter[int]) -> tuple[list[_Binned], list[_Binned]]:
    """Divide those waiting into the first ones that fit into their bins, and those left."""
    room = lacking.copy()
    fitting: list[_Binned] = []
    left: list[_Binned] = []
    for candidate, number in waiting:
        (fitting if room[number] > 0 else left).append((candidate, number))
        room[number] -= 1
    return fitting, left


# Places ---------------------------------------------------------------------------------------------------------------


def _each_once(rooms: np.ndarray, rng: np.random.Generator, evenly: bool) -> np.ndarray:
    """Return the number of every place in random order; with `evenly` the stretches take turns."""
    order = rng.permutation(int(rooms.sum()))
    if not evenly:
        return order
    which = np.repeat(np.arange(len(rooms)), rooms)[order]
    by_stretch = np.argsort(which, kind="stable")
    turns = np.empty(len(order), dtype=np.int64)
    turns[by_stretch] = np.arange(len(order)) - np.repeat(np.cumsum(rooms) - rooms, rooms)
    return order[np.argsort(turns, kind="stable")]


def _at_random(rooms: np.ndarray, n: int, rng: np.random.Generator, evenly: bool) -> np.ndarray:
    if not evenly:
        return rng.integers(rooms.sum(), size=n)
    which = rng.integers(len(rooms), size=n)
    return (np.cumsum(rooms) - rooms)[which] + rng.integers(rooms[which])


def _windows(
    numbers: np.ndarray, stretches: Sequence[Interval], rooms: np.ndarray, ground: Ground, rng: np.random.Generator
) -> list[Interval]:
    ends = np.cumsum(rooms)
    which = np.searchsorted(ends, numbers, side="right")
    offsets = numbers - (ends - rooms)[which]
    coins = rng.random(len(numbers)) < ground.forward
    windows = []
    for at, offset, coin in zip(which.tolist(), offsets.tolist(), coins.tolist(), strict=True):
        stretch = stretches[at]
        strand = "-+"[coin] if stretch.strand == "." else stretch.strand
        start = stretch.start + offset
        windows.append(Interval(stretch.chrom, start, start + ground.length, strand=strand))
    return windows


def _canonical(text: str) -> str:
    text = text.upper()
    return min(text, reverse_complement(text))
