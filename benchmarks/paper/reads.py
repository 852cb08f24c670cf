"""Table 9: genera of 16S reads, amplicon and shotgun, simulated as those of the source were.

A read's label is the lineage of its reference, "class;order;family;genus", so that one call of a genus is one of every
rank above it. `benchmarks.metagenomics` says what of the source's reads is known and what had to be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

import genomic_ulmfit as gu
from benchmarks.metagenomics import FRACTIONS, RANKS, read_references, simulate
from benchmarks.paper.definitions import AtLeast, Published, Row, Table, Variant
from benchmarks.paper.gene_starts import ADAPT, BASELINES, SCRATCH
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.records import labels

REFERENCES = "metagenomics/1000seq.fasta.gz"
TRAIN = {"amplicon": 24_220, "shotgun": 24_414}  # reads, .865 of what the source's files held

# Data sets ------------------------------------------------------------------------------------------------------------


def data_set(data: Path, seed: int, *, kind: str, split: str) -> list[SeqRecord]:
    """Simulate the reads and divide them, each alone or all of a reference together. The data's seed is always 0."""
    reads = [annotated(read, {"label": lineage(read)}) for read in simulate(read_references(data / REFERENCES), kind)]
    return gu.split_records(reads, split, fractions=FRACTIONS)


def lineage(record: SeqRecord) -> str:
    """Return the names of a record's taxa from class to genus."""
    return ";".join(str(record.annotations[rank]) for rank in RANKS)


# Figures --------------------------------------------------------------------------------------------------------------


def by_rank(
    records: Sequence[SeqRecord], classes: Sequence[str], probabilities: NDArray[np.floating]
) -> dict[str, float]:
    """Return the mean F1 over genera, and the accuracy at each rank above.

    A taxon's probability is the sum over its genera, so that a call of a family may be right where none of its genera
    is likely. The mean is over the genera that the records are of.
    """
    from sklearn.metrics import f1_score

    truth = labels(records)
    calls = np.array(classes)[probabilities.argmax(axis=1)]
    found = {"f1": float(f1_score(truth, calls, labels=sorted(set(truth)), average="macro", zero_division=0))}
    for level, rank in enumerate(RANKS[:-1], 1):
        taxon_of = [";".join(name.split(";")[:level]) for name in classes]
        taxa = sorted(set(taxon_of))
        members = np.array([[name == taxon for taxon in taxa] for name in taxon_of], dtype=float)
        called = (probabilities @ members).argmax(axis=1)
        right = [name.startswith(f"{taxa[at]};") for name, at in zip(truth, called, strict=True)]
        found[f"accuracy_{rank}"] = float(np.mean(right))
    return found


# Rows and table -------------------------------------------------------------------------------------------------------

READ_BY = (
    "the language model has read 21 bacterial genomes, of nine genera, none of which is among the 100; the references' "
    "own sequences it has not been given"
)
ULMFIT = Row(
    "adapted.bacteria-small",
    "21 genomes, then the reads",
    "fine_tuned",
    ("bacteria-small",),
    ADAPT,
    f"{READ_BY}; before the classifier it goes over the training reads, without their labels, as the source's did",
)
ROWS = (SCRATCH, ULMFIT, *BASELINES)
SPLITS = {"published": "random", "references": "group"}


def variant(kind: str, name: str, title: str) -> Variant:
    records = partial(data_set, kind=kind, split=SPLITS[name])
    return Variant(f"{kind}_{name}", f"{kind}, {title}", records, (REFERENCES,), ROWS, groups="group", more=by_rank)


def figures(accuracy: float, precision: float, recall: float, f1: float) -> dict[str, float]:
    return {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}


READS = Table(
    number=9,
    name="reads",
    title="16S reads, 100 genera",
    variants=(
        variant("amplicon", "published", "split as published"),
        variant("amplicon", "references", "references on one side"),
        variant("shotgun", "published", "split as published"),
        variant("shotgun", "references", "references on one side"),
    ),
    published=(
        Published("amplicon_published", "Fiannaca et al. 2018", figures(0.9137, 0.9162, 0.9137, 0.9126)),
        Published("amplicon_published", ULMFIT.name, figures(0.9239, 0.9402, 0.9332, 0.9306)),
        Published("shotgun_published", "Fiannaca et al. 2018", figures(0.8550, 0.8570, 0.8520, 0.8511)),
        Published("shotgun_published", ULMFIT.name, figures(0.8797, 0.8824, 0.8769, 0.8758)),
    ),
    source="Heyer, Genomic-ULMFiT, *Metagenomics Classification*: one run each, 400/1150/1150/400 nets, k=3, stride 1",
    aims=(
        AtLeast("amplicon_published", ULMFIT.name, "accuracy", 0.924),
        AtLeast("shotgun_published", ULMFIT.name, "accuracy", 0.880),
    ),
    notes="""
- The source's reads are not at hand, its 1,000 references are. The reads here are simulated from those as far as it is
  known how theirs were, as many and as long (`benchmarks/metagenomics.py` says what is known, inferred and chosen).
  **They are not the same reads, and may be easier**: see what the 4-mer regression scores. So an aim that is met says
  that the figure was reached on reads of this kind, not that the published model was beaten.
- Split as published: each read by itself, .865 / .065 / .07. All reads of a reference look alike, and a test read's
  neighbours have trained; on amplicon reads many test reads *are* training reads but for errors (the look-up). The
  split with references on one side asks for the genus of genes that were never seen. References that can't be told
  apart are one, whatever their genus.
- By the published split pretraining brought nothing, with 240 reads a genus to learn from: a net from scratch comes as
  far on amplicon reads (.946 each) and further on shotgun reads (.960 against .951; one seed, on valid .965 against
  .956). With references on one side there is no difference on shotgun reads (.904 each), and on amplicon reads one seed
  can't tell (.807 against .783, on valid .803 against .810; 4-mers .789 and .813).
- Some genera share their amplicon letter for letter: no model can be right on all reads.
- A taxon's probability is the sum over its genera. Precision, recall and F1 are means over genera. The interval over
  records draws references with all of their reads, 100 times.
- Reads differ in length by a few bases, as insertions and deletions have it: weight matrix and 3-mer at one position
  look at the bases that all reads have, from the first on.
""",
    labels=TRAIN["amplicon"],
    bases=215,  # 180 and 250
    metric="accuracy",
    also=("precision", "recall", "f1", "accuracy_family", "accuracy_order", "accuracy_class", "mcc"),
)

TABLES = (READS,)
