"""Table 7: long promoters, -500/+500 around TSSs, against windows of the same length between TSSs.

Windows follow the strand of the TSS, which lies at index 500; coordinates are those of the genomes, 0-based half-open.
"""

from __future__ import annotations

from pathlib import Path

from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.paper.definitions import AboveBaselines, AtLeast, Published, Row, Table, Variant
from benchmarks.paper.gene_starts import ADAPT, BASELINES, SCRATCH
from benchmarks.paper.methods import Settings
from benchmarks.paper.running import drawn
from genomic_ulmfit.datasets.records import part

UPSTREAM, DOWNSTREAM = 500, 500
CHR20, EPDNEW = "human-grch37/GRCh37_chr20.fa.gz", "human-grch37/EPDnew_hg19_chr20.bed"
S288C, MEASURED = "yeast/S288C_chrI-XVI.fasta.gz", "yeast/Scer_polIItranscripts-adjustedTSS.bed"
YEAST_LABELS = 4000  # of some 10,000

# Data sets ------------------------------------------------------------------------------------------------------------


def human(data: Path, seed: int) -> list[SeqRecord]:
    """Cut chromosome 20 in three stretches; all starts of EPDnew there."""
    return _records(data / CHR20, data / EPDNEW, "region", (0.7, 0.15, 0.15))


def yeast(data: Path, seed: int) -> list[SeqRecord]:
    """Divide the sixteen chromosomes; the measured 5' ends of Pol II transcripts. Each seed draws what trains."""
    records = _records(data / S288C, data / MEASURED, "chromosome", (0.8, 0.1, 0.1))
    return drawn(part(records, "train"), YEAST_LABELS, [seed]) + part(records, "valid") + part(records, "test")


def _records(genome: Path, starts: Path, split: str, fractions: tuple[float, float, float]) -> list[SeqRecord]:
    return gu.promoter_dataset(
        genome,
        starts,
        upstream=UPSTREAM,
        downstream=DOWNSTREAM,
        padding=0,
        negatives="intertss",
        split=split,
        fractions=fractions,
    )


# Rows and table -------------------------------------------------------------------------------------------------------

HUMAN = Row(
    "adapted.human-small",
    "human chromosome 20",
    "fine_tuned",
    ("human-small",),
    ADAPT,
    "the language model has read all of chromosome 20 without labels, valid and test stretches too, but for the "
    "1-kb blocks that share a 25-mer with a valid or test record of GUE: like the source's, which had read the whole "
    "genome, it is no stranger to the test part",
)
PROBE = Row("probe.human-small", "human chromosome 20, probe", "probe", ("human-small",), note="the same model")
OWN = Row(
    "own_sequences",
    "training windows alone: pretrained, fine-tuned",
    "from_own_sequences",
    settings=Settings(lm_epochs=1),
    note="the language model has read nothing but the training windows, both strands, without their labels, once",
)

LONG_PROMOTERS = Table(
    number=7,
    name="long_promoters",
    title="long promoters, -500/+500",
    variants=(
        Variant("human", "human chromosome 20", human, (CHR20, EPDNEW), (SCRATCH, OWN, HUMAN, PROBE, *BASELINES)),
        Variant("yeast", "yeast", yeast, (S288C, MEASURED), (SCRATCH, OWN, *BASELINES), redrawn=True),
    ),
    published=(
        Published("human", "Umarov et al. 2018, -200/+400", {"mcc": 0.762, "precision": 0.769, "recall": 0.755}),
        Published("human", "Umarov et al. 2018, -1000/+500", {"mcc": 0.714, "precision": 0.636, "recall": 0.802}),
        Published("human", HUMAN.name, {"mcc": 0.784, "accuracy": 0.894, "precision": 0.900, "recall": 0.844}),
    ),
    source="Heyer, Genomic-ULMFiT, *Human Promoters, Long Sequences*, one run; whole genome, EPDnew",
    aims=(
        AtLeast("human", HUMAN.name, "mcc", 0.784),
        AboveBaselines("human", HUMAN.name, "mcc"),
        AboveBaselines("yeast", OWN.name, "mcc"),
    ),
    notes="""
- The method is the source's: windows of 1 kb around TSSs, and as many that touch none of these, between neighbouring
  TSSs. Its data were the whole genome, tens of thousands of windows; at hand is chromosome 20, 611 TSSs, with 117 in
  the test part. The figures can't be compared but in kind. Its classes were not of one size, here they are.
- Windows follow the strand; a window between TSSs lies on either strand by chance. (A window cut from the "+" strand
  alone would make half of the promoters read backwards.)
- Split by region on chromosome 20 (.7, .15 and, at its end, .15 to test on), by chromosome in yeast. Each seed of the
  yeast rows learns from 4,000 of 10,344 training windows, half of each class.
- Human promoters of this kind are rich in G and C, windows between TSSs are not: see what GC alone scores. In both
  genomes the 3-mer at the start of transcription itself tells more than any composition: see the row.
- What pretraining brings in yeast, on nothing but the windows that are learnt from: .809 against .778 from scratch, one
  seed, intervals over records that overlap (on valid .778 against .747).
- Yeast's TSSs lie so close that neighbouring promoters' windows overlap, and that windows between TSSs are few places
  cut again and again, mostly coding; nothing overlaps across parts.
""",
    labels=2500,  # 800 and 4,000
    bases=1000,
)

TABLES = (LONG_PROMOTERS,)
