"""What few labels are worth: probes of all layers or the last, of whole records or segments, a 4-mer regression, and,
if asked, fine-tuning.

E. coli's gene starts by Heyer's protocol, as the demo makes them: plain, and with 20 bp on either side of the start
masked in all records. Of the training part so many records are drawn, half of each class, five times; each method
learns from the same draws and is scored on the whole test part, the last tenth of the chromosome. Each figure is kept
in a file as soon as it is there, so that an interrupted run goes on.

    python -m benchmarks.probe OUT --lm lm.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.baselines import kmer
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.demo import DOWNSTREAM, MASK, UPSTREAM
from genomic_ulmfit.files import replacing
from genomic_ulmfit.net.engine import softmax
from genomic_ulmfit.net.probe import PoolName, blocks_of, pooled_outputs, regress
from genomic_ulmfit.predict import encode_records

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
VARIANTS = ("plain", "masked")
SEGMENTS = 32


@dataclasses.dataclass(frozen=True)
class Lesson:
    """One variant of the data set, what the language model makes of it, and which records are learnt from."""

    lm: gu.LanguageModel
    records: list[SeqRecord]
    features: np.ndarray  # float32 (n_records, n_features)
    widths: list[int]  # of the blocks of features
    targets: np.ndarray  # int64 (n_records,)
    learnt: np.ndarray  # indices
    test: np.ndarray  # indices
    seed: int

    def probe(self, pools: Sequence[PoolName], segments: Sequence[int]) -> np.ndarray:
        fits = []
        for pool, n in product(pools, segments):
            used = blocks_of(len(self.widths), self.lm.config.n_layers, pool, n)
            columns, widths = np.flatnonzero(np.repeat(used, self.widths)), np.array(self.widths)[used].tolist()
            fit = regress(
                self.features[np.ix_(self.learnt, columns)], self.targets[self.learnt], widths, seed=self.seed
            )
            fits.append((fit.loss, self.features[np.ix_(self.test, columns)] @ fit.weights.T + fit.bias))
        return softmax(min(fits, key=lambda found: found[0])[1])

    def probe_all_layers(self) -> np.ndarray:
        return self.probe(["all"], [1])

    def probe_last_layer(self) -> np.ndarray:
        return self.probe(["last"], [1])

    def probe_segments(self) -> np.ndarray:
        return self.probe(["all"], [SEGMENTS])

    def probe_chosen(self) -> np.ndarray:
        return self.probe(["all", "last"], [1, SEGMENTS])

    def four_mers(self) -> np.ndarray:
        return kmer(self.some(self.learnt), self.targets[self.learnt], self.some(self.test), 2)

    def finetune(self) -> np.ndarray:
        classifier = gu.train_classifier(self.lm, self.some(self.learnt), seed=self.seed, progress=False)
        return gu.predict_proba(classifier, self.some(self.test))

    def some(self, indices: np.ndarray) -> list[SeqRecord]:
        return [self.records[i] for i in indices]


METHODS: dict[str, Callable[[Lesson], np.ndarray]] = {
    "probe, all layers": Lesson.probe_all_layers,
    "probe, last layer": Lesson.probe_last_layer,
    f"probe, {SEGMENTS} segments": Lesson.probe_segments,
    "probe, chosen": Lesson.probe_chosen,
    "4-mer regression": Lesson.four_mers,
    "fine-tuned": Lesson.finetune,
}


def gene_starts(variant: str) -> list[SeqRecord]:
    """Build the demo's data set."""
    genome, annotation = gu.Genome(FIXTURES / "NC_000913.3.fasta.gz"), FIXTURES / "NC_000913.3.gbk.gz"
    return gu.promoter_dataset(
        genome,
        gu.read_tss(annotation, feature="CDS"),
        upstream=UPSTREAM,
        downstream=DOWNSTREAM,
        negatives="gene-body",
        genes=gu.read_genes(annotation, feature="CDS"),
        split=gu.split_genome(genome.chrom_sizes, "region"),
        label="gene_start",
        mask=MASK if variant == "masked" else None,
    )


def features_of(lm: gu.LanguageModel, records: list[SeqRecord], cache: Path) -> np.ndarray:
    """Read all records once, and keep what all layers make of them."""
    if not cache.exists():
        found, _ = pooled_outputs(lm, encode_records(lm.vocab, records), segments=SEGMENTS, progress=False)
        with replacing(cache) as temporary, temporary.open("wb") as handle:
            np.save(handle, found)
    return np.load(cache, mmap_mode="r")


def draw(targets: np.ndarray, among: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw `n` of some records, half of each class; all of them if `n` is 0."""
    if n == 0:
        return among
    order = np.random.default_rng(seed).permutation(among)
    return np.concatenate([order[targets[order] == number][: n // 2] for number in (0, 1)])


def lessons(lm: gu.LanguageModel, sizes: list[int], draws: int, folder: Path) -> Iterator[tuple[str, int, Lesson]]:
    """Yield variant, number of labels and lesson of each cell."""
    for variant in VARIANTS:
        records = gene_starts(variant)
        features = features_of(lm, records, folder / f"{variant}-{SEGMENTS}.npy")
        widths = [width for width in lm.config.widths[1:] for _ in range(3 + SEGMENTS)]
        targets = np.array([record.annotations["label"] == "gene_start" for record in records]).astype(np.int64)
        parts = np.array([record.annotations["split"] for record in records])
        train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
        for n, seed in product(sizes, range(draws)):
            if n or not seed:  # all records are drawn once
                yield (
                    variant,
                    n,
                    Lesson(lm, records, features, widths, targets, draw(targets, train, n, seed), test, seed),
                )


def scored(lesson: Lesson, method: str, cell: Path) -> float:
    """Return the MCC of one cell, from its file if it is there."""
    if not cell.exists():
        found = metrics(lesson.targets[lesson.test], METHODS[method](lesson))
        with replacing(cell) as temporary:
            temporary.write_text(json.dumps({"records": len(lesson.learnt), **found}, indent=2) + "\n")
    return json.loads(cell.read_text())["mcc"]


def table(found: dict[tuple[str, int, str], list[float]], methods: list[str]) -> str:
    """Lay the figures out: a row for each variant and number of labels, MCC as mean ± standard deviation."""
    lines = [["", "labels", *methods]]
    for variant, n in dict.fromkeys((variant, n) for variant, n, _ in found):
        cells = [found[variant, n, method] for method in methods]
        shown = [f"{mean(x):.3f} ± {stdev(x):.3f}" if len(x) > 1 else f"{mean(x):.3f}" for x in cells]
        lines.append([variant, str(n or "all"), *shown])
    return "\n".join(aligned(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for features and figures; made if it isn't there")
    parser.add_argument("--lm", type=Path, required=True, help="language model that has not seen the test part")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 100, 500, 0], help="0: all")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--finetune", action="store_true", help="fine-tune, too: minutes a cell")
    options = parser.parse_args()
    lm = gu.load(options.lm, gu.LanguageModel)
    folder = options.out / hashlib.sha256(options.lm.read_bytes()).hexdigest()[:12]  # figures are of one model
    folder.mkdir(parents=True, exist_ok=True)
    methods = [name for name in METHODS if options.finetune or name != "fine-tuned"]
    found: dict[tuple[str, int, str], list[float]] = {}
    for variant, n, lesson in lessons(lm, options.labels, options.draws, folder):
        for method in methods:
            cell = folder / f"{variant}-{n}-{lesson.seed}-{method.replace(', ', '-').replace(' ', '-')}.json"
            found.setdefault((variant, n, method), []).append(scored(lesson, method, cell))
            print(f"{variant}, {n or 'all'} labels, draw {lesson.seed}, {method}: {found[variant, n, method][-1]:.3f}")
    stage = lm.card["stages"][-1]
    print(f"\n{options.lm.name}: {stage.get('valid_bits_per_base', float('nan')):.3f} bits per base\n")
    print(table(found, methods))


if __name__ == "__main__":
    main()
