"""What forty labelled promoters of a bacterium are worth, with the language model that ships and without it.

    python -m benchmarks.forty_labels OUT --data DIR --plot docs/images/forty_labels.png

*B. subtilis* promoters and non-promoters of 81 bp (DBTBS, in CNNProm's set: DIR/promoters-cnnprom). No genome of this
species is among those that the language model read; a relative, *B. anthracis*, is, and how many records share a 25-mer
with any of them is printed. Three tenths of the records are the test part, relatives of each other on one side. From
the rest so many promoters, and as many others, are drawn as the curve says, other ones with each seed; a fifth of
them choose the epoch where a method needs that. What is found goes into files of OUT and is not computed again.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.paper.methods import METHODS, Settings, Task
from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import labels, letters, part
from genomic_ulmfit.files import replacing
from genomic_ulmfit.plot import save_figure
from genomic_ulmfit.plot_style import LINES, paper_figure, paper_letters

CLASSES = ("background", "promoter")
SHOWN = {"mcc": "MCC", "roc_auc": "ROC-AUC"}
FORWARD, BACKWARD = "bacteria-small", "bacteria-small-backward"
ROWS = {
    "probe of the language model": ("probe", [FORWARD]),
    "probes, forward + backward": ("probe", [FORWARD, BACKWARD]),
    "fine-tuned": ("fine_tuned", [FORWARD]),
    "from scratch": ("from_scratch", []),
    "4-mer regression": ("kmer", []),
    "weight matrix": ("pwm", []),
}
"""What a curve is called, how it learns, and from which language models."""


def records_of(data: Path) -> list[SeqRecord]:
    """Read the set, split by homology."""
    files = {"promoter": "Bacillus_prom.fa.gz", "background": "Bacillus_non_prom.fa.gz"}
    records = gu.read_dataset({label: data / "promoters-cnnprom" / file for label, file in files.items()})
    return gu.split_records(records, "homology", fractions=(0.7, 0.0, 0.3))


def known(records: list[SeqRecord], data: Path) -> int:
    """Count records that share a 25-mer with a genome that the language model read."""
    found = np.zeros(len(records), dtype=bool)
    for path in sorted((data / "bacteria").glob("*.gz")):
        genome = gu.Genome(path)
        kmers = KmerSet(genome.sequence(chrom, 0, size) for chrom, size in genome.chrom_sizes.items())
        found |= kmers.hits([letters(record) for record in records])
    return int(found.sum())


def drawn(pool: list[SeqRecord], n: int, seed: int, *, checked: bool) -> list[SeqRecord]:
    """Draw `n` promoters and `n` others; every fifth of each is for validation if anything is `checked` there."""
    rng = np.random.default_rng([seed, n])
    chosen = []
    for name in CLASSES:
        of_class = [record for record in pool if record.annotations["label"] == name]
        for i, at in enumerate(rng.permutation(len(of_class))[:n]):
            record = of_class[at][:]
            record.annotations = of_class[at].annotations | {"split": "valid" if checked and i % 5 == 4 else "train"}
            chosen.append(record)
    return chosen


def figures_of(
    lms: dict[str, gu.LanguageModel], records: list[SeqRecord], n: int, row: str, seed: int, path: Path
) -> dict[str, float]:
    """Train and score, or read what an earlier run found with the same language model."""
    method, names = ROWS[row]
    identity = {"language_models": {name: lms[name].card["stages"] for name in names}, "version": gu.__version__}
    if path.exists() and (kept := json.loads(path.read_text()))["identity"] == identity:
        return kept["figures"]
    tested = part(records, "test")
    learnt = drawn(part(records, "train"), n, seed, checked=method in ("fine_tuned", "from_scratch"))
    tasks = [Task(lms[name] if name else None, learnt, tested, Settings(), seed) for name in names or ("",)]
    probabilities = np.mean([METHODS[method](task) for task in tasks], axis=0)
    truth = np.array([CLASSES.index(label) for label in labels(tested)])
    found = {name: value for name, value in metrics(truth, probabilities).items() if name in SHOWN}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"figures": found, "identity": identity}))
    return found


def draw(found: dict[tuple[str, int], dict[str, np.ndarray]], path: Path) -> None:
    """Draw the learning curves: mean over seeds, and the least and the most."""
    figure = paper_figure(columns=2, height=2.7)
    axes = dict(zip(SHOWN, figure.subplots(1, len(SHOWN)), strict=True))
    for method, (color, line) in zip(ROWS, LINES, strict=True):
        sizes = sorted(n for name, n in found if name == method)
        for metric, ax in axes.items():
            values = np.array([found[method, n][metric] for n in sizes])
            ax.fill_between(sizes, values.min(axis=1), values.max(axis=1), color=color, alpha=0.12, linewidth=0)
            ax.plot(sizes, values.mean(axis=1), line, marker=".", markersize=4, color=color, linewidth=1, label=method)
    for metric, ax in axes.items():
        ax.set(xscale="log", xlabel="labelled promoters (and as many other sequences)", ylabel=SHOWN[metric])
        ax.set_xticks(sizes, [str(n) for n in sizes], minor=False)
        ax.minorticks_off()
        ax.grid(axis="y", linewidth=0.4, color="0.9")
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(paper_letters(figure), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the trainings' figures; made if it isn't there")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    logging.getLogger("genomic_ulmfit").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    lms, records = {name: gu.load(name, gu.LanguageModel) for name in (FORWARD, BACKWARD)}, records_of(options.data)
    n_test, n_known = len(part(records, "test")), known(records, options.data)
    print(f"{len(records)} records, {n_test} of them for testing; {n_known} share a 25-mer with a genome that was read")
    rows, found = [["promoters", "method", *(f"{shown}, least to most" for shown in SHOWN.values())]], {}
    for n, method in product(options.sizes, ROWS):
        files = [options.out / f"{n}-{method.replace(' ', '_')}-{seed}.json" for seed in range(options.seeds)]
        runs = [figures_of(lms, records, n, method, seed, path) for seed, path in enumerate(files)]
        found[method, n] = {name: np.array([run[name] for run in runs]) for name in SHOWN}
        cells = [f"{v.mean():.2f}, {v.min():.2f} to {v.max():.2f}" for v in found[method, n].values()]
        rows.append([str(n), method, *cells])
        print(*rows[-1], flush=True)
    print("\n".join(aligned(rows)))
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
