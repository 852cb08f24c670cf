"""Encoding: how fast k-mers become ids, and how much memory a large chromosome takes on its way to training.

Speed is E. coli's 4.64 Mbp, the package's way against strings and a dictionary, in alternating rounds.

Memory is that of processes that make the corpus of one random chromosome of 60 Mbp. In one, the most that Python and
numpy hold meanwhile; in another, what the process holds for itself (pages of files don't count) before, after, and
while batches are read. A gzipped FASTA is held in memory until the corpus is made; a plain one is read in place.
"""

from __future__ import annotations

import gzip
import multiprocessing
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import genomic_ulmfit as gu
from genomic_ulmfit.corpus import build_corpus
from genomic_ulmfit.net.batches import LMStream

GENOME = Path(__file__).parents[1] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
ROUNDS = 5
LINES = 1_000_000  # of 60 bases


def naive(text: str, k: int, stride: int) -> np.ndarray:
    """Count the k-mers as strings, number them, look each up: what the notebooks did."""
    kmers = [text[i : i + k] for i in range(0, len(text) - k + 1, stride)]
    Counter(kmers)
    number = {"".join(kmer): i + 2 for i, kmer in enumerate(product("ACGT", repeat=k))}
    return np.array([number.get(kmer, 1) for kmer in kmers])


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = perf_counter()
    result = function(*arguments)
    return perf_counter() - began, result


def speed() -> None:
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


def memory() -> None:
    columns = ("build s", "most MiB", "before", "after", "reading", "file MiB")
    print("\n" + "FASTA   k" + "".join(f"{name:>10}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        for path in _written(Path(folder)):
            for k in (3, 5):
                found = [_apart(function, path, k) for function in (built, most, held)]
                row = [value for values in found for value in values]
                print(f"{path.stem.split('.')[0]:6} {k:>2}" + "".join(f"{value:>10.1f}" for value in row), flush=True)


def _apart(function: Callable[..., tuple[float, ...]], *arguments: Any) -> tuple[float, ...]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def built(path: Path, k: int) -> tuple[float]:
    return (timed(build_corpus, path, gu.KmerVocab(k))[0],)


def most(path: Path, k: int) -> tuple[float]:
    tracemalloc.start()
    build_corpus(path, gu.KmerVocab(k))
    return (tracemalloc.get_traced_memory()[1] / 2**20,)


def held(path: Path, k: int) -> tuple[float, ...]:
    build_corpus(gu.Genome({"c": "ACGT" * 1000}), gu.KmerVocab(k))  # imports
    before = _own_mib()
    corpus = build_corpus(path, gu.KmerVocab(k))
    after = _own_mib()
    reading = max(_own_mib() for _ in islice(LMStream(corpus.train, batch_size=64, bptt=70), 1000))
    return before, after, reading, sum(s.nbytes for s in corpus.train + corpus.valid) / 2**20


def _own_mib() -> float:
    """Return the memory in MiB that this process holds now, without pages of files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def _written(folder: Path) -> list[Path]:
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, (LINES, 61), np.uint8)]
    bases[:, 60] = ord("\n")
    plain, zipped = folder / "plain.fa", folder / "gzip.fa.gz"
    plain.write_bytes(b">c\n" + bases.tobytes())
    zipped.write_bytes(gzip.compress(plain.read_bytes(), 1))
    return [plain, zipped]


if __name__ == "__main__":
    speed()
    memory()
