"""The classifiers that come with the package, one that doesn't, and the figures in their cards.

    python -m benchmarks.models.classifiers OUT --lm bacteria-small --only ecoli-gene-start
    python -m benchmarks.models.classifiers OUT --lm human-small --only human-core-promoter --data DIR

ecoli-gene-start         *E. coli* K-12 MG1655 (NCBI NC_000913.3), windows of -100/+50 around each CDS start against
                         windows from anywhere, either strand: what a scan meets (docs/tracks.md says what that is
                         worth). The start codon is at one index of every positive.
ecoli-gene-start-masked  Heyer's protocol, windows from inside genes on the gene's strand as background, with N on 20 bp
                         on either side of the start: calls by what stands around it.
human-core-promoter      -34/+35 around TSSs of EPDnew against GUE's negatives (prom_core_all, DIR/gue). It isn't in the
                         package: docs/models.md says why.

The first split of each makes the model that ships: a stretch of the chromosome, or GUE's own parts. Its validation part
chooses the epoch and the temperature, its test part is scored once, at the end, baselines beside it. The same recipe
on the other splits says what relatives among the records are worth; of what those test on the language model has read
most.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.models.cards import described, hardware

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"
ANNOTATION = FIXTURES / "NC_000913.3.gbk.gz"
CORE_TSS = 34  # index of the TSS in GUE's 70 bp


class Plan(NamedTuple):
    """A classifier: its records by split, and what its card says."""

    records: Callable[[Path | None, str], list[SeqRecord]]
    splits: tuple[str, ...]
    summary: str
    intended_use: str
    not_for: str
    data: str


def gene_starts(negatives: str, mask: tuple[int, int] | None = None) -> Callable[[Path | None, str], list[SeqRecord]]:
    def records(data: Path | None, split: str) -> list[SeqRecord]:
        genome = gu.Genome(ANNOTATION)
        return gu.promoter_dataset(
            genome,
            gu.read_tss(ANNOTATION, feature="CDS"),
            upstream=100,
            downstream=50,
            negatives=negatives,
            genes=gu.read_genes(ANNOTATION, feature="CDS"),
            split=gu.split_genome(genome.chrom_sizes, "region") if split == "region" else split,
            label="gene_start",
            mask=mask,
        )

    return records


def core_promoters(data: Path | None, split: str) -> list[SeqRecord]:
    """Read GUE's records; the TSS is at one index of all."""
    if data is None:
        raise SystemExit("human-core-promoter needs --data, the folder with gue/")
    records = []
    for name, file in (("train", "train"), ("valid", "dev"), ("test", "test")):
        records += gu.read_dataset(data / "gue" / f"prom_core_all.{file}.csv.gz", split=name)
    for record in records:
        record.annotations["label"] = "promoter" if record.annotations["label"] == "1" else "background"
        record.annotations["anchor"] = CORE_TSS
    return records if split == "GUE's" else gu.split_records(records, split)


GENE_STARTS = "scanning or annotating enterobacterial sequence for starts of coding sequences"
NOT_PROMOTERS = "promoters, which it was never shown; genes of RNA; distant genomes"
PLANS = {
    "ecoli-gene-start": Plan(
        gene_starts("random"),
        ("region", "homology", "random"),
        "E. coli gene starts (no promoters), -100/+50, start codon visible",
        GENE_STARTS,
        NOT_PROMOTERS + ". The start codon is at one index of all its starts, and tells much by itself",
        "NCBI NC_000913.3, 4,319 CDS starts and as many windows from anywhere, either strand",
    ),
    "ecoli-gene-start-masked": Plan(
        gene_starts("gene-body", (80, 120)),
        ("region", "homology", "random"),
        "E. coli gene starts (no promoters), -100/+50, 20 bp around the start masked",
        "asking whether what stands around a start looks like one; its windows have N at indices 80 to 119",
        NOT_PROMOTERS + ". Its negatives were gene bodies: what lies between genes it calls too often",
        "NCBI NC_000913.3, 4,319 CDS starts and as many windows inside genes",
    ),
    "human-core-promoter": Plan(
        core_promoters,
        ("GUE's", "homology"),
        "human core promoters, -34/+35 around the TSS",
        "ranking candidate TSSs of human and other vertebrates' sequence",
        "finding promoters in a genome alone: its negatives were made for a balanced benchmark; on a genome it "
        "calls far too much",
        "GUE prom_core_all (Zhou et al. 2024, DNABERT-2; promoters of EPDnew, Dreos et al.), Apache-2.0",
    ),
}


def trained(lm: gu.LanguageModel, records: list[SeqRecord], seed: int) -> gu.Classifier:
    """Fine-tune, train and calibrate; only the training and validation parts are looked at."""
    tuned = gu.finetune(lm, records, epochs=1, seed=seed, progress=True)
    return gu.calibrate(gu.train_classifier(tuned, records, seed=seed, progress=True), records)


def figures(model: gu.Classifier, records: list[SeqRecord], seed: int) -> dict[str, Any]:
    """Score the test part, for the card."""
    found = gu.evaluate(model, records, seed=seed)
    return found.to_dict() | {"calibration_error": list(found.calibration().error)}


def make(name: str, lm: gu.LanguageModel, out: Path, data: Path | None, seed: int) -> None:
    """Train on each split; the first split's model is kept, with all figures in its card."""
    plan, models, found = PLANS[name], [], {}
    for split in plan.splits:
        records = plan.records(data, split)
        models.append(trained(lm, records, seed))
        found[split] = figures(models[-1], records, seed)
        said = {metric: round(found[split][metric], 4) for metric in ("accuracy", "mcc", "roc_auc")}
        print(name, split, json.dumps(said), flush=True)
    words = described(name, plan.summary, plan.intended_use, plan.not_for, "") | {"data": plan.data}
    kept = {key: lm.card[key] for key in ("held_out_bits_per_base",) if key in lm.card}
    models[0].card = {"stages": models[0].card["stages"], "hardware": hardware(), "evaluation": found} | kept | words
    gu.save(models[0], out / f"{name}.safetensors", precision="fp16")
    kept_precision = figures(
        gu.load(out / f"{name}.safetensors", gu.Classifier), plan.records(data, plan.splits[0]), seed
    )
    change = max(
        abs(kept_precision[metric] - found[plan.splits[0]][metric]) for metric in ("mcc", "accuracy", "roc_auc")
    )
    print(f"{name}: 16 bits a weight change the figures by {change:.5f} at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the models; made if it isn't there")
    parser.add_argument("--lm", required=True, help="a file, or the name of a shipped language model")
    parser.add_argument("--data", type=Path, help="folder with gue/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(PLANS), action="append", required=True, help="repeatable")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        make(name, gu.load(options.lm, gu.LanguageModel), options.out, options.data, options.seed)


if __name__ == "__main__":
    main()
