"""Negatives: a genome and positive intervals in, as many background intervals out, 0-based half-open.

One strategy is one function. Whatever the strategy, a negative is as long as the positives, lies inside its
chromosome and inside the regions asked for, touches no padded positive on either strand and no excluded region, holds
A, C, G and T only, and repeats neither the sequence of a positive nor that of another negative, on either strand.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from genomic_ulmfit.datasets.records import base_codes
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.genome.algebra import complement, pad, subtract, to_pyranges
from genomic_ulmfit.genome.intervals import Interval, read_intervals
from genomic_ulmfit.genome.sequences import Genome

__all__ = ["STRATEGIES", "Ground", "draw_negatives", "gc_matched", "gene_body", "random"]

_log = logging.getLogger(__name__)

_GC_BINS = 50  # of 2 % each
_BATCH = 64, 4096  # least and most places looked at in one go
_LOOKS = 64  # places looked at for each negative wanted, before the search is given up
_LEAST_LOOKS = 1 << 16
_COMPLEMENT = str.maketrans("ACGT", "TGCA")

Accept = Callable[[list[str]], np.ndarray]
_Candidate = tuple[Interval, str, int]  # with its "+" strand and its bin


def draw_negatives(
    genome: Genome,
    positives: Sequence[Interval],
    n: int,
    *,
    strategy: str = "gc-matched",
    padding: int = 100,
    exclude: Iterable[Interval] = (),
    within: Iterable[Interval] | None = None,
    genes: Iterable[Interval] = (),
    accept: Accept | None = None,
    seed: int | Sequence[int] = 0,
) -> list[Interval]:
    """Draw background intervals.

    Parameters
    ----------
    genome : Genome
        Where from.
    positives : sequence of Interval
        All of one length, inside the genome, named as the genome names its chromosomes; at least one.
    n : int
        How many to draw.
    strategy : {"random", "gene-body", "gc-matched"}
        See the functions of this module.
    padding : int
        Least distance in bp between a negative and a positive.
    exclude : iterable of Interval
        Regions that no negative may touch.
    within : iterable of Interval, optional
        Regions to stay inside of; by default the whole genome.
    genes : iterable of Interval
        For "gene-body".
    accept : callable, optional
        Takes a list of sequences ("+" strand) and returns a bool array, False for those to draw again.
    seed : int or sequence of int
        The same seed gives the same negatives.

    Returns
    -------
    list of Interval
        In the order of the genome, with strand.

    Raises
    ------
    DatasetError
        If there is no such strategy, the positives are none or of several lengths, or the genome can't yield `n`.

    Examples
    --------
    >>> genome = Genome({"chr1": "ACGGTCATTGCA" * 5 + "TTGACCGATCAT" * 5})
    >>> [i.length for i in draw_negatives(genome, [Interval("chr1", 50, 60)], 3, strategy="random", padding=5)]
    [10, 10, 10]
    """
    if strategy not in STRATEGIES:
        raise DatasetError(f"negatives {strategy!r} is not one of {', '.join(STRATEGIES)}")
    lengths = {positive.length for positive in positives}
    if len(lengths) != 1:
        raise DatasetError(f"wanted positives of one length, got {len(lengths)} lengths")
    sizes = genome.chrom_sizes
    regions = [Interval(chrom, 0, size) for chrom, size in sizes.items()] if within is None else list(within)
    free = subtract(regions, pad(positives, padding, sizes) + list(exclude))
    ground = Ground(genome, free, list(positives), lengths.pop(), list(genes), accept or _all)
    negatives = STRATEGIES[strategy](ground, n, np.random.default_rng(seed))
    if len(negatives) < n:
        found = f"found {len(negatives):,} of {n:,} {strategy} negatives of {ground.length} bp"
        raise DatasetError(f"{found}: {ground.why()}; lower the ratio or the padding, or exclude less")
    rank = {chrom: number for number, chrom in enumerate(sizes)}
    return sorted(negatives, key=lambda i: (rank[i.chrom], i.start, i.strand))


@dataclass(frozen=True)
class Ground:
    """What a strategy draws from.

    Parameters
    ----------
    genome : Genome
        The sequence.
    free : list of Interval
        Stretches where negatives may lie, clear of padded positives and excluded regions.
    positives : list of Interval
        What is to be matched.
    length : int
        Length of a negative in bp.
    genes : list of Interval
        Perhaps none.
    accept : callable
        As for `draw_negatives`.
    counts : Counter
        How many places there were, were looked at, and were turned down for what.
    """

    genome: Genome
    free: list[Interval]
    positives: list[Interval]
    length: int
    genes: list[Interval]
    accept: Accept
    counts: Counter[str] = field(default_factory=Counter)

    def why(self) -> str:
        """Say what became of the places looked at."""
        c = self.counts
        return (
            f"there are {c['places']:,} places clear of positives and excluded regions; of {c['looked']:,} looked at, "
            f"{c['unknown']:,} hold letters other than ACGT, {c['repeated']:,} repeat a sequence and "
            f"{c['refused']:,} were not accepted (25-mers of another part)"
        )


def random(ground: Ground, n: int, rng: np.random.Generator) -> list[Interval]:
    """Draw places uniformly, strands by a coin."""
    return _fill(ground, ground.free, Counter({0: n}), _one_bin, rng).found


def gene_body(ground: Ground, n: int, rng: np.random.Generator) -> list[Interval]:
    """Draw places uniformly from those that lie inside one gene, on the gene's strand.

    Raises
    ------
    DatasetError
        If there are no genes.
    """
    if not ground.genes:
        raise DatasetError("gene-body negatives need genes: a GFF3 or GenBank file, or intervals")
    taken = to_pyranges(complement(ground.free, ground.genome.chrom_sizes))
    inside = to_pyranges(ground.genes).subtract(taken) if len(taken) else to_pyranges(ground.genes)
    return _fill(ground, sorted(read_intervals(inside)), Counter({0: n}), _one_bin, rng).found


def gc_matched(ground: Ground, n: int, rng: np.random.Generator) -> list[Interval]:
    """Draw places uniformly, strands by a coin, but as many of each GC content as the positives have.

    GC content is told in bins of 2 %. Each bin gets its share of `n` by the positives in it, rounded so that the shares
    add up. Where the genome does not fill a bin, the nearest bins that have places left do; their number is logged.
    """
    bins = _gc_bins(_codes(_texts(ground.genome, ground.positives)))
    basket = _fill(ground, ground.free, _shares(Counter(bins.tolist()), n), _gc_bins, rng)
    moved = basket.take_nearest()
    if moved:
        _log.warning(
            "%d of %d negatives are not from the GC bin wanted but from the nearest one left, up to %d %% away",
            len(moved), n, 100 // _GC_BINS * max(moved),
        )  # fmt: skip
    return basket.found


STRATEGIES: dict[str, Callable[[Ground, int, np.random.Generator], list[Interval]]] = {
    "random": random,
    "gene-body": gene_body,
    "gc-matched": gc_matched,
}


# Drawing --------------------------------------------------------------------------------------------------------------


class _Basket:
    """Negatives by bin, each bin up to its quota."""

    def __init__(self, ground: Ground, quota: Counter[int]) -> None:
        self.ground, self.quota = ground, quota
        self.found: list[Interval] = []
        self._spare: dict[int, list[tuple[Interval, str]]] = defaultdict(list)
        self._spare_room = max(quota.values(), default=0)
        self._taken = {_canonical(text) for text in _texts(ground.genome, ground.positives)}

    @property
    def full(self) -> bool:
        return self.quota.total() == 0

    def add(self, windows: Sequence[Interval], texts: Sequence[str], bins: Sequence[int]) -> None:
        """Take what fits, in order; where some is refused, those that come after get their turn."""
        waiting = list(zip(windows, texts, bins, strict=True))
        while waiting:
            picked, waiting = self._pick(waiting)
            if self._keep(picked) == len(picked):
                break
        for window, text, number in waiting:
            if len(self._spare[number]) < self._spare_room:
                self._spare[number].append((window, text))

    def _pick(self, waiting: list[_Candidate]) -> tuple[list[_Candidate], list[_Candidate]]:
        room, picked, left = self.quota.copy(), [], []
        for window, text, number in waiting:
            if room[number] <= 0:
                left.append((window, text, number))
            elif self._is_new(text):
                room[number] -= 1
                picked.append((window, text, number))
        return picked, left

    def take_nearest(self) -> list[int]:
        """Fill what is left of the quota from the bins nearest by; return how many bins each was moved."""
        moved = []
        for lacking in sorted(+self.quota):
            for number in sorted(self._spare, key=lambda number: (abs(number - lacking), number)):
                while self._spare[number] and self.quota[lacking] > 0:
                    window, text = self._spare[number].pop()
                    if self._is_new(text) and self._keep([(window, text, lacking)]):
                        moved.append(abs(number - lacking))
        return moved

    def _is_new(self, text: str) -> bool:
        canonical = _canonical(text)
        is_new = canonical not in self._taken
        self._taken.add(canonical)
        self.ground.counts["repeated"] += not is_new
        return is_new

    def _keep(self, picked: list[_Candidate]) -> int:
        if not picked:
            return 0
        accepted = self.ground.accept([text for _, text, _ in picked])
        kept = [(window, number) for (window, _, number), good in zip(picked, accepted, strict=True) if good]
        self.found += [window for window, _ in kept]
        self.quota.subtract(number for _, number in kept)
        self.ground.counts["refused"] += len(picked) - len(kept)
        return len(kept)


def _fill(
    ground: Ground,
    stretches: Sequence[Interval],
    quota: Counter[int],
    bins_of: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> _Basket:
    """Draw windows of the stretches until every bin is full, or places or patience run out."""
    basket, counts = _Basket(ground, quota), ground.counts
    stretches = [stretch for stretch in stretches if stretch.length >= ground.length]
    rooms = np.array([stretch.length - ground.length + 1 for stretch in stretches], dtype=np.int64)
    counts["places"] = int(rooms.sum())
    for numbers in _shuffled(counts["places"], quota.total(), rng):
        if basket.full:
            break
        windows = _windows(numbers, stretches, rooms, ground.length, rng)
        texts = _texts(ground.genome, windows)
        codes = _codes(texts)
        known = np.flatnonzero((codes < 4).all(axis=1))
        counts["looked"] += len(numbers)
        counts["unknown"] += len(numbers) - len(known)
        basket.add([windows[i] for i in known], [texts[i] for i in known], bins_of(codes[known]).tolist())
    return basket


def _shuffled(total: int, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of numbers below `total`: each once where they are few, else at random up to a bound."""
    bound, batch = max(_LEAST_LOOKS, _LOOKS * n), min(max(_BATCH[0], 2 * n), _BATCH[1])
    if total <= bound:
        order = rng.permutation(total)
        yield from (order[i : i + batch] for i in range(0, total, batch))
    else:
        yield from (rng.integers(total, size=batch) for _ in range(0, bound, batch))


def _windows(
    numbers: np.ndarray, stretches: Sequence[Interval], rooms: np.ndarray, length: int, rng: np.random.Generator
) -> list[Interval]:
    ends = np.cumsum(rooms)
    which = np.searchsorted(ends, numbers, side="right")
    offsets = numbers - (ends - rooms)[which]
    coins = rng.integers(2, size=len(numbers))
    windows = []
    for at, offset, coin in zip(which.tolist(), offsets.tolist(), coins.tolist(), strict=True):
        stretch = stretches[at]
        strand = "+-"[coin] if stretch.strand == "." else stretch.strand
        start = stretch.start + offset
        windows.append(Interval(stretch.chrom, start, start + length, strand=strand))
    return windows


def _texts(genome: Genome, windows: Sequence[Interval]) -> list[str]:
    """Return the "+" strand of each window in upper case; read in file order, which is fastest in compressed files."""
    texts = [""] * len(windows)
    for i in sorted(range(len(windows)), key=lambda i: windows[i][:2]):
        texts[i] = genome.sequence(*windows[i][:3]).upper()
    return texts


def _codes(texts: Sequence[str]) -> np.ndarray:
    return base_codes("".join(texts)).reshape(len(texts), -1)  # (n_windows, length)


def _canonical(text: str) -> str:
    return min(text, text.translate(_COMPLEMENT)[::-1])


def _one_bin(codes: np.ndarray) -> np.ndarray:
    return np.zeros(len(codes), dtype=np.int64)


def _gc_bins(codes: np.ndarray) -> np.ndarray:
    gc = ((codes == 1) | (codes == 2)).sum(axis=1)
    return np.minimum(gc * _GC_BINS // max(1, codes.shape[1]), _GC_BINS - 1)


def _shares(counts: Counter[int], n: int) -> Counter[int]:
    """Divide `n` in proportion to the counts, the largest remainders rounded up."""
    exact = {number: n * count / counts.total() for number, count in counts.items()}
    shares = Counter({number: int(share) for number, share in exact.items()})
    by_remainder = sorted(exact, key=lambda number: (shares[number] - exact[number], number))
    shares.update(by_remainder[: n - shares.total()])
    return shares


def _all(texts: list[str]) -> np.ndarray:
    return np.ones(len(texts), dtype=bool)
