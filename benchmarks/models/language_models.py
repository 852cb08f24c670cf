"""The bacterial language models: k-mers of 21 genomes, without what anything is tested on.

    python -m benchmarks.models.language_models OUT --data DIR --only small-forward

DIR holds `bacteria/`, genomes as FASTA and GenBank files; *E. coli* K-12 MG1655 is in the fixtures. The card of a model
lists what was read, by accession and sha256. Left out are the validation and test stretches of MG1655 (its last fifth)
and, from all genomes, every block of 1 kb that shares a 25-mer with them: relatives carry them letter for letter.
*Listeria* is left out whole: the loss is reported on it.

A training that was stopped goes on when the command is given again, with the same precision and thread count.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import genomic_ulmfit as gu

GENOME = Path(__file__).parents[2] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
CHECKED = "Listeria_*"
DIRECTIONS = ("forward", "backward")
SIZES = ("small", "medium")
PASSES = 0.5  # over both strands of all genomes: as many k-mers as the genomes have
NAMES = [f"{size}-{direction}" for size in SIZES for direction in DIRECTIONS]
BATCH_SIZE, BPTT, RATE = 128, 70, 1e-2


def make(name: str, data: Path, path: Path, minutes: float) -> None:
    """Train one language model, or go on with it."""
    size, direction = name.split("-")
    mg1655 = gu.Genome(GENOME)
    held_out = [region for region in gu.split_genome(mg1655.chrom_sizes, "region") if region.name != "train"]
    files = sorted(path for path in (data / "bacteria").iterdir() if path.name.split(".")[1] in ("fna", "gbk", "gb"))
    checked = sorted((data / "bacteria").glob(CHECKED))
    learnt = [mg1655, *(gu.Genome(path) for path in files if path not in checked)]
    bases = sum(sum(genome.chrom_sizes.values()) for genome in learnt)
    model = gu.pretrain(
        learnt,
        direction=direction,
        config=size,
        max_steps=round(2 * PASSES * bases / (BATCH_SIZE * BPTT)),
        exclude=held_out,
        exclude_similar=[mg1655.fetch(region) for region in held_out],
        valid_genomes=checked,
        batch_size=BATCH_SIZE,
        bptt=BPTT,
        lr=RATE,
        precision="bf16",
        checkpoint=path.with_suffix(".checkpoint"),
        checkpoint_minutes=minutes,
        resume=True,
        cache=path.parent / "cache",
        log_file=path.with_suffix(".csv"),
    )
    model.card |= {"name": f"bacteria-{name}", "summary": f"{len(learnt)} bacterial genomes, read {direction}"}
    gu.save(model, path, precision="fp16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the models; made if it isn't there")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=NAMES, action="append", help="repeatable; all if not given")
    parser.add_argument("--checkpoint-minutes", type=float, default=5)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or NAMES:
        path = options.out / f"{name}.safetensors"
        if not path.exists():
            make(name, options.data, path, options.checkpoint_minutes)
        print(f"{path}: {gu.load(path).card['stages'][-1]['valid_bits_per_base']:.4f} bits per base of {CHECKED}")


if __name__ == "__main__":
    main()
