"""The language models that ship with the package, and those of the paper's tables: k-mers of genomes.

    python -m benchmarks.models.language_models OUT --data DIR --only bacteria-small

DIR holds `bacteria/`, `human-grch37/` and `gue/`; *E. coli* K-12 MG1655 is in the fixtures. The card of a model lists
what was read, by accession and sha256, and what was left out:

bacteria-*  21 genomes. From all of them is cut what the demo and the tables test on: the validation and test stretches
            of MG1655 (its last fifth) and every block of 1 kb that shares a 25-mer with them, since relatives carry
            them letter for letter. *Listeria* is left out whole: the loss is reported on it.
strict-*    The same without *E. coli* and *Shigella*.
ecoli-*     MG1655 alone, without its last fifth.
human-*     GRCh37 chromosome 20 without blocks of 1 kb that share a 25-mer with a validation or test record of GUE.

A training that was stopped goes on when the command is given again, with the same precision and thread count.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import genomic_ulmfit as gu
from benchmarks.models.cards import described, hardware
from genomic_ulmfit.corpus import build_corpus
from genomic_ulmfit.net.kmers import Direction
from genomic_ulmfit.net.markov import fit_markov

GENOME = Path(__file__).parents[2] / "data" / "fixtures" / "NC_000913.3.fasta.gz"
CHECKED = "Listeria_*"
RELATIVES = ("Escherichia", "Shigella")
BATCH_SIZE, BPTT = 128, 70
# Peak rates by size. `medium` after 95 M k-mers: 1.884 bits per base of *Listeria* with 1e-2, 1.853 with 3e-3.
RATES = {"small": 1e-2, "medium": 3e-3, "base": 3e-3}
BLOCK = 10_000  # bases resampled together in the interval of the bits per base
NOT_FOR = (
    "a claim that it never read a sequence, but for what is cut out below; writing sequences that are meant to work; "
    "judging which variants make ill"
)
SUMMARIES = {
    "bacteria": "k-mers of 21 bacterial genomes",
    "strict": "k-mers of 12 bacterial genomes, no E. coli or Shigella",
    "ecoli": "k-mers of E. coli K-12 MG1655",
    "human": "k-mers of human chromosome 20",
}


@dataclass(frozen=True)
class Corpus:
    """What a model reads, what it is checked on, and what is left out."""

    learnt: list[gu.Genome]
    checked: list[Path] = field(default_factory=list)
    held_out: list[gu.Interval] = field(default_factory=list)
    similar: list[Any] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that `build_corpus` and `pretrain` share."""
        excluded = {"exclude": self.held_out or None, "exclude_similar": self.similar or None}
        return {"genomes": self.learnt, **excluded, "valid_genomes": self.checked}


class Plan(NamedTuple):
    """A language model: its size and reading direction, what it reads, and how often both strands of that."""

    size: str
    direction: Direction
    corpus: str
    passes: float


PLANS = {
    "bacteria-small": Plan("small", "forward", "bacteria", 0.5),
    "bacteria-small-backward": Plan("small", "backward", "bacteria", 0.5),
    "bacteria-medium": Plan("medium", "forward", "bacteria", 0.5),
    "bacteria-base": Plan("base", "forward", "bacteria", 3.0),
    "ecoli-small": Plan("small", "forward", "ecoli", 10.0),
    "strict-small": Plan("small", "forward", "strict", 1.0),
    "human-small": Plan("small", "forward", "human", 1.0),
    "human-small-backward": Plan("small", "backward", "human", 1.0),
    "human-medium": Plan("medium", "forward", "human", 1.0),
}


def corpus_of(kind: str, data: Path) -> Corpus:
    """Open the genomes of a corpus, and say what is left out."""
    if kind == "human":
        gue = [path for part in ("dev", "test") for path in sorted((data / "gue").glob(f"prom_*.{part}.csv.gz"))]
        if not gue:
            raise SystemExit(f"{data / 'gue'}: no prom_*.dev.csv.gz and prom_*.test.csv.gz there to leave out")
        return Corpus([gu.Genome(data / "human-grch37" / "GRCh37_chr20.fa.gz")], similar=gue)
    mg1655 = gu.Genome(GENOME)
    held_out = [region for region in gu.split_genome(mg1655.chrom_sizes, "region") if region.name != "train"]
    if kind == "ecoli":
        return Corpus([mg1655], held_out=held_out)
    files = sorted(path for path in (data / "bacteria").iterdir() if path.name.split(".")[1] in ("fna", "gbk", "gb"))
    checked = sorted((data / "bacteria").glob(CHECKED))
    strict = kind == "strict"
    read = [path for path in files if path not in checked and not (strict and path.name.startswith(RELATIVES))]
    similar = [mg1655.fetch(region) for region in held_out]
    opened = [gu.Genome(path) for path in read]
    return Corpus(opened if strict else [mg1655, *opened], checked, [] if strict else held_out, similar)


def pretrained(plan: Plan, corpus: Corpus, path: Path, minutes: float) -> gu.LanguageModel:
    """Train a language model, or go on with it."""
    bases = sum(sum(genome.chrom_sizes.values()) for genome in corpus.learnt)
    return gu.pretrain(
        **corpus.settings(),
        direction=plan.direction,
        config=plan.size,
        max_steps=round(2 * plan.passes * bases / (BATCH_SIZE * BPTT)),
        batch_size=BATCH_SIZE,
        bptt=BPTT,
        lr=RATES[plan.size],
        precision="bf16",
        checkpoint=path.with_suffix(".checkpoint"),
        checkpoint_minutes=minutes,
        resume=True,
        cache=path.parent / "cache",
        log_file=path.with_suffix(".csv"),
    )


def held_out_bits(model: gu.LanguageModel, corpus: Corpus, cache: Path) -> dict[str, list[float]]:
    """Return bits per base of MG1655's test stretch with a 95 % interval over blocks, and of Markov models there."""
    genome, region = gu.Genome(GENOME), next(region for region in corpus.held_out if region.name == "test")
    bits = np.concatenate([block.scores for block in gu.surprisal(model, genome, regions=[region])])
    blocks = np.array([np.nanmean(bits[i : i + BLOCK]) for i in range(0, len(bits) - BLOCK, BLOCK)])
    drawn = np.random.default_rng(0).choice(blocks, (2000, len(blocks))).mean(axis=1)
    along = gu.KmerVocab(model.vocab.k, model.vocab.stride)
    markov = fit_markov(build_corpus(vocab=along, folder=cache, **corpus.settings()).train, along, order=10)
    ids = [along.encode(str(genome.fetch(region).seq))]
    rivals = {f"Markov order {order}": [markov.bits_per_base(ids, along, order=order)] for order in (5, 10)}
    return {"this model": [float(np.nanmean(bits)), *np.percentile(drawn, [2.5, 97.5])], **rivals}


def make(name: str, data: Path, path: Path, minutes: float) -> gu.LanguageModel:
    """Train a model, write its card and save it with 16 bits a weight."""
    plan = PLANS[name]
    corpus = corpus_of(plan.corpus, data)
    model = gu.load(path, gu.LanguageModel) if path.exists() else pretrained(plan, corpus, path, minutes)
    kind = "human and other vertebrates' sequences" if plan.corpus == "human" else "sequences of bacteria"
    model.card |= {"hardware": hardware(), **model.card} | described(
        name,
        f"{SUMMARIES[plan.corpus]}, read {plan.direction}",
        f"fine-tuning or probing with labelled {kind}; surprisal of their DNA",
        NOT_FOR,
        plan.corpus,
    )
    if corpus.held_out and "held_out_bits_per_base" not in model.card:
        model.card["held_out_bits_per_base"] = held_out_bits(model, corpus, path.parent / "cache")
    gu.save(model, path, precision="fp16")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the models; made if it isn't there")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=list(PLANS), action="append", required=True, help="repeatable")
    parser.add_argument("--checkpoint-minutes", type=float, default=5)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = options.out / f"{name}.safetensors"
        model = make(name, options.data, path, options.checkpoint_minutes)
        print(f"{path}: {model.card['stages'][-1]['valid_bits_per_base']:.4f} bits per base of what was left out")


if __name__ == "__main__":
    main()
