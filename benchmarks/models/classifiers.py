"""The gene-start classifiers that come with the package, and the figures in their cards.

    python -m benchmarks.models.classifiers OUT --lm lm.safetensors

*E. coli* K-12 MG1655 (NCBI NC_000913.3), windows of -100/+50 around each CDS start against windows from inside genes on
the gene's strand: Heyer's protocol. `ecoli-gene-start` sees the start codon, which is at one index of every positive;
`ecoli-gene-start-masked` learns with N on 20 bp on either side of the start, and calls by what stands around it. Both
find gene starts, not promoters.

The validation stretch chooses the epoch and the temperature. The test stretch is scored once, at the end, baselines
beside it; and once more the same recipe on a split by homology. The language model has read neither the validation nor
the test stretch, but most of what a homology split tests on.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"
ANNOTATION = FIXTURES / "NC_000913.3.gbk.gz"
MASKS = {"ecoli-gene-start": None, "ecoli-gene-start-masked": (80, 120)}
SUMMARIES = {
    "ecoli-gene-start": "E. coli gene starts (no promoters), -100/+50, start codon visible",
    "ecoli-gene-start-masked": "E. coli gene starts (no promoters), -100/+50, 20 bp around the start masked",
}


def data_set(mask: tuple[int, int] | None, split: Any) -> list[SeqRecord]:
    """Build the records; with a split into regions, or "homology"."""
    return gu.promoter_dataset(
        gu.Genome(ANNOTATION),
        gu.read_tss(ANNOTATION, feature="CDS"),
        upstream=100,
        downstream=50,
        negatives="gene-body",
        genes=gu.read_genes(ANNOTATION, feature="CDS"),
        split=split,
        label="gene_start",
        mask=mask,
    )


def trained(lm: gu.LanguageModel, records: list[SeqRecord], epochs: int, seed: int) -> gu.Classifier:
    """Fine-tune, train and calibrate; only the training and validation parts are looked at."""
    tuned = gu.finetune(lm, records, epochs=1, seed=seed, progress=False)
    return gu.calibrate(gu.train_classifier(tuned, records, epochs=epochs, seed=seed, progress=False), records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the models; made if it isn't there")
    parser.add_argument("--lm", required=True, help="a file, or the name of a shipped language model")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(MASKS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    lm, genome = gu.load(options.lm), gu.Genome(ANNOTATION)
    for name in [options.only] if options.only else MASKS:
        found = {}
        for split in (gu.split_genome(genome.chrom_sizes, "region"), "homology"):
            records = data_set(MASKS[name], split)
            model = trained(lm, records, options.epochs, options.seed)
            kind = split if isinstance(split, str) else "region"
            evaluation = gu.evaluate(model, records, seed=options.seed)
            found[kind] = evaluation.to_dict()
            print(
                name,
                kind,
                json.dumps({m: round(found[kind][m], 4) for m in ("accuracy", "mcc", "roc_auc")}),
                flush=True,
            )
            if kind == "region":
                shipped = model
        shipped.card |= {"name": name, "summary": SUMMARIES[name], "evaluation": found}
        gu.save(shipped, options.out / f"{name}.safetensors", precision="fp16")


if __name__ == "__main__":
    main()
