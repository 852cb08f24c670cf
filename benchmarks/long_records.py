"""Peak memory and time of one training step of a classifier on long records, by how many k-mers send gradients back.

    python -m benchmarks.long_records --bp 20000 100000

Each row is a process of its own: config `small`, k = 3, stride 1, four random records, float32: one of that length
beside three as long, or of 4 kb; "above start" is the peak above what the net and the imports take. What has all k-mers
send gradients back is run up to --whole bp only.
"""

from __future__ import annotations

import argparse
import multiprocessing
from itertools import product
from time import perf_counter

import numpy as np

from benchmarks.genome_memory import _peak

BATCH = 4
SHORT = 4000


def measured(bp: int, others: int, max_backprop: int | None) -> tuple[float, float]:
    """Return seconds of a step and MiB above the start."""
    import torch

    import genomic_ulmfit as gu
    from genomic_ulmfit.net.awd_lstm import SIZES
    from genomic_ulmfit.net.thawed import Thawed

    torch.manual_seed(0)
    net = Thawed(gu.Classifier(gu.KmerVocab(), SIZES["small"], ["background", "x"]), 0, max_backprop).train()

    def step(n: int, n_others: int) -> None:
        ids = torch.from_numpy(np.random.default_rng(0).integers(2, 66, (BATCH, n)))
        output = net(ids, torch.tensor([n] + [n_others] * (BATCH - 1)))
        torch.nn.functional.cross_entropy(output.logits, torch.arange(BATCH) % 2).backward()

    step(100, 100)  # gradients and the library's own buffers
    start, began = _peak(), perf_counter()
    step(bp - 2, others - 2)
    return perf_counter() - began, _peak() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bp", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--tokens", type=int, nargs="+", default=[3500])
    parser.add_argument("--whole", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{'bp':>7} {'beside':>7} {'send gradients':>15} {'seconds':>8} {'MiB above start':>16}")
    for bp in options.bp:
        whole = [(bp, None)] if bp <= options.whole else []
        for others, tokens in [*product((bp, SHORT), options.tokens), *whole]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measured, (bp, others, tokens))
            print(f"{bp:7} {others:7} {tokens or 'all':>15} {seconds:8.1f} {peak:16.0f}", flush=True)


if __name__ == "__main__":
    main()
