"""Negatives: a genome and positive intervals in, as many background records out; coordinates are 0-based half-open.

Whatever the strategy, a negative is as long as the positives, holds hardly a letter other than A, C, G and T, and
repeats neither the sequence of a positive nor that of another negative, on either strand. A window of the genome lies
inside its chromosome and the regions asked for, and touches no padded positive on either strand and no excluded region.
A shuffled positive is no window: it carries the place that its letters come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets import strategies
from genomic_ulmfit.datasets.drawing import Accept, Candidate, Ground, Score, fetch
from genomic_ulmfit.datasets.strategies import SHUFFLES, to_records
from genomic_ulmfit.errors import DatasetError
from genomic_ulmfit.genome.algebra import linear_parts, overlapping, pad, subtract
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome

__all__ = ["SHUFFLES", "STRATEGIES", "draw_negatives"]

_CANDIDATES = {"kmer-matched": 30, "hard": 10}  # a score may be a net, for which windows are dear
_STRANDS = ("both", "+", "-", "same")

STRATEGIES: dict[str, Callable[[Ground, int, np.random.Generator], list[Candidate]]] = {
    "random": strategies.random,
    "intertss": strategies.intertss,
    "gene-body": strategies.gene_body,
    "gc-matched": strategies.gc_matched,
    "kmer-matched": strategies.kmer_matched,
    "flank": strategies.flank,
    "hard": strategies.hard,
    "shuffle": strategies.shuffled,
    "partial-shuffle": strategies.partly_shuffled,
}


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
    score: Score | None = None,
    candidates: int | None = None,
    strands: str = "both",
    max_unknown: float = 0.0,
    seed: int | Sequence[int] = 0,
) -> list[SeqRecord]:
    """Draw background records.

    Parameters
    ----------
    genome : Genome
        Where from.
    positives : sequence of Interval
        All of one length, inside the genome, named as the genome names its chromosomes; at least one.
    n : int
        How many to draw.
    strategy : str
        One of `STRATEGIES`; each is a function of `genomic_ulmfit.datasets.strategies`.
    padding : int
        Least distance in bp between a window and a positive.
    exclude : iterable of Interval
        Regions that no window may touch, named as the genome names its chromosomes.
    within : iterable of Interval, optional
        Regions to stay inside of; by default the whole genome. Of positives to shuffle, those inside are taken.
    genes : iterable of Interval
        For "gene-body".
    accept : callable, optional
        Takes a list of sequences and returns a bool array, False for those to draw again.
    score : callable, optional
        For "hard": takes a list of SeqRecords and returns a float array, higher where more like a positive.
    candidates : int, optional
        For "kmer-matched" and "hard": how many windows are looked at for each negative, by default 30 and 10.
    strands : {"both", "+", "-", "same"}
        Where windows lie: on either strand by a coin, on one, or on "+" as often as the positives do. Negatives from
        genes and shuffled positives keep their strand.
    max_unknown : float
        Greatest share of letters other than A, C, G and T in a negative.
    seed : int or sequence of int
        The same seed gives the same negatives.

    Returns
    -------
    list of SeqRecord
        In the order of the genome. Annotations: chrom, start, end, strand, strategy, molecule_type. The id is the
        window's, of a shuffled positive with the strategy before it: ``shuffle.1::chr1:880-910(+)``.

    Raises
    ------
    DatasetError
        If an option is not as above, the positives are none or of several lengths, or the genome can't yield `n`.

    Examples
    --------
    >>> genome = Genome({"chr1": "ACGGTCATTGCA" * 5 + "TTGACCGATCAT" * 5})
    >>> drawn = draw_negatives(genome, [Interval("chr1", 50, 60)], 3, strategy="random", padding=5)
    >>> [len(record) for record in drawn], drawn[0].annotations["strategy"]
    ([10, 10, 10], 'random')
    """
    _check_options(positives, n, strategy, padding, candidates, strands, max_unknown)
    if n == 0:
        return []
    sizes = genome.chrom_sizes
    regions = [Interval(chrom, 0, size) for chrom, size in sizes.items()] if within is None else list(within)
    sources = fetch(genome, positives)
    outside = set() if within is None else _outside(positives, regions, sizes)
    ground = Ground(
        genome=genome,
        free=subtract(
            regions, pad(positives, padding, sizes, genome.circular) + pad(exclude, 0, sizes, genome.circular)
        ),
        positives=sources,
        inside=[source for number, source in enumerate(sources) if number not in outside],
        length=positives[0].length,
        genes=list(genes),
        accept=accept,
        score=score,
        candidates=candidates or _CANDIDATES.get(strategy, 1),
        forward=_forward(strands, positives),
        max_unknown=max_unknown,
    )
    found = STRATEGIES[strategy](ground, n, np.random.default_rng(seed))
    if len(found) < n:
        advice = "lower the ratio" if strategy in SHUFFLES else "lower the ratio or the padding, or exclude less"
        advice += ", or look at more candidates" if strategy == "hard" else ""
        got = f"found {len(found):,} of {n:,} {strategy} negatives of {ground.length} bp"
        raise DatasetError(f"{got}: {ground.tally}; {advice}")
    rank = {chrom: number for number, chrom in enumerate(sizes)}
    found.sort(key=lambda candidate: (rank[candidate.window.chrom], candidate.window.start, candidate.window.strand))
    return to_records(found, strategy)


def _outside(positives: Sequence[Interval], regions: Iterable[Interval], sizes: Mapping[str, int]) -> set[int]:
    """Return the numbers of the positives that have a base outside the regions."""
    cut = linear_parts([positive._replace(name=str(number)) for number, positive in enumerate(positives)], sizes)
    return {int(piece.name) for piece in overlapping(cut, subtract(cut, regions))}


def _forward(strands: str, positives: Sequence[Interval]) -> float:
    counts = Counter(positive.strand for positive in positives)
    stranded = counts["+"] + counts["-"]
    same = counts["+"] / stranded if stranded else 0.5
    return {"both": 0.5, "+": 1.0, "-": 0.0, "same": same}[strands]


def _check_options(
    positives: Sequence[Interval],
    n: int,
    strategy: str,
    padding: int,
    candidates: int | None,
    strands: str,
    max_unknown: float,
) -> None:
    if strategy not in STRATEGIES:
        raise DatasetError(f"negatives {strategy!r} is not one of {', '.join(STRATEGIES)}")
    if strands not in _STRANDS:
        raise DatasetError(f"strands {strands!r} is not one of {', '.join(_STRANDS)}")
    lengths = {positive.length for positive in positives}
    if len(lengths) != 1:
        raise DatasetError(f"wanted positives of one length, got {len(lengths)} lengths")
    if n < 0 or padding < 0 or (candidates is not None and candidates < 1):
        raise DatasetError(
            f"wanted n and padding of at least 0 and candidates of at least 1, got {n}, {padding}, {candidates}"
        )
    if not 0 <= max_unknown <= 1:
        raise DatasetError(f"wanted a share of unknown letters between 0 and 1, got max_unknown={max_unknown}")
