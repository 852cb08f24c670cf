"""What a scan is worth by the negatives that its classifier learnt from: *E. coli* gene starts along held-out sequence.

    python -m benchmarks.scan_negatives OUT
    python -m benchmarks.scan_negatives OUT --only random --stretch test --steps 10 5 1 --refine 1

Classifiers of one recipe, `bacteria-small` fine-tuned, differ in nothing but the negatives; beside each stands the
weight matrix of the same records, which does as well on balanced records. Both scan two stretches that neither they nor
the language model have read, 200 kb of the valid part, by which to choose, and 100 kb of the test part: the net as
`scan` does by default or as said, the matrix base by base. Printed is the area under precision and recall of gene
starts. Models and figures are kept in OUT and not made again.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.baselines import pwm
from genomic_ulmfit.datasets.records import labels, part
from genomic_ulmfit.files import replacing
from genomic_ulmfit.scanning import refine_for, step_for

ANNOTATION = Path(__file__).parents[1] / "data" / "fixtures" / "NC_000913.3.gbk.gz"
LABEL, UPSTREAM, DOWNSTREAM = "gene_start", 100, 50
STRETCHES = {"valid": "NC_000913.3:3713323-3913322", "test": "NC_000913.3:4180001-4280000"}
DISTANCES = (5, 50, 100)
WINDOWS = 4096  # records of windows held at a time


class Row(NamedTuple):
    """Negatives: their kind, how many for each start, the row whose classifier they are to mislead; and the head."""

    negatives: str
    ratio: int = 1
    misled: str | None = None
    segments: int | None = None


ROWS = {
    "gene-body": Row("gene-body"),
    "gc-matched": Row("gc-matched"),
    "random": Row("random"),
    "random, whole windows": Row("random", segments=1),
    "random, 5 a start": Row("random", ratio=5),
    "hard, after random": Row("hard", ratio=2, misled="random"),
}


class Bench:
    """The genome, and what was made of it so far."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.genome = gu.Genome(ANNOTATION)
        self.starts = gu.read_tss(ANNOTATION, feature="CDS")
        self.regions = gu.split_genome(self.genome.chrom_sizes, "region")

    def records(self, row: Row) -> list[SeqRecord]:
        misled = row.misled and self.model(row.misled)
        return gu.promoter_dataset(
            self.genome,
            self.starts,
            upstream=UPSTREAM,
            downstream=DOWNSTREAM,
            negatives=row.negatives,
            ratio=row.ratio,
            genes=gu.read_genes(ANNOTATION, feature="CDS"),
            score=(lambda records: gu.predict_proba(misled, records)[:, 1]) if misled else None,
            candidates=4 if misled else None,
            split=self.regions,
            label=LABEL,
            seed=int(bool(misled)),  # other windows than those that the first one learnt from
        )

    def model(self, name: str) -> gu.Classifier:
        path = self.out / f"{name.replace(' ', '_')}.safetensors"
        if not path.exists():
            records = self.records(ROWS[name])
            tuned = gu.finetune(gu.load("bacteria-small", gu.LanguageModel), records, epochs=1, progress=False)
            gu.save(gu.train_classifier(tuned, records, segments=ROWS[name].segments, progress=False), path)
        return gu.load(path, gu.Classifier)

    def areas(self, name: str, stretch: str, step: int | None, refine: float | None) -> list[float]:
        """Return the area under precision and recall within each of `DISTANCES`; without a step the matrix's."""
        path = self.out / f"{name}-{stretch}-{step or 'matrix'}-{refine}.json".replace(" ", "_")
        if not path.exists():
            region = gu.Interval.from_region(STRETCHES[stretch])
            if step:
                blocks = gu.scan(
                    self.model(name), self.genome, regions=[region], strands="both", step=step, refine=refine
                )
            else:
                blocks = self.scanned_by_matrix(name, region)
            found = gu.evaluate_track(blocks, self.starts, distances=DISTANCES, regions=[region])
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(found.to_dict()))
        rows = json.loads(path.read_text())["rows"]
        return [row["average_precision"] for row in rows if row["strand"] == "all"]

    def scanned_by_matrix(self, name: str, region: gu.Interval) -> Iterator[gu.ScoreBlock]:
        """Score the window around each base, by log odds: probabilities of sure windows tie at 1."""
        learnt = part(self.records(ROWS[name]), "train")
        truth = np.array([label == LABEL for label in labels(learnt)], dtype=np.int64)
        for strand in "+-":
            windows = [
                gu.Interval(region.chrom, base, base + 1, strand=strand).window(UPSTREAM, DOWNSTREAM)
                for base in range(region.start, region.end)
            ]
            odds = []
            for at in range(0, len(windows), WINDOWS):
                records = list(self.genome.fetch_many(windows[at : at + WINDOWS]))
                logs = np.log(np.maximum(pwm(learnt, truth, records, 2), 1e-300))
                odds.append((logs[:, 1] - logs[:, 0]).astype(np.float32))
            yield gu.ScoreBlock(region.chrom, region.start, 1, np.concatenate(odds), region.end, strand)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for models and figures; made if it isn't there")
    parser.add_argument("--only", choices=list(ROWS), action="append", help="repeatable")
    parser.add_argument("--stretch", choices=list(STRETCHES), action="append", help="repeatable")
    parser.add_argument("--steps", type=int, nargs="+", help="bp a bin; the model's own if not given")
    parser.add_argument("--refine", type=float, help="as in `scan`; the model's own if not given")
    options = parser.parse_args()
    logging.getLogger("genomic_ulmfit").setLevel(logging.ERROR)
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.out)
    stretches = options.stretch or list(STRETCHES)
    heads = [f"{stretch}, {distance} bp" for stretch in stretches for distance in DISTANCES]
    rows = [["negatives", "step", "refine", *heads]]
    for name in options.only or ROWS:
        model = bench.model(name)
        refine = refine_for(model, options.refine)
        for step in [*(options.steps or [step_for(model)]), None]:
            areas = [
                area for stretch in stretches for area in bench.areas(name, stretch, step, refine if step else None)
            ]
            said = [str(step), str(refine)] if step else ["matrix", ""]
            rows.append([name, *said, *(f"{area:.3f}" for area in areas)])
            print(*rows[-1], flush=True)
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    main()
