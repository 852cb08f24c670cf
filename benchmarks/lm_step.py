"""A step of language-model training against fastai's stock loop: same sizes, same batches, interleaved rounds.

    python -m benchmarks.lm_step                        # speed, all sizes
    python -m benchmarks.lm_step --profile --size base  # where the time goes
    python -m benchmarks.lm_step --accuracy 2080        # is bf16 as good as float32 after so many steps?

The peer is `language_model_learner(dls, AWD_LSTM)` with our config's sizes and dropouts, the callbacks it comes with,
no progress bar, and its `fit_one_cycle` over its own `LMDataLoader`. Ours is `fit_language_model` over an `LMStream`.
Both read the same *E. coli* k-mers, 64 rows of 70. A round is one fit of a few steps; what is timed is the way from
the loop's asking for the second batch to its asking for the last, so loading, loss, clipping and optimiser are in, and
what is set up once is out. The rates of plain matrix products that stand beside are those of the same round.

On a machine that others use, ``--cpu-time`` with ``--threads 1`` gives steadier figures: seconds of processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import mkldnn

import genomic_ulmfit as gu
from genomic_ulmfit.net.awd_lstm import SIZES, AWDLSTMConfig, LanguageModel
from genomic_ulmfit.net.batches import LMBatch, LMStream
from genomic_ulmfit.net.engine import Precision, best_device
from genomic_ulmfit.net.learner import Recipe
from genomic_ulmfit.net.lm_training import fit_language_model
from genomic_ulmfit.net.memory import recycled_memory
from genomic_ulmfit.pretraining import bits_per_base

GENOME = Path(__file__).parents[1] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
VOCAB = gu.KmerVocab(k=3, stride=1)
BATCH, BPTT = 64, 70
STEPS = {"small": 12}  # timed in a round; 3 of larger nets
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

Clock = Callable[[], float]


class Stamps:
    """The times at which a training loop asks for its batches."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.times = clock, list[float]()

    def over(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self.times.append(self.now())
            yield batch

    def now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return self.clock()

    def seconds_per_step(self) -> float:
        return (self.times[-1] - self.times[1]) / (len(self.times) - 2)


class StampedStream(LMStream):
    """Our batches, each asked for at a known time."""

    stamps: Stamps

    def batches(self, start: int = 0) -> Iterator[LMBatch]:
        batches = super().batches(start)  # asked for when it is made, too: before there are stamps
        return self.stamps.over(batches) if hasattr(self, "stamps") else batches


def ours(ids: np.ndarray, config: AWDLSTMConfig, precision: Precision, steps: int, clock: Clock) -> float:
    """Return seconds a step of `fit_language_model`."""
    torch.manual_seed(0)
    stream = StampedStream([ids], batch_size=BATCH, bptt=BPTT, steps=steps + 2, shuffle=False)
    stream.stamps = Stamps(clock)
    recipe = Recipe(lr=1e-3, precision=precision, progress=False)
    fit_language_model(LanguageModel(VOCAB, config), stream, None, epochs=1, recipe=recipe)
    return stream.stamps.seconds_per_step()


def fastai_learner(dls: Any, config: AWDLSTMConfig) -> Any:
    """Return fastai's Learner of a config of ours."""
    from fastai.text.all import AWD_LSTM, awd_lstm_lm_config, language_model_learner

    theirs = awd_lstm_lm_config | {
        "emb_sz": config.n_embedding,
        "n_hid": config.n_hidden,
        "n_layers": config.n_layers,
        "input_p": config.hidden_p,
        "hidden_p": config.hidden_p,
        "output_p": config.output_p,
        "embed_p": config.embedding_p,
        "weight_p": config.weight_p,
        "pad_token": 0,
    }
    return language_model_learner(dls, AWD_LSTM, config=theirs, drop_mult=config.drop_mult, pretrained=False)


def peer(ids: np.ndarray, config: AWDLSTMConfig, steps: int, clock: Clock) -> float:
    """Return seconds a step of fastai's loop."""
    from fastai.text.all import DataLoaders, LMDataLoader

    class Loader(LMDataLoader):
        def __iter__(self) -> Iterator[Any]:
            return stamps.over(super().__iter__())

    torch.manual_seed(0)
    stamps = Stamps(clock)
    text = [torch.from_numpy(ids[: BATCH * BPTT * (steps + 2) + 1].astype(np.int64))]
    device = best_device()
    train, valid = Loader(text, bs=BATCH, seq_len=BPTT, device=device), LMDataLoader(text, bs=BATCH, device=device)
    dls = DataLoaders(train, valid, device=device)
    dls.vocab = [str(i) for i in range(len(VOCAB))]
    learner = fastai_learner(dls, config)
    if device.type == "cuda":
        learner.to_fp16()
    learner._do_epoch_validate = lambda *_, **__: None  # not part of a step
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, 1e-3)
    return stamps.seconds_per_step()


def flops_per_step(config: AWDLSTMConfig) -> int:
    """Count multiplications and additions of the matrix products: forward, and twice as many backward."""
    lstm = sum(8 * n_out * (n_in + n_out) for n_in, n_out in pairwise(config.widths))
    return 3 * BATCH * BPTT * (lstm + 2 * config.n_embedding * len(VOCAB))


def product_rates(config: AWDLSTMConfig, clock: Clock) -> dict[str, float]:
    """Return FLOP/s of a plain product of the widest layer's size; in float32 through torch's `mm` and oneDNN."""
    n, rows, device = -(-config.n_hidden // 64) * 64, BATCH * 16, best_device()
    a, b = (torch.randn(shape, device=device) for shape in ((rows, n), (n, 4 * n)))
    products: dict[str, Callable[[], Any]] = {
        "fp32 mm": partial(torch.mm, a, b),
        "bf16 mm": partial(torch.mm, a.bfloat16(), b.bfloat16()),
    }
    if device.type == "cpu":
        linear = mkldnn.to_mkldnn(torch.nn.Linear(n, 4 * n).requires_grad_(False).eval())
        products["fp32 oneDNN"] = partial(linear, a.to_mkldnn())
    return {name: 2 * rows * n * 4 * n / seconds_of(product, clock) for name, product in products.items()}


def seconds_of(run: Callable[[], Any], clock: Clock, times: int = 3) -> float:
    stamps = Stamps(clock)
    list(stamps.over(run() for _ in range(times + 1)))
    return min(b - a for a, b in pairwise(stamps.times))


def bare_step(model: LanguageModel, ids: Tensor, targets: Tensor, bf16: bool) -> None:
    """Forward and backward, without regularisation, clipping, optimiser and loop."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16):
        logits = model(ids).logits
    torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten()).backward()


def bare(ids: np.ndarray, config: AWDLSTMConfig, precision: Precision, steps: int, clock: Clock) -> float:
    """Return seconds a bare step."""
    torch.manual_seed(0)
    device = best_device()
    model = LanguageModel(VOCAB, config).to(device)
    block = torch.from_numpy(ids[: BATCH * (BPTT + 1)].astype(np.int64)).view(BATCH, -1).to(device)
    step = partial(bare_step, model, block[:, :-1].contiguous(), block[:, 1:].contiguous(), precision == "bf16")
    stamps = Stamps(clock)
    with recycled_memory():
        list(stamps.over(step() for _ in range(steps + 1)))
    return (stamps.times[-1] - stamps.times[0]) / steps


def speed(size: str, ids: np.ndarray, rounds: int, steps: int, clock: Clock) -> None:
    """Print medians and ratios of interleaved rounds."""
    config = SIZES[size]
    ways: dict[str, Callable[[], float]] = {"fastai": partial(peer, ids, config, steps, clock)}
    ways |= {p: partial(ours, ids, config, p, steps, clock) for p in PRECISIONS}
    ways |= {f"{p} bare": partial(bare, ids, config, p, steps, clock) for p in PRECISIONS}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    rates: list[dict[str, float]] = []
    for _ in range(rounds):
        rates.append(product_rates(config, clock))
        for way, run in ways.items():
            seconds[way].append(run())
    peaks = {name: median(rate[name] for rate in rates) for name in rates[0]}
    flops = flops_per_step(config)
    print(f"\n{size}: {flops / 1e9:.1f} GFLOP a step of {BATCH} x {BPTT}; {rounds} rounds of {steps} steps")
    print("    plain products: " + ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in peaks.items()))
    for way, found in seconds.items():
        ratio = median(a / b for a, b in zip(seconds["fastai"], found, strict=True))
        best = max(rate for name, rate in peaks.items() if name.startswith("bf16" if "bf16" in way else "fp32"))
        rate = flops / median(found)
        print(
            f"    {way:10s} {median(found) * 1e3:8.1f} ms  {BATCH * BPTT / median(found):9,.0f} tokens/s"
            f"  {ratio:5.2f} x  {rate / 1e9:6.0f} GFLOP/s, {rate / best:4.0%} of the product's rate"
        )
    bound = median(seconds["fastai"]) * peaks["bf16 mm"] / flops
    print(f"    products alone at the bf16 rate would be {bound:.2f} x", flush=True)


def profile(size: str, ids: np.ndarray, steps: int, clock: Clock) -> None:
    """Print where our loop's time goes, by torch operator."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    for precision in PRECISIONS:
        ours(ids, SIZES[size], precision, 2, clock)
        with profiler(activities=[ProfilerActivity.CPU]) as found:
            ours(ids, SIZES[size], precision, steps, clock)
        print(f"\n{size} {precision}, {steps + 2} steps")
        print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=48))


def accuracy(size: str, ids: np.ndarray, steps: int, seed: int) -> None:
    """Print bits per base after the same steps: float32, float32 from weights changed by .1 %, bf16.

    The second says how far two trainings are apart that differ by next to nothing.
    """
    cut = len(ids) - len(ids) // 50
    ways: list[tuple[str, Precision, float]] = [
        ("fp32", "fp32", 0.0),
        ("fp32, changed", "fp32", 1e-3),
        ("bf16", "bf16", 0.0),
    ]
    for way, precision, change in ways:
        torch.manual_seed(seed)
        model = LanguageModel(VOCAB, SIZES[size])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + change * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        train = LMStream([ids[:cut]], batch_size=BATCH, bptt=BPTT, steps=steps, seed=seed)
        valid = LMStream([ids[cut:]], batch_size=BATCH, bptt=BPTT, shuffle=False)
        recipe = Recipe(lr=1e-2, precision=precision, progress=False)
        last = fit_language_model(model, train, valid, epochs=1, recipe=recipe).rows[-1]
        bits = [f"{name} {bits_per_base(last[name], VOCAB.stride):.4f} bits" for name in ("train_loss", "valid_loss")]
        print(f"{size} {way} after {steps} steps: {', '.join(bits)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", action="append", choices=list(SIZES), help="all if not given")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="timed in a round")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time; with one thread only")
    parser.add_argument("--profile", action="store_true", help="print where our time goes instead")
    parser.add_argument("--accuracy", type=int, metavar="STEPS", help="compare what is learnt instead")
    parser.add_argument("--seed", type=int, default=0, help="of --accuracy")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.cpu_time and torch.get_num_threads() > 1:
        parser.error("--cpu-time adds up the threads, waiting too: give --threads 1")
    clock = time.process_time if options.cpu_time else time.perf_counter
    ((chrom, n),) = gu.Genome(GENOME).chrom_sizes.items()
    ids = VOCAB.encode(gu.Genome(GENOME).sequence(chrom, 0, n))
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{best_device()}, {torch.get_num_threads()} threads, {capability}, torch {torch.__version__}")
    for size in options.size or list(SIZES):
        steps = options.steps or STEPS.get(size, 3)
        if options.accuracy:
            accuracy(size, ids, options.accuracy, options.seed)
        elif options.profile:
            profile(size, ids, steps, clock)
        else:
            speed(size, ids, options.rounds, steps, clock)


if __name__ == "__main__":
    main()
