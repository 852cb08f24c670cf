"""What no net at all scores against each kind of negatives: yeast promoters, -200 to +50 around measured TSSs.

Chromosomes I to XII train, XIII to XVI test. The folder given as `--data` holds `yeast/S288C_chrI-XVI.fasta.gz` and
`yeast/Scer_polIItranscripts-adjustedTSS.bed`; its README says where they come from. Hard negatives are those that the
4-mer regression likes which was trained against random ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.datasets.baselines import BASELINES, kmer, run_baselines
from genomic_ulmfit.datasets.negatives import STRATEGIES, draw_negatives
from genomic_ulmfit.genome.algebra import pad
from genomic_ulmfit.genome.intervals import Interval

TEST = {"chrXIII", "chrXIV", "chrXV", "chrXVI"}


def labelled(records: Iterable[SeqRecord], label: str) -> list[SeqRecord]:
    records = list(records)
    for record in records:
        record.annotations["label"] = label
    return records


def mcc(train: list[SeqRecord], test: list[SeqRecord]) -> dict[str, float]:
    from sklearn.metrics import matthews_corrcoef

    truth = [record.annotations["label"] == "promoter" for record in test]
    found = run_baselines(train, test, classes=["background", "promoter"])
    return {name: matthews_corrcoef(truth, table[:, 1] > 0.5) for name, table in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds yeast/")
    folder = parser.parse_args().data / "yeast"
    genome = gu.Genome(folder / "S288C_chrI-XVI.fasta.gz")
    genes = gu.read_intervals(folder / "Scer_polIItranscripts-adjustedTSS.bed")
    sizes = genome.chrom_sizes
    distinct = dict.fromkeys(gene.window(200, 50)._replace(name=".") for gene in genes)
    windows = [i for i in distinct if i.start >= 0 and i.end <= sizes[i.chrom]]
    avoided = pad(windows, 100, sizes)
    chosen = [[i for i in windows if (i.chrom in TEST) == test] for test in (False, True)]
    regions = [[Interval(c, 0, size) for c, size in sizes.items() if (c in TEST) == test] for test in (False, True)]
    positives = [labelled(genome.fetch_many(part), "promoter") for part in chosen]
    learnt: list[SeqRecord] = []

    def score(records: list[SeqRecord]) -> np.ndarray:
        truth = np.array([record.annotations["label"] == "promoter" for record in learnt], dtype=np.int64)
        return kmer(learnt, truth, records, 2)[:, 1]

    print(f"{len(positives[0])} promoters to train on, {len(positives[1])} to test on; MCC of each baseline")
    print(f"{'negatives':<16}" + "".join(f"{name:>10}" for name in BASELINES) + f"{'drawn in s':>12}")
    for strategy in STRATEGIES:
        options: dict[str, Any] = {"strategy": strategy, "padding": 0, "exclude": avoided}
        options |= {"genes": genes, "score": score}
        began = perf_counter()
        drawn = [
            draw_negatives(genome, chosen[part], len(chosen[part]), within=regions[part], seed=[0, part], **options)
            for part in (0, 1)
        ]
        seconds = perf_counter() - began
        train, test = (p + labelled(d, "background") for p, d in zip(positives, drawn, strict=True))
        learnt = train if strategy == "random" else learnt
        scores = "".join(f"{value:>10.3f}" for value in mcc(train, test).values())
        print(f"{strategy:<16}{scores}{seconds:>12.1f}", flush=True)


if __name__ == "__main__":
    main()
