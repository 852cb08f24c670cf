"""What a classifier makes of 20, 100 and 1,000 labels, and whether it calls everything one class.

Gene starts of E. coli by Heyer's protocol (-100/+50 around CDS starts against 150 bp from inside genes), as they are
and with 20 bp on either side of the start masked; one class as large as the other, and one gene start to nine
negatives. Each seed draws other labels. A quarter as many records more are the valid part. The last tenth of the
chromosome is the test part, with the same balance; the language model has seen neither it nor the valid tenth.

    python -m benchmarks.few_labels OUT --lm lm.safetensors
    python -m benchmarks.few_labels OUT --steps 1500

Each cell's figures go into a file of OUT: what is there from the same language model is not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.models.classifiers import gene_starts
from benchmarks.paper.methods import METHODS as PAPER_METHODS
from benchmarks.paper.methods import Method, Settings, Task
from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import labels, part
from genomic_ulmfit.files import replacing

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
CLASSES = ("background", "gene_start")
MASKS = {"plain": None, "masked": (80, 120)}
POSITIVES = {"1:1": 0.5, "1:9": 0.1}
LABELS = (1000, 100, 20)  # the longest first, so that no worker is left with it


def unweighted(task: Task) -> np.ndarray:
    """Fine-tune with classes that weigh as many records as they have."""
    assert task.language_model is not None
    model = gu.train_classifier(task.language_model, task.learnt, class_weights=None, seed=task.seed, progress=False)
    return gu.predict_proba(model, task.scored)


METHODS: dict[str, Method] = {
    "from scratch": PAPER_METHODS["from_scratch"],
    "fine-tuned": PAPER_METHODS["fine_tuned"],
    "probe": PAPER_METHODS["probe"],
    "4-mer regression": PAPER_METHODS["kmer"],
    "unweighted": unweighted,
}
USUAL = ["from scratch", "fine-tuned", "probe", "4-mer regression"]


@dataclass(frozen=True)
class Cell:
    """One training: which records, how many, and what learns."""

    variant: str
    balance: str
    n: int
    method: str
    seed: int

    @property
    def file(self) -> str:
        return "-".join(map(str, asdict(self).values())).replace(":", "to").replace(" ", "_") + ".json"


def drawn(records: Sequence[SeqRecord], n: int, share: float, rng: np.random.Generator) -> list[SeqRecord]:
    """Draw `n` records, the share of gene starts as asked for: at least one."""
    positives = max(1, round(n * share))
    chosen = []
    for name, most in (("gene_start", positives), ("background", n - positives)):
        of_class = [record for record in records if record.annotations["label"] == name]
        chosen += [of_class[i] for i in rng.permutation(len(of_class))[:most]]
    return chosen


class Worker:
    """Does cells; builds each variant's data set when it is first asked for."""

    def __init__(self, lm: Path) -> None:
        self.lm = gu.load(lm, gu.LanguageModel)
        self.built: dict[str, list[SeqRecord]] = {}

    def records(self, variant: str) -> list[SeqRecord]:
        if variant not in self.built:
            self.built[variant] = gene_starts("gene-body", MASKS[variant])(None, "region")
        return self.built[variant]

    def do(self, cell: Cell) -> dict[str, float]:
        """Train and score; the same records for all methods."""
        records, share = self.records(cell.variant), POSITIVES[cell.balance]
        rng = np.random.default_rng([cell.seed, cell.n])
        learnt = drawn(part(records, "train"), cell.n, share, rng)
        learnt += drawn(part(records, "valid"), max(2, cell.n // 4), share, rng)
        test = part(records, "test")
        n_test = round(sum(label == "background" for label in labels(test)) / (1 - share))
        tested = drawn(test, n_test, share, np.random.default_rng(0))
        began = perf_counter()
        settings = Settings(k=self.lm.vocab.k, stride=self.lm.vocab.stride)
        probabilities = METHODS[cell.method](Task(self.lm, learnt, tested, settings, cell.seed))
        seconds = perf_counter() - began
        truth = np.array([CLASSES.index(label) for label in labels(tested)])
        calls = np.bincount(probabilities.argmax(axis=1), minlength=2) / len(tested)
        found = metrics(truth, probabilities)
        return {"mcc": found["mcc"], "roc_auc": found["roc_auc"], "most_called": calls.max(), "seconds": seconds}


_worker: Worker


def begin(lm: Path) -> None:
    import torch

    global _worker
    torch.set_num_threads(1)  # two processes of one thread each are faster than one of two
    logging.getLogger("genomic_ulmfit").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    _worker = Worker(lm)


def do(cell: Cell) -> tuple[Cell, dict[str, float]]:
    return cell, _worker.do(cell)


def language_model(out: Path, steps: int) -> Path:
    """Train one without the valid and test tenths, or take the one that is there."""
    path = out / f"lm-{steps}.safetensors"
    if not path.exists():
        genome = gu.Genome(FIXTURES / "NC_000913.3.fasta.gz")
        held_out = [region for region in gu.split_genome(genome.chrom_sizes, "region") if region.name != "train"]
        gu.save(gu.pretrain(genome, config="small", exclude=held_out, max_steps=steps, progress=True), path)
    return path


def table(found: dict[Cell, dict[str, float]]) -> str:
    """Lay out means over seeds; "one class" counts the seeds that called everything the same."""
    lines = [["data", "balance", "labels", "method", "MCC", "spread", "ROC-AUC", "most called", "one class", "seconds"]]
    groups = dict.fromkeys((cell.variant, cell.balance, cell.n, cell.method) for cell in found)
    for group in sorted(groups, key=lambda g: (g[0], g[1], g[2], list(METHODS).index(g[3]))):
        rows = [row for cell, row in found.items() if (cell.variant, cell.balance, cell.n, cell.method) == group]
        of = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        spread = f"{of['mcc'].min():.2f} to {of['mcc'].max():.2f}"
        figures = [f"{of['mcc'].mean():.2f}", spread, f"{of['roc_auc'].mean():.2f}", f"{of['most_called'].mean():.2f}"]
        collapsed = f"{(of['most_called'] == 1).sum()} of {len(rows)}"
        lines.append([*map(str, group), *figures, collapsed, f"{of['seconds'].mean():.1f}"])
    return "\n".join(aligned(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the cells' files; made if it isn't there")
    parser.add_argument("--lm", type=Path, help="language model that has not seen the last two tenths of NC_000913.3")
    parser.add_argument("--steps", type=int, default=1500, help="of pretraining, without --lm")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS))
    parser.add_argument("--balances", nargs="+", default=list(POSITIVES), choices=list(POSITIVES))
    parser.add_argument("--only", nargs="+", default=USUAL, choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--workers", type=int, default=2, help="processes, each of one thread")
    parser.add_argument("--quick", action="store_true", help="one seed of 20 masked labels: only to see that it runs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    variants, balances, numbers, seeds = list(MASKS), options.balances, options.labels, range(options.seeds)
    if options.quick:
        variants, numbers, seeds = ["masked"], [20], range(1)
    cells = [Cell(*chosen) for chosen in product(variants, balances, numbers, options.only, seeds)]
    cells.sort(key=lambda cell: (cell.seed, -cell.n))  # a run that is cut off has whole seeds
    print(f"{len(cells)} cells: {', '.join(variants)}; {', '.join(balances)}; labels {numbers}; {len(seeds)} seeds")
    lm = options.lm or language_model(options.out, options.steps)
    identity = {"language_model": gu.load(lm, gu.LanguageModel).card["stages"], "version": gu.__version__}
    found = {}
    for cell in cells:
        if (options.out / cell.file).exists():
            kept = json.loads((options.out / cell.file).read_text())
            if kept["identity"] == identity:
                found[cell] = kept["figures"]
    left = [cell for cell in cells if cell not in found]
    print(f"{len(found)} are there already, {len(left)} to do in {options.workers} processes", flush=True)
    began = perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.workers, begin, (lm,)) as pool:
        for cell, figures in pool.imap_unordered(do, left):
            found[cell] = figures
            with replacing(options.out / cell.file) as temporary:
                temporary.write_text(json.dumps({"cell": asdict(cell), "figures": figures, "identity": identity}))
            print(f"{cell.file}: MCC {figures['mcc']:.2f}, {figures['seconds']:.0f} s", flush=True)
    print(f"{perf_counter() - began:.0f} s\n\n{table(found)}")


if __name__ == "__main__":
    main()
