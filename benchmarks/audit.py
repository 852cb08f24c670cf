"""What the audit says of public data sets: shared 25-mers, duplicates, and what needs no neural net.

The tables are of the splits that the sets come with, or of random ones where they come without; 80/20 ones besides for
the sets of CNNProm, whose published figures are on such.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.datasets.baselines import BASELINES, run_baselines
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.leakage import by_part, shared_kmers
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import labels, read_records
from genomic_ulmfit.datasets.splits import split_records

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
SEEDS = 5


def cnnprom(folder: Path, species: str) -> list[SeqRecord]:
    return [
        annotated(record, {"label": label})
        for label, name in (("background", "non_prom"), ("promoter", "prom"))
        for record in read_records(folder / "promoters-cnnprom" / f"{species}_{name}.fa.gz")
    ]


def gue(folder: Path, name: str) -> list[SeqRecord]:
    return [
        annotated(record, {"split": split})
        for part, split in (("train", "train"), ("dev", "valid"), ("test", "test"))
        for record in read_records(folder / "gue" / f"{name}.{part}.csv.gz")
    ]


def gene_starts(mask: tuple[int, int] | None) -> list[SeqRecord]:
    genes = FIXTURES / "NC_000913.3.gbk.gz"
    genome = FIXTURES / "NC_000913.3.fasta.gz"
    return gu.promoter_dataset(genome, genes, upstream=100, downstream=50, negatives="gene-body", mask=mask)


def sets(folder: Path) -> Iterator[tuple[str, list[SeqRecord]]]:
    yield "CNNProm E. coli", cnnprom(folder, "Ecoli")
    yield "CNNProm B. subtilis", cnnprom(folder, "Bacillus")
    yield "human_nontata test", gu.read_dataset(folder / "human-promoters" / "human_nontata_promoters.test.csv.gz")
    yield "GUE prom_core_all", gue(folder, "prom_core_all")
    yield "E. coli gene starts", gene_starts(None)
    yield "the same, masked", gene_starts((80, 121))
    genome = gu.Genome(folder / "yeast" / "S288C_chrI-XVI.fasta.gz")
    starts = folder / "yeast" / "Scer_polIItranscripts-adjustedTSS.bed"
    yield "yeast TSSs", gu.promoter_dataset(genome, starts)


def audits(folder: Path) -> None:
    print(
        f"{'':20} {'verdict':8} {'copies':>11} {'shared 25-mer':>15} {'seconds':>7}  MCC, here / relatives on one side"
    )
    print(
        f"{'':20} {'':8} {'valid, test':>11} {'neg.':>7} {'pos.':>7} {'':>7}  " + "".join(f"{n:>14}" for n in BASELINES)
    )
    for name, records in sets(folder):
        began = perf_counter()
        found = gu.audit(records)
        seconds = perf_counter() - began
        copies = [
            sum(found.duplicates["across"][f"{part} in train"][kind] for kind in ("exact", "reverse_complement"))
            for part in ("valid", "test")
        ]
        shares = "".join(f"{100 * share:>6.1f} %" for share in found.shared["test"].values())
        apart = found.homology_split["baselines"]
        scores = "".join(f"{found.baselines[n]['mcc']:>7.3f}/{apart[n]['mcc']:>6.3f}" for n in BASELINES)
        print(
            f"{name:20} {found.verdict:8} {copies[0]:>5} {copies[1]:>5} {shares:>16} {seconds:>7.0f}  {scores}",
            flush=True,
        )


def mean_scores(
    records: list[SeqRecord], method: str, fractions: tuple[float, float, float]
) -> tuple[list[float], float]:
    """Return the mean MCC of each baseline, and the share of negatives that share a 25-mer, over several splits."""
    scores, shares = [], []
    for seed in range(SEEDS):
        parts = by_part(split_records(records, method, fractions=fractions, seed=seed))
        truth = np.array(labels(parts["test"])) == "promoter"
        found = run_baselines(parts["train"], parts["test"])
        scores.append([metrics(truth.astype(int), found[name])["mcc"] for name in BASELINES])
        shares.append(shared_kmers(parts)["test"]["background"])
    return np.mean(scores, axis=0).tolist(), mean(shares)


def splits(folder: Path) -> None:
    print(
        f"\n{'mean of ' + str(SEEDS) + ' splits':36} {'neg. shared':>12}  MCC "
        + "".join(f"{name:>9}" for name in BASELINES)
    )
    for species in ("Ecoli", "Bacillus"):
        records = cnnprom(folder, species)
        for method, fractions in (
            ("random", (0.8, 0.0, 0.2)),
            ("random", (0.9, 0.0, 0.1)),
            ("homology", (0.8, 0.0, 0.2)),
        ):
            scores, share = mean_scores(records, method, fractions)
            name = f"CNNProm {species} {method} {100 * fractions[0]:.0f}/{100 * fractions[2]:.0f}"
            print(f"{name:36} {100 * share:>10.1f} %      " + "".join(f"{score:>9.3f}" for score in scores), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    folder = parser.parse_args().data
    audits(folder)
    splits(folder)


if __name__ == "__main__":
    main()
