"""k-mer encoding of E. coli's 4.64 Mbp: the package's way against strings and a dictionary, in alternating rounds."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

import genomic_ulmfit as gu

GENOME = Path(__file__).parents[1] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
ROUNDS = 5


def naive(text: str, k: int, stride: int) -> np.ndarray:
    """Count the k-mers as strings, number them, look each up: what the notebooks did."""
    kmers = [text[i : i + k] for i in range(0, len(text) - k + 1, stride)]
    Counter(kmers)
    number = {"".join(kmer): i + 2 for i, kmer in enumerate(product("ACGT", repeat=k))}
    return np.array([number.get(kmer, 1) for kmer in kmers])


def timed(function, *arguments) -> tuple[float, np.ndarray]:
    began = perf_counter()
    result = function(*arguments)
    return perf_counter() - began, result


def main() -> None:
    genome = gu.Genome(GENOME)
    ((chrom, size),) = genome.chrom_sizes.items()
    text = genome.sequence(chrom, 0, size)
    print(f"{'k':>2} {'stride':>6} {'naive s':>9} {'ours s':>9} {'ratio':>7}")
    for k, stride in ((3, 1), (5, 2)):
        vocab = gu.KmerVocab(k, stride)
        slow, fast = [], []
        for _ in range(ROUNDS):
            seconds, expected = timed(naive, text, k, stride)
            slow.append(seconds)
            seconds, found = timed(vocab.encode, text)
            fast.append(seconds)
            if not np.array_equal(expected, found):
                raise SystemExit("the two ways disagree")
        ratio = median(a / b for a, b in zip(slow, fast, strict=True))
        print(f"{k:>2} {stride:>6} {median(slow):>9.3f} {median(fast):>9.4f} {ratio:>7.1f}")


if __name__ == "__main__":
    main()
