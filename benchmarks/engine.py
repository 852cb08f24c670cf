"""Prediction against fastai on the same weights, and sharing against every copy in full: time, and worst difference.

    python -m benchmarks.engine_models MODELS
    python -m benchmarks.engine --models MODELS

Each row is timed in rounds that alternate between the peer and us. Where all of a row would take hours, a part is timed
and the time scaled by k-mers; the table says which part. `share` is the time that the matrix products alone would have
taken, at the best rate measured here for products of the model's sizes, for the k-mers that were run.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.fastai_peer import PEER_BATCH, FastaiPeer
from genomic_ulmfit.errors import PrecisionError
from genomic_ulmfit.net import engine
from genomic_ulmfit.net.engine import best_device, softmax
from genomic_ulmfit.net.perturbed import Edits, forward_copies
from genomic_ulmfit.scanning import window_at

GENOME = Path(__file__).parents[1] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
FEWEST_WINDOWS = 4000  # of a scan: what is read both ways at first is to be little beside them
PRODUCTS = 4  # timed together for a rate
SCANNED = (1_000_000, 200_000)  # start and length, bp
TIMED_KMERS = {"small": (100_000, 600_000), "base": (30_000, 60_000)}  # by the peer and by us, about, in a round


@dataclass
class Row:
    """One line of the table: what is done, how much of it, by whom.

    Attributes
    ----------
    name, model, against : str
        What the line says.
    n : int
        Units of work (windows, copies, records) in the whole row.
    n_peer, n_ours : int
        Units that are timed.
    peer : callable of int
        Does so many units.
    ours : callable of (int, precision)
        The same.
    worst : callable of (what the peer gave, what we gave, precision)
        The largest difference of probability.
    kmers : callable of int
        k-mers in the first units, each unit in full.
    """

    name: str
    model: str
    against: str
    n: int
    n_peer: int
    n_ours: int
    peer: Callable[[int], Any]
    ours: Callable[[int, str], Any]
    worst: Callable[[Any, Any, str], float]
    kmers: Callable[[int], int]


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = perf_counter()
    result = function(*arguments)
    return perf_counter() - began, result


def part(n: int, kmers_each: float, budget: int, *, batch: int = 2) -> int:
    """Return how many units of work keep within a budget of k-mers: whole batches, one at least."""
    return min(n, max(1, int(budget / kmers_each) // batch) * batch)


def scan_row(size: str, window: str, step: int, models: Path) -> Row:
    """Both strands of 200 kb, window by window through fastai, or by `scan`."""
    model, genome = gu.load(models / f"{size}{window}.safetensors", gu.Classifier), gu.Genome(GENOME)
    (chrom,) = genome.chrom_sizes
    peer = FastaiPeer(model)
    each = model.vocab.n_kmers(model.window or 0)

    def windows(n: int) -> list[str]:
        middles = SCANNED[0] + step * np.arange(n // 2) + step // 2
        places = [gu.Interval(chrom, int(at), int(at) + 1, strand=strand) for strand in "+-" for at in middles]
        return [str(genome.fetch(window_at(model, place)).seq) for place in places]

    def theirs(n: int) -> np.ndarray:
        return peer(windows(n))[:, model.target_index()].reshape(2, -1)

    def ours(n: int, precision: str) -> np.ndarray:
        region = gu.Interval(chrom, SCANNED[0], SCANNED[0] + n // 2 * step)
        blocks = list(gu.scan(model, genome, regions=[region], step=step, strands="both", **in_precision(precision)))
        return np.stack([np.concatenate([b.scores for b in blocks if b.strand == strand]) for strand in "+-"])

    n = 2 * SCANNED[1] // step
    most_theirs, most_ours = TIMED_KMERS[size]
    return Row(
        name=f"scan 200 kb, both strands, {model.window} bp, step {step}",
        model=size,
        against="fastai get_preds",
        n=n,
        n_peer=part(n, each, most_theirs, batch=PEER_BATCH),
        n_ours=max(FEWEST_WINDOWS, part(n, each, most_ours)),
        peer=theirs,
        ours=ours,
        worst=lambda a, b, _: worst_of(a, b[:, : a.shape[1]]),
        kmers=lambda n: n * each,
    )


def saliency_row(size: str, models: Path) -> Row:
    """Every offset of a 1 kb record: all copies in full through fastai, or `saliency`.

    All copies cost the peer the same, so it runs a few with one other base; we run those of length 10.
    """
    model, genome = gu.load(models / f"{size}1k.safetensors", gu.Classifier), gu.Genome(GENOME)
    (chrom,) = genome.chrom_sizes
    record = genome.fetch(gu.Interval(chrom, SCANNED[0], SCANNED[0] + 1000, strand="+"))
    lengths, draws = (1, 5, 10), 3
    peer, text, each = FastaiPeer(model), str(record.seq), model.vocab.n_kmers(len(record))
    of_a_draw = len(record) - lengths[-1] + 1
    rng = np.random.default_rng(0)
    at = rng.permutation(len(text))
    other = np.frombuffer("".join(rng.choice(list("ACGT".replace(text[i], ""))) for i in at).encode(), np.uint8)

    def theirs(n: int) -> np.ndarray:
        copies = [text[:i] + chr(base) + text[i + 1 :] for i, base in zip(at[:n], other[:n], strict=True)]
        return peer(copies)[:, model.target_index()]

    def ours(n: int, precision: str) -> list[gu.Saliency]:
        draws = max(1, n // of_a_draw)
        return gu.saliency(model, [record], lengths=lengths[-1:], draws=draws, **in_precision(precision))

    def worst(a: np.ndarray, _: object, precision: str) -> float:
        sequence = np.frombuffer(text.encode(), np.uint8)
        edits = Edits.of(model.vocab, sequence, at[: len(a)], other[: len(a), None])
        work = [(model.vocab.encode(text), [edits])]
        (found,) = forward_copies(model, work, **in_precision(precision))
        return worst_of(a, softmax(found.copies[0])[:, model.target_index()])

    return Row(
        name="saliency of 1 kb, lengths 1, 5, 10",
        model=size,
        against="every copy in full, fastai",
        n=sum(draws * (len(record) - length + 1) for length in lengths),
        n_peer=part(len(text), each, TIMED_KMERS[size][0], batch=PEER_BATCH),
        n_ours=of_a_draw * (draws if size == "small" else 1),
        peer=theirs,
        ours=ours,
        worst=worst,
        kmers=lambda n: n * each,
    )


def mutagenesis_row(size: str, models: Path) -> Row:
    """100 records of 250 bp, all other bases everywhere: our engine with every copy in full, or sharing."""
    model, genome = gu.load(models / f"{size}150.safetensors", gu.Classifier), gu.Genome(GENOME)
    (chrom,) = genome.chrom_sizes
    starts = SCANNED[0] + 2000 * np.arange(100)
    records = [genome.fetch(gu.Interval(chrom, int(start), int(start) + 250, strand="+")) for start in starts]
    each = 750 * model.vocab.n_kmers(250)

    def theirs(n: int) -> list[np.ndarray]:
        return gu.mutagenesis(model, records[:n], exact=True)

    def worst(a: list[np.ndarray], b: list[np.ndarray], _: str) -> float:
        whole = odds(gu.predict_proba(model, records[: len(a)])[:, model.target_index()])
        return max(
            worst_of(probability(start + x), probability(start + y))
            for start, x, y in zip(whole, a, b[: len(a)], strict=True)
        )

    return Row(
        name="mutagenesis of 100 records of 250 bp",
        model=size,
        against="every copy in full, ours",
        n=len(records),
        n_peer=part(len(records), each, TIMED_KMERS[size][0]),
        n_ours=part(len(records), each / 2, TIMED_KMERS[size][1]),
        peer=theirs,
        ours=lambda n, precision: gu.mutagenesis(model, records[:n], **in_precision(precision)),
        worst=worst,
        kmers=lambda n: n * each,
    )


def prediction_row(size: str, models: Path) -> Row:
    """10,000 records of 50 to 2,000 bp, padded by fastai, or `predict_proba`."""
    model, genome = gu.load(models / f"{size}1k.safetensors", gu.Classifier), gu.Genome(GENOME)
    (chrom, chrom_size), *_ = genome.chrom_sizes.items()
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 2001, 10_000)
    starts = rng.integers(0, chrom_size - 2000, 10_000)
    texts = [genome.sequence(chrom, int(a), int(a + n)) for a, n in zip(starts, lengths, strict=True)]
    records = [SeqRecord(Seq(text), id=str(i)) for i, text in enumerate(texts)]
    kmers = np.cumsum([model.vocab.n_kmers(int(n)) for n in lengths])
    peer = FastaiPeer(model)

    def worst(_: object, b: np.ndarray, __: str) -> float:
        alone = np.concatenate([peer([text]) for text in texts[:32]])
        return worst_of(alone, b[: len(alone)])

    return Row(
        name="10,000 records of 50 to 2,000 bp",
        model=size,
        against="fastai get_preds; difference: alone",
        n=len(records),
        n_peer=part(len(records), kmers.mean() / 5000, TIMED_KMERS[size][0], batch=PEER_BATCH),
        n_ours=part(len(records), kmers.mean() / 5000, TIMED_KMERS[size][1]),
        peer=lambda n: peer(texts[:n]),
        ours=lambda n, precision: gu.predict_proba(model, records[:n], **in_precision(precision)),
        worst=worst,
        kmers=lambda n: int(kmers[n - 1]),
    )


def in_precision(precision: str) -> dict[str, Any]:
    return {} if precision == "fp32" else {"precision": precision}


def worst_of(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.nanmax(np.abs(a - b)))


def odds(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


def probability(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds.astype(np.float64)))


class Heard(logging.Handler):
    """What the engine says of itself, and the k-mers that it says it ran."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.kmers_run = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.kmers_run += getattr(record, "kmers_run", 0)


@dataclass
class Timing:
    """One way of doing a row: seconds of all rounds scaled to the whole row, result, and what was heard."""

    seconds: list[float]
    result: Any
    heard: Heard


@contextmanager
def taken_all_the_same() -> Iterator[None]:
    """Let bf16 be timed where the check of its drift refuses it; what the engine says still tells the drift."""
    limits = engine._MOST_DRIFT, engine._MEAN_DRIFT
    engine._MOST_DRIFT = engine._MEAN_DRIFT = np.inf
    try:
        yield
    finally:
        engine._MOST_DRIFT, engine._MEAN_DRIFT = limits


def refused(row: Row, precision: str) -> str:
    """Say whether the check of its drift lets a user have this precision."""
    try:
        row.ours(2, precision)
    except PrecisionError as error:
        return f"refused to users: {error}"
    return ""


def measure(row: Row, rounds: int, precisions: list[str]) -> dict[str, Timing]:
    """Time a row's ways in turn, round after round."""
    ways: dict[str, tuple[Callable[[], Any], int]] = {"peer": (lambda: row.peer(row.n_peer), row.n_peer)}
    ways |= {p: (partial(row.ours, row.n_ours, p), row.n_ours) for p in precisions}
    found = {way: Timing([], None, Heard()) for way in ways}
    row.peer(2)  # its first batch pays for what is set up once
    log = logging.getLogger("genomic_ulmfit")
    for _ in range(rounds):
        for way, (run, n) in ways.items():
            timing = found[way]
            timing.heard = Heard()
            log.addHandler(timing.heard)
            with taken_all_the_same():
                seconds, timing.result = timed(run)
            log.removeHandler(timing.heard)
            timing.seconds.append(seconds * row.kmers(row.n) / row.kmers(n))
    return found


def peak(model: gu.Classifier, dtype: torch.dtype) -> float:
    """Return the best rate of matrix products of a model's sizes, in FLOP/s."""
    device = best_device()
    rates = []
    for n_in, n_out in pairwise(model.config.widths):
        for rows in (256, 1024):
            padded = [-(-n // 64) * 64 for n in (n_in + n_out, 4 * n_out)]
            a, b = (torch.randn(shape, device=device).to(dtype) for shape in ((rows, padded[0]), padded))
            for one in (torch.mm, *([onednn(b)] if device.type == "cpu" else [])):
                times = [timed(products, one, a, b)[0] / PRODUCTS for _ in range(5)]
                rates.append(2 * rows * padded[0] * padded[1] / min(times))
    return max(rates)


def onednn(b: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Make oneDNN's product with `b` in its own layout: in float32 MKL's, which torch takes, is slow on some CPUs."""
    packed = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), 256)
    return lambda a, _: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")


def products(one: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> None:
    for _ in range(PRODUCTS):
        one(a, b)
    if a.is_cuda:
        torch.cuda.synchronize()


def flops_per_kmer(model: gu.Classifier) -> int:
    """Count what the LSTM's products need for a k-mer, layer 1's input being looked up."""
    first, *others = pairwise(model.config.widths)
    return 8 * (first[1] ** 2 + sum(n_out * (n_in + n_out) for n_in, n_out in others))


def report(row: Row, found: dict[str, Timing], peaks: dict[str, float], flops: int) -> str:
    """Say what a row's rounds gave."""
    peer = found["peer"]
    lines = [
        f"{row.name}, {row.model}, against {row.against}",
        f"    peer: {median(peer.seconds):9.1f} s, {row.n_peer:,} of {row.n:,} units timed",
    ]
    for precision, ours in list(found.items())[1:]:
        fraction = row.kmers(row.n_ours) / row.kmers(row.n)
        ratio = median(a / b for a, b in zip(peer.seconds, ours.seconds, strict=True))
        text = f"    {precision}: {median(ours.seconds):9.1f} s, {row.n_ours:,} timed; {ratio:5.1f} x"
        text += f", worst difference {row.worst(peer.result, ours.result, precision):.1e}"
        run = ours.heard.kmers_run or row.kmers(row.n_ours)  # it says nothing where all are run
        share = run * flops / peaks[precision] / (median(ours.seconds) * fraction)
        text += f", {run / row.kmers(row.n_ours):.0%} of the k-mers run, at {share:.0%} of the products' rate"
        said = [*ours.heard.lines[-4:], refused(row, precision)]
        lines += [text, *(f"        {line}" for line in dict.fromkeys(said) if line)]
    return "\n".join(lines)


def rows(models: Path) -> dict[str, Callable[[], Row]]:
    """Name the rows; each is made when its turn comes."""
    found: dict[str, Callable[[], Row]] = {}
    for size in ("small", "base"):
        found |= {
            f"scan150-{size}": partial(scan_row, size, "150", 10, models),
            f"scan1k-{size}": partial(scan_row, size, "1k", 25, models),
            f"saliency-{size}": partial(saliency_row, size, models),
            f"mutagenesis-{size}": partial(mutagenesis_row, size, models),
            f"predict-{size}": partial(prediction_row, size, models),
        }
    return found


def whole_genome(models: Path, precisions: list[str]) -> None:
    """Scan both strands of E. coli."""
    model, genome = gu.load(models / "small150.safetensors", gu.Classifier), gu.Genome(GENOME)
    for precision in precisions:
        began = perf_counter()
        with taken_all_the_same():
            n = sum(len(b.scores) for b in gu.scan(model, genome, step=10, strands="both", **in_precision(precision)))
        minutes = (perf_counter() - began) / 60
        print(f"whole genome, both strands, step 10, small, {precision}: {minutes:.1f} min, {n:,} windows", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, required=True, help="folder that benchmarks.engine_models has filled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", help="a row; may be given several times")
    parser.add_argument("--quick", action="store_true", help="one round of small parts: to see that it runs")
    parser.add_argument("--precision", action="append", choices=["fp32", "bf16"], help="both if not given")
    parser.add_argument("--genome", action="store_true", help="scan the whole genome instead")
    options = parser.parse_args()
    precisions = options.precision or ["fp32", "bf16"]
    if options.genome:
        return whole_genome(options.models, precisions)
    if options.quick:
        TIMED_KMERS.update(small=(20_000, 60_000), base=(4_000, 12_000))
    logging.getLogger("genomic_ulmfit").setLevel(logging.INFO)
    device = best_device()
    units = torch.backends.cpu.get_cpu_capability()
    amx = "with" if torch.cpu.get_capabilities().get("amx_bf16") else "without"
    print(f"{device}, {torch.get_num_threads()} threads, {units}, {amx} AMX, torch {torch.__version__}")
    for name, make in rows(options.models).items():
        if options.only and name not in options.only:
            continue
        row = make()
        model = gu.load(options.models / f"{row.model}150.safetensors", gu.Classifier)
        peaks = {"fp32": peak(model, torch.float32), "bf16": peak(model, torch.bfloat16)}
        found = measure(row, 1 if options.quick else options.rounds, precisions)
        print(
            f"\n[{name}] products of {row.model}: " + ", ".join(f"{p} {x / 1e9:,.0f} GFLOP/s" for p, x in peaks.items())
        )
        print(report(row, found, peaks, flops_per_kmer(model)), flush=True)
    return None


if __name__ == "__main__":
    main()
