"""The trained models that `benchmarks.engine` measures on: random weights forget faster or slower than learnt ones.

For each size a language model of E. coli without its held-out stretches, then two classifiers of gene starts (windows
of 150 bp and of 1 kb, negatives from gene bodies). They are trained for a few minutes: enough for recurrent weights
that have learnt, not for figures to be proud of. Steps, not minutes, go into the card.

    python -m benchmarks.engine_models OUT --minutes 15
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
WINDOWS = {"150": (100, 50), "1k": (500, 500)}  # bp upstream and downstream of the start


@dataclass(frozen=True)
class Lessons:
    """What the classifiers of one size learn from: records of each window, and passes over them."""

    records: dict[str, int]
    epochs: int


SIZES = {"small": Lessons({"150": 6000, "1k": 1200}, 2), "base": Lessons({"150": 600, "1k": 200}, 1)}


def steps_in(minutes: float, genome: gu.Genome, size: str, held_out: list[gu.Interval]) -> int:
    """Find how many steps of pretraining this machine makes in so many minutes."""
    seconds = []
    for steps in (2, 2, 12):  # the first pays for imports
        began = perf_counter()
        gu.pretrain(genome, config=size, exclude=held_out, max_steps=steps, valid_fraction=0, progress=False)
        seconds.append(perf_counter() - began)
    return max(10, int(minutes * 60 / ((seconds[2] - seconds[1]) / 10)))


def some(records: list[SeqRecord], n: int) -> list[SeqRecord]:
    """Draw `n` records of the training part, and a fifth as many to check on."""
    rng = np.random.default_rng(0)
    chosen = []
    for split, most in (("train", n), ("valid", n // 5)):
        part = [record for record in records if record.annotations["split"] == split]
        chosen += [part[i] for i in sorted(rng.permutation(len(part))[:most])]
    return chosen


def make(size: str, minutes: float, out: Path) -> None:
    """Train one size's models and say what they reached."""
    genome, annotation = gu.Genome(FIXTURES / "NC_000913.3.fasta.gz"), FIXTURES / "NC_000913.3.gbk.gz"
    starts, genes = gu.read_tss(annotation), gu.read_genes(annotation)
    regions = gu.split_genome(genome.chrom_sizes, "region")
    held_out = [region for region in regions if region.name != "train"]
    steps = steps_in(minutes, genome, size, held_out)
    dropped = 0.1  # a few minutes never overfit, and the paper's dropouts only slow them down
    lm = gu.pretrain(genome, config=size, exclude=held_out, max_steps=steps, drop_mult=dropped, progress=False)
    gu.save(lm, out / f"{size}-lm.safetensors")
    bits = lm.card["stages"][-1]["valid_bits_per_base"]
    print(f"{size}: {steps} steps of 64 x 70 k-mers, {bits:.3f} bits per base on held-out sequence", flush=True)
    for name, (upstream, downstream) in WINDOWS.items():
        records = gu.promoter_dataset(
            genome,
            starts,
            upstream=upstream,
            downstream=downstream,
            negatives="gene-body",
            genes=genes,
            split=regions,
            label="gene_start",
        )
        lessons = SIZES[size]
        chosen = some(records, lessons.records[name])
        classifier = gu.train_classifier(lm, chosen, epochs=lessons.epochs, progress=False)
        gu.save(classifier, out / f"{size}{name}.safetensors")
        tested = [record for record in records if record.annotations["split"] == "test"][::4]
        mcc = gu.evaluate(classifier, tested, baselines=False).mcc
        print(f"{size}{name}: {len(chosen)} records, MCC {mcc:.2f} on {len(tested)} held-out ones", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the models; made if it isn't there")
    parser.add_argument("--minutes", type=float, default=15, help="of pretraining each size")
    parser.add_argument("--only", choices=list(SIZES), help="one size")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for size in [options.only] if options.only else SIZES:
        make(size, options.minutes, options.out)


if __name__ == "__main__":
    main()
