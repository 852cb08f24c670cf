"""Strategies for negatives, one function each: a `Ground` and a generator in, `n` candidates out, or what there is."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.drawing import Candidate, Ground, Room, Score, codes_of, draw, fetch, fill
from genomic_ulmfit.datasets.shuffles import dinucleotide_shuffle, partial_shuffle
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.genome.algebra import intersect, linear_parts
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.letters import UNKNOWN

__all__ = [
    "SHUFFLES",
    "flank",
    "gc_matched",
    "gene_body",
    "hard",
    "intertss",
    "kmer_matched",
    "partly_shuffled",
    "random",
    "shuffled",
    "to_records",
]

_log = logging.getLogger(__name__)

SHUFFLES = frozenset({"shuffle", "partial-shuffle"})  # whose negatives are no windows of the genome

_GC_BINS = 50  # of 2 % each
_K = 3  # of the k-mers that "kmer-matched" matches
_BLOCK = 500  # positives matched in one go
_STEPS = 16  # places that "flank" looks at on one side of one positive
_ROUNDS = 256  # times that positives without a negative are tried


# Windows --------------------------------------------------------------------------------------------------------------


def random(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw places uniformly."""
    return fill(ground, ground.free, Counter({0: n}), _one_bin, rng)[0]


def intertss(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw places between neighbouring positives, as many between any two as between any others, where there is room.

    Nothing lies before the first positive of a chromosome or after its last. Heyer's human set is drawn like this, from
    between TSSs. A gap that an excluded region divides counts as two.
    """
    ground.tally.what = "places between neighbouring positives and clear of them and of excluded regions"
    windows: dict[str, list[Interval]] = {}
    for window in linear_parts([positive.window for positive in ground.positives], ground.genome.chrom_sizes):
        windows.setdefault(window.chrom, []).append(window)
    spans = [Interval(chrom, min(w.start for w in ws), max(w.end for w in ws)) for chrom, ws in windows.items()]
    return fill(ground, intersect(spans, ground.free), Counter({0: n}), _one_bin, rng, evenly=True)[0]


def gene_body(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw places uniformly from those that lie inside one gene, on the gene's strand.

    Raises
    ------
    DatasetError
        If there are no genes.
    """
    if not ground.genes:
        raise DatasetError("gene-body negatives need genes: a GFF3 or GenBank file, or intervals")
    ground.tally.what = "places inside genes and clear of positives and excluded regions"
    return fill(ground, intersect(ground.genes, ground.free), Counter({0: n}), _one_bin, rng)[0]


def gc_matched(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw places uniformly, but as many of each GC content as the positives have.

    GC content is told in bins of 2 %. Each bin gets its share of `n` by the positives in it, rounded so that the shares
    add up. Where the genome does not fill a bin, the nearest bins that have places left do; their number is logged.
    """
    found, lacking, spare = fill(ground, ground.free, _shares(Counter(_gc_bins(ground.positives)), n), _gc_bins, rng)
    moved = []
    for wanted in sorted(lacking):
        for number in sorted(spare, key=lambda number: (abs(number - wanted), number)):
            while spare[number] and lacking[wanted]:
                candidate = spare[number].pop()
                if ground.passes([candidate])[0]:
                    found.append(candidate)
                    lacking[wanted] -= 1
                    moved.append(abs(number - wanted))
    if moved:
        _log.warning(
            "%d of %d negatives are not from the GC bin wanted but from the nearest one left, up to %d %% away",
            len(moved), n, 100 // _GC_BINS * max(moved),
        )  # fmt: skip
    return found


def kmer_matched(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Draw windows whose k-mers resemble those of the positives, one for each positive in turn.

    For every block of positives a pool of random windows is drawn, and each positive is given one of them so that the
    Euclidean distances between the shares of their 3-mers, along the strands, are least in sum. Longer k-mers come too
    seldom in some hundred bp: 4-mers took three times as long, and the windows were as easy to tell from yeast's
    promoters by 4-mers. How near the windows are is logged.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    turn, wanted = _in_turn(len(ground.positives), n, rng), _kmer_shares(ground.positives)
    stream = chain.from_iterable(draw(ground, ground.free, n, rng))
    found: list[Candidate] = []
    spare: list[Candidate] = []
    near: list[float] = []
    chance: list[float] = []
    while len(turn):
        block, turn = turn[:_BLOCK], turn[_BLOCK:]
        pool = list(islice(stream, len(block) * ground.candidates))
        missing = len(block) * ground.candidates - len(pool)
        pool, spare = pool + spare[:missing], spare[missing:]
        if not pool:
            break
        distances = cdist(wanted[block], _kmer_shares(pool))
        rows, columns = linear_sum_assignment(distances)
        passed = np.array(ground.passes([pool[column] for column in columns]))
        found += [pool[column] for column in columns[passed]]
        near += distances[rows, columns][passed].tolist()
        chance.append(distances.mean())
        turn = np.concatenate([turn, np.delete(block, rows[passed])])
        left = np.delete(np.arange(len(pool)), columns)[: max(0, 2 * n - len(spare))]  # as many as could be needed
        spare += [pool[i] for i in left]
    if found:
        _log.info(
            "%d windows matched by %d-mers: %.3f from their positives on average, random ones %.3f",
            len(found), _K, np.mean(near), np.mean(chance),
        )  # fmt: skip
    return found


def flank(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Take the windows beside the positives, alternately up- and downstream, as near as they may lie.

    Where a place is not free, the next one outward is taken; no two negatives overlap. A positive beside which there is
    none within reach gives way to another at random. How far the windows had to move is logged.
    """
    ground.tally.what += ", of which no two that overlap are taken"
    ground.tally.places = sum(max(0, stretch.length - ground.length + 1) for stretch in ground.free)
    room = Room(ground.free, ground.length)
    found: list[Candidate] = []
    moved: list[int] = []
    turn, size = _in_turn(len(ground.positives), n, rng), len(ground.positives)
    walks = [_Walk.from_positive(ground.positives[i].window, (at % size + at // size) % 2) for at, i in enumerate(turn)]
    for _ in range(_ROUNDS):
        reached = {}
        for walk in walks:
            start = room.nearest(walk.chrom, walk.start, walk.step)
            if start is not None and room.take(walk.chrom, start):
                strand = "-+"[rng.random() < ground.forward]
                reached[Interval(walk.chrom, start, start + ground.length, strand=strand)] = walk
        known = ground.known(fetch(ground.genome, list(reached)))
        passed = [candidate for candidate, good in zip(known, ground.passes(known), strict=True) if good]
        found += passed
        moved += [abs(candidate.window.start - reached.pop(candidate.window).start) for candidate in passed]
        if len(found) == n:
            break
        walks = [walk._replace(steps=walk.steps - 1) for walk in reached.values() if walk.steps > 1]
        others = rng.integers([[size], [2]], size=(2, n - len(found) - len(walks))).T.tolist()
        walks += [_Walk.from_positive(ground.positives[i].window, side) for i, side in others]
    if moved:
        _log.info(
            "%d flanks: half of them within %d bp of their positives, all within %d",
            len(found),
            median(moved),
            max(moved),
        )
    return found


def hard(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Take, of random windows, those that the score likes most, no two of which overlap.

    The score is asked for `candidates` windows for each negative, in batches of some thousand.

    Raises
    ------
    DatasetError
        If there is no score, or its answer is not one number for each record.
    """
    if ground.score is None:
        raise DatasetError("hard negatives need a score: a function that takes SeqRecords and returns a float array")
    ground.tally.what += ", of which no two that overlap are taken"
    windows: list[Interval] = []
    scores: list[float] = []
    for batch in draw(ground, ground.free, n, rng):
        batch = [candidate for candidate, good in zip(batch, ground.passes(batch), strict=True) if good]
        batch = batch[: n * ground.candidates - len(windows)]
        windows += [candidate.window for candidate in batch]
        scores += _scores(ground.score, to_records(batch, "hard"))
        if len(windows) == n * ground.candidates:
            break
    room = Room(ground.free, ground.length)
    best: list[int] = []
    for i in np.argsort(-np.array(scores), kind="stable").tolist():
        if len(best) < n and room.take(windows[i].chrom, windows[i].start):
            best.append(i)
    if best:
        _log.info(
            "%d windows scored (%d for each negative); the %d taken score %.3f to %.3f, all of them %.3f on average",
            len(windows), ground.candidates, len(best), scores[best[-1]], scores[best[0]], np.mean(scores),
        )  # fmt: skip
    return fetch(ground.genome, [windows[i] for i in best])


# Shuffled positives ---------------------------------------------------------------------------------------------------


def shuffled(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Shuffle the positives in turn, each with its dinucleotides: see `dinucleotide_shuffle`."""
    return _changed(ground, n, rng, dinucleotide_shuffle)


def partly_shuffled(ground: Ground, n: int, rng: np.random.Generator) -> list[Candidate]:
    """Shuffle 12 of 20 parts of the positives in turn, as DeePromoter does: see `partial_shuffle`."""
    return _changed(ground, n, rng, partial_shuffle)


def _changed(
    ground: Ground, n: int, rng: np.random.Generator, change: Callable[[str, np.random.Generator], str]
) -> list[Candidate]:
    """Change positives inside the regions; one that gives nothing new gives way to another at random."""
    ground.tally.what = "positives to shuffle in these regions"
    ground.tally.places = len(ground.inside)
    sources = ground.known(ground.inside)
    found: list[Candidate] = []
    turn = _in_turn(len(sources), n, rng) if sources else np.empty(0, np.int64)
    for _ in range(_ROUNDS if sources else 0):
        made = [Candidate(sources[i].window, change(sources[i].text.upper(), rng)) for i in turn]
        ground.tally.looked += len(made)
        found += [candidate for candidate, good in zip(made, ground.passes(made), strict=True) if good]
        turn = rng.integers(len(sources), size=n - len(found))
        if not len(turn):
            break
    return found


# Helpers --------------------------------------------------------------------------------------------------------------


class _Walk(NamedTuple):
    """A walk outward from a positive: where from, which way, and how many places may yet be tried."""

    chrom: str
    start: int
    step: int
    steps: int = _STEPS

    @classmethod
    def from_positive(cls, window: Interval, downstream: bool | int) -> _Walk:
        if bool(downstream) == (window.strand != "-"):
            return cls(window.chrom, window.end, 1)
        return cls(window.chrom, window.start - window.length, -1)


def _in_turn(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` numbers below `size`, each as often as any other give or take one."""
    return np.concatenate([rng.permutation(size) for _ in range(-(-n // size))])[:n]


def _one_bin(candidates: Sequence[Candidate]) -> list[int]:
    return [0] * len(candidates)


def _gc_bins(candidates: Sequence[Candidate]) -> list[int]:
    if not candidates:
        return []
    codes = codes_of(candidates)
    gc, known = ((codes == 1) | (codes == 2)).sum(axis=1), np.maximum(1, (codes < UNKNOWN).sum(axis=1))
    return np.minimum(gc * _GC_BINS // known, _GC_BINS - 1).tolist()


def _shares(counts: Counter[int], n: int) -> Counter[int]:
    """Divide `n` in proportion to the counts, the largest remainders rounded up."""
    exact = {number: n * count / counts.total() for number, count in counts.items()}
    shares = Counter({number: int(share) for number, share in exact.items()})
    by_remainder = sorted(exact, key=lambda number: (shares[number] - exact[number], number))
    shares.update(by_remainder[: n - shares.total()])
    return shares


def _kmer_shares(candidates: Sequence[Candidate]) -> np.ndarray:
    """Return the shares of the k-mers, along the strand, shape (n_candidates, 4**k); unknown ones don't count."""
    codes = codes_of(candidates).astype(np.int64)
    n_places, size = max(0, codes.shape[1] - _K + 1), 4**_K
    places = [codes[:, i : i + n_places] for i in range(_K)]
    words = sum(place * 4 ** (_K - 1 - i) for i, place in enumerate(places))
    words = np.where(np.max(places, axis=0) < UNKNOWN, words, size) + np.arange(len(codes))[:, None] * (size + 1)
    counts = np.bincount(words.ravel(), minlength=len(codes) * (size + 1)).reshape(len(codes), -1)[:, :size]
    return counts / np.maximum(1, counts.sum(axis=1, keepdims=True))


def _scores(score: Score, records: list[SeqRecord]) -> list[float]:
    if not records:
        return []
    scores = np.asarray(score(records), dtype=float)
    if scores.shape != (len(records),) or np.isnan(scores).any():
        got = f"shape {scores.shape}" if scores.shape != (len(records),) else "numbers that are NaN"
        raise DatasetError(f"the score of hard negatives gave {got} for {len(records)} records, wanted a number each")
    return scores.tolist()


def to_records(candidates: Iterable[Candidate], strategy: str) -> list[SeqRecord]:
    """Return candidates as records; the id of a shuffled one has the strategy and a number before the place."""
    records = []
    times: Counter[Interval] = Counter()
    for window, text in candidates:
        times[window] += 1
        name = f"{strategy}.{times[window]}::{window.id}" if strategy in SHUFFLES else window.id
        annotations: dict[str, Any] = {
            "chrom": window.chrom,
            "start": window.start,
            "end": window.end,
            "strand": window.strand,
            "strategy": strategy,
            "molecule_type": "DNA",
        }
        records.append(SeqRecord(Seq(text), id=name, name=name, description="", annotations=annotations))
    return records
