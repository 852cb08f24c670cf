"""Tables 1 and 2: gene starts of E. coli, by what the classifier starts from and by the number of labels.

Heyer's protocol: 150 bp, -100/+50 around the start of each CDS, against 150 bp from inside genes, along the gene's
strand. Coordinates are those of the records; the first base of the start codon stands at index 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.paper.definitions import (
    AboveBaselines,
    AtLeast,
    Idea,
    Ordered,
    Published,
    Row,
    Table,
    Variant,
)
from benchmarks.paper.methods import BASELINE_METHODS, Settings
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.homology import KmerSet, homology_groups
from genomic_ulmfit.datasets.records import letters, mask_records, part

ANNOTATION = "ecoli/NC_000913.3.gbk.gz"
UPSTREAM, DOWNSTREAM = 100, 50
MASK = (80, 120)  # 20 bp on either side of the start
JITTER = 40  # bp either way: the start lies at index 60 to 140
TRAIN, VALID, TEST = 6791, 750, 830  # records of Heyer's parts, as his notebooks count them
HOMOLOGY_K = 15  # Heyer: blastn with a word size of 15

# Data sets ------------------------------------------------------------------------------------------------------------


def data_set(data: Path, seed: int, *, split: str, view: str = "plain") -> list[SeqRecord]:
    """Build the records of a split, seen plain, masked or jittered. The seed of the data is always 0."""
    annotation = data / ANNOTATION
    starts = gu.read_tss(annotation, feature="CDS")
    records = gu.promoter_dataset(
        gu.Genome(annotation),
        jittered(starts, JITTER) if view == "jittered" else starts,
        upstream=UPSTREAM,
        downstream=DOWNSTREAM,
        negatives="gene-body",
        genes=gu.read_genes(annotation, feature="CDS"),
        split="none" if split == "protocol" else "region",
        label="gene_start",
    )
    divided: dict[str, Callable[[list[SeqRecord]], list[SeqRecord]]] = {
        "protocol": independent_parts,
        "region": list,
        "strict": without_relatives,
    }
    records = divided[split](records)
    return mask_records(records, *MASK) if view == "masked" else records


def jittered(starts: list[gu.Interval], most: int) -> list[gu.Interval]:
    """Move each start along the chromosome by up to `most` bp either way, all offsets alike likely."""
    offsets = np.random.default_rng(0).integers(-most, most + 1, size=len(starts))
    moved = zip(starts, offsets.tolist(), strict=True)
    return [start._replace(start=start.start + by, end=start.end + by) for start, by in moved if start.start + by >= 0]


def moved(records: list[SeqRecord], by: int) -> list[SeqRecord]:
    """Return the test records, read from so many bases later on: those bases stand at the end."""
    tested = part(records, "test")
    return [annotated(record, {}, seq=letters(record)[by:] + letters(record)[:by]) for record in tested]


def independent_parts(records: list[SeqRecord]) -> list[SeqRecord]:
    """Deal parts of Heyer's sizes, valid and test halves of either class, from records without any relative.

    A relative is a record that shares a 15-mer, on either strand; windows that overlap by as much are relatives too.
    Of the surplus of training negatives as many are left out as bring the part to its size.
    """
    found = homology_groups(map(letters, records), k=HOMOLOGY_K)
    alone = found.sizes[found.groups] == 1
    positive = np.array([record.annotations["label"] == "gene_start" for record in records])
    rng = np.random.default_rng(0)
    parts = np.full(len(records), "train")
    for of_class in (positive, ~positive):
        chosen = rng.permutation(np.flatnonzero(of_class & alone))[: (TEST + VALID) // 2]
        parts[chosen[: TEST // 2]] = "test"
        parts[chosen[TEST // 2 :]] = "valid"
    spare = rng.permutation(np.flatnonzero(~positive & (parts == "train")))
    parts[spare[: max(0, int((parts == "train").sum()) - TRAIN)]] = ""
    return [annotated(record, {"split": str(name)}) for record, name in zip(records, parts, strict=True) if name]


def without_relatives(records: list[SeqRecord]) -> list[SeqRecord]:
    """Drop valid records that share a 25-mer with a training record, and test records that do with one of either."""
    for name, learnt in (("valid", ["train"]), ("test", ["train", "valid"])):
        seen = KmerSet(letters(record) for of in learnt for record in part(records, of))
        judged = part(records, name)
        known = {id(record) for record, hit in zip(judged, seen.hits(map(letters, judged)), strict=True) if hit}
        records = [record for record in records if id(record) not in known]
    return records


# Rows -----------------------------------------------------------------------------------------------------------------

SCRATCH = Row("from_scratch", "from scratch", "from_scratch")
BASELINES = tuple(Row(name, title, name) for name, title in BASELINE_METHODS.items())
ADAPT = Settings(lm_epochs=1)  # chosen on the plain data's valid part, as the notes of table 1 say
ECOLI = Row(
    "adapted.ecoli-small",
    "E. coli genome",
    "fine_tuned",
    ("ecoli-small",),
    ADAPT,
    "the language model has read E. coli K-12 MG1655, both strands, without the last fifth of the chromosome; before "
    "the classifier it goes over the training records, without their labels, as in all rows that have one",
)
BACTERIA = Row(
    "adapted.bacteria-small",
    "genomic ensemble",
    "fine_tuned",
    ("bacteria-small",),
    ADAPT,
    "the language model has read 21 bacterial genomes, among them MG1655 without the last fifth of the "
    "chromosome, and the others without each 1-kb block that shares a 25-mer with that fifth",
)
BOTH = Row(
    "adapted.bacteria-small.both",
    "genomic ensemble, forward + backward",
    "fine_tuned",
    ("bacteria-small", "bacteria-small-backward"),
    ADAPT,
    "two classifiers, their probabilities averaged; both language models have read the same as that of the "
    "genomic ensemble",
)
UNADAPTED = Row(
    "fine_tuned.bacteria-small",
    "genomic ensemble, without the middle stage",
    "fine_tuned",
    ("bacteria-small",),
    note="the classifier is trained from the language model as it is",
)
STRICT = Row(
    "adapted.strict-small",
    "other bacteria",
    "fine_tuned",
    ("strict-small",),
    ADAPT,
    "the language model has read no E. coli and no Shigella, and of the other genomes no 1-kb block that shares "
    "a 25-mer with the last fifth of MG1655",
)
TRAINED = (SCRATCH, ECOLI, BACTERIA)


def whole(row: Row) -> Row:
    """Return a row as it was before classifiers knew places: the head of ULMFiT pools over whole records alone."""
    return replace(
        row,
        name=f"whole.{row.name}",
        title=f"{row.title}, whole records pooled",
        settings=replace(row.settings, segments=1),
        note="the same with the head of ULMFiT, which pools over the whole record alone",
    )


def and_whole(*rows: Row) -> tuple[Row, ...]:
    return (*rows, *map(whole, rows))


def ideas_from(model: str, base: Settings, *, many: int = 12) -> tuple[Row, ...]:
    """Return what may do better than fine-tuning a language model by the settings of a row; `many` are epochs."""
    ideas = {
        "segments8": ("8 segments, not 32", replace(base, segments=8)),
        "adapted3": ("adapted over three passes", replace(base, lm_epochs=3)),
        "longer": (f"{many} epochs", replace(base, epochs=many)),
        "dropout": ("half of the paper's dropout, where the default is a tenth", replace(base, drop_mult=0.5)),
        "slow": (f"a third of the rate, {many} epochs", replace(base, lr=1.5e-3, epochs=many)),
        "last": ("the last layer alone pooled", replace(base, pool="last")),
    }
    rows = [Row(f"{name}.{model}", title, "fine_tuned", (model,), of) for name, (title, of) in ideas.items()]
    return (*rows, Row(f"and_probe.{model}", "averaged with a probe", "fine_tuned_and_probe", (model,), base))


WHOLE = replace(ADAPT, segments=1)
LONGER = Row("longer.bacteria-small", "twice the epochs", "fine_tuned", ("bacteria-small",), replace(WHOLE, epochs=12))
WIDER = Row("wider", "a language model of 5 M weights, not 1 M", "fine_tuned", ("bacteria-medium",), WHOLE)
UNADAPTED_LONGER = replace(
    whole(UNADAPTED),
    name="longer.unadapted",
    title="no middle stage, twice the epochs",
    settings=Settings(segments=1, epochs=12),
)


MOVED = {f"moved by {by}": partial(moved, by=by) for by in (1, 3)}


def variant(name: str, title: str, split: str, view: str, rows: tuple[Row, ...]) -> Variant:
    records, subsets = partial(data_set, split=split, view=view), MOVED if view == "masked" else {}
    return Variant(name, title, records, (ANNOTATION,), rows + BASELINES, subsets=subsets)


# Tables ---------------------------------------------------------------------------------------------------------------

GENE_STARTS = Table(
    number=1,
    name="gene_starts",
    title="E. coli gene starts: what pretraining brings",
    variants=(
        variant(
            "plain", "plain, Heyer's protocol", "protocol", "plain", (*and_whole(*TRAINED, BOTH), whole(UNADAPTED))
        ),
        variant("plain_region", "plain, split by region", "region", "plain", and_whole(*TRAINED)),
        variant(
            "masked",
            "start masked, split by region",
            "region",
            "masked",
            (*and_whole(*TRAINED, BOTH), whole(UNADAPTED)),
        ),
        variant("jittered", "start jittered, split by region", "region", "jittered", and_whole(*TRAINED)),
        variant("strict", "strict", "strict", "plain", (SCRATCH, STRICT, whole(SCRATCH))),
        variant("strict_masked", "strict, start masked", "strict", "masked", (SCRATCH, STRICT, whole(SCRATCH))),
    ),
    published=(
        Published("plain", SCRATCH.name, {"mcc": 0.670, "accuracy": 0.834, "precision": 0.847, "recall": 0.816}),
        Published("plain", ECOLI.name, {"mcc": 0.839, "accuracy": 0.919, "precision": 0.941, "recall": 0.893}),
        Published("plain", BACTERIA.name, {"mcc": 0.947, "accuracy": 0.973, "precision": 0.980, "recall": 0.966}),
    ),
    source="Heyer, Genomic-ULMFiT, *E. coli Baseline*: one run each of 400/1150/1150/400 nets",
    aims=(
        AtLeast("plain", SCRATCH.name, "mcc", 0.670),
        AtLeast("plain", SCRATCH.name, "accuracy", 0.834),
        AtLeast("plain", ECOLI.name, "mcc", 0.839),
        AtLeast("plain", ECOLI.name, "accuracy", 0.919),
        AtLeast("plain", BACTERIA.name, "mcc", 0.950),
        AtLeast("plain", BACTERIA.name, "accuracy", 0.975),
        Ordered("plain", (SCRATCH.name, ECOLI.name, BACTERIA.name), "mcc"),
        AboveBaselines("plain_region", BACTERIA.name, "mcc"),
        AboveBaselines("masked", BACTERIA.name, "mcc"),
        AboveBaselines("jittered", BACTERIA.name, "mcc"),
        AboveBaselines("strict", STRICT.name, "mcc"),
        AboveBaselines("strict_masked", STRICT.name, "mcc"),
    ),
    ideas=(
        Idea("plain", UNADAPTED_LONGER, whole(UNADAPTED).name),
        *(Idea(name, LONGER, whole(BACTERIA).name) for name in ("plain", "masked")),
        Idea("masked", WIDER, whole(BACTERIA).name),
    ),
    notes="""
- Positives are the starts of coding sequences, not of transcription: the records are *gene starts*, what the source
  calls promoters. All positives have their start codon at one index, and one 3-mer there nearly does the task
  (the row "3-mer at one position"). So the plain figures are no evidence of what pretraining brings; those with the
  start masked or jittered are.
- Heyer's parts are counted in his notebooks: 6,791 records to train on, 375 + 375 valid, 415 + 415 test, the latter
  two from a maximal independent set of sequences that BLAST (word size 15) links. A record of such a set may be linked
  to one outside of it, that is, to one that trains. Here valid and test records share no 15-mer, on either strand, with
  any other record of the set. His annotation had 4,357 CDS, the one at hand has 4,319.
- By that protocol valid and test lie all over the chromosome. The language models of E. coli and of the 21 genomes
  have read most of them, without labels, as Heyer's had. With the split by region they have not: training is the first
  .8 of the chromosome, valid and test the next tenths, and these were left out of pretraining with whatever looks
  like them.
- Moved: the same test records, read from one or three bases later on (those bases stand at the end). Classifiers that
  see where a k-mer stands count the reading frame: moved by one base they lose much, from scratch most; by three,
  little. That is knowledge about windows cut at starts, and what a net from scratch has in place of pretraining;
  jittered records leave it nothing to count from.
- Masked: N over the 20 bp on either side of the start, in all records. Jittered: each start is moved by up to 40 bp
  either way, so that no index tells anything. Strict: split by region; no test record shares a 25-mer with a training
  or valid record; no language model has read any E. coli or Shigella.
- Does naive < genome < ensemble hold? By Heyer's protocol in the mean of three seeds (the aim above), in steps that
  the intervals over seeds cover. By region, plain, there is nothing between them (.960, .962, .964); jittered,
  pretraining brings much.
- Classifiers see where in the record something stands: the head pools the outputs over 32 segments of it too
  (docs/training.md). That was chosen on valid parts, B. subtilis' and here seed 0's. In the runs of this table, by
  region, the genomic ensemble has a valid MCC of .979 with them and of .956 without, plain; masked of .825 and .823,
  which is nothing (three seeds). The rows *whole records pooled* are the runs from before, with the head of
  ULMFiT; their test part had been scored by then.
- The middle stage of ULMFiT, one pass of the language model over the training records, was chosen before that, on the
  valid part of seed 0, plain: MCC .963 with it, .931 without; twice the epochs bring as much (.960), both together no
  more (.963). Over three seeds less is left of that, and where the start is masked nothing. Before that choice, such
  rows had been run with seed 0, their test part scored: .952 from the E. coli genome, .940 from the genomic ensemble in
  both directions.
- With the head of ULMFiT, trainings that differ in nothing but the seed differ by .03 in MCC and more; from scratch and
  masked by .2.
- These are compact nets (2 layers, embedding 128, hidden 384, k=3, stride 1), their language model a nineteenth of
  Heyer's in weights.
""",
)

BEST = "bacteria-small"  # the ensemble's, as in the source
HEYERS_SIZES = {
    TRAIN: 0.947, 3000: 0.932, 1000: 0.903, 500: 0.848, 200: 0.833, 100: 0.809, 50: 0.690, 20: 0.669,
}  # fmt: skip


def label_rows(language_model: str) -> tuple[Row, ...]:
    """Return the rows of the table of few labels, from one language model."""
    on_all, seen = replace(ADAPT, lm_records="all"), (language_model,)
    note = f"{BACTERIA.note}; before the classifier it goes over all training records, labelled or not, without labels"
    return (
        Row(f"adapted.{language_model}", "fine-tuned", "fine_tuned", seen, on_all, note),
        Row(f"probe.{language_model}.adapted", "probe", "probe", seen, on_all, "the same language model"),
        SCRATCH,
    )


def label_variant(name: str, title: str, split: str, view: str) -> Variant:
    few = tuple(row for row in BASELINES if row.name in ("kmer", "pwm"))
    return Variant(name, title, partial(data_set, split=split, view=view), (ANNOTATION,), label_rows(BEST) + few)


LABELS = Table(
    number=2,
    name="few_labels",
    title="E. coli gene starts: how many labels it takes",
    variants=(
        label_variant("plain", "plain, Heyer's protocol", "protocol", "plain"),
        label_variant("masked", "start masked, split by region", "region", "masked"),
    ),
    published=tuple(Published("plain", label_rows(BEST)[0].name, {"mcc": mcc}, n) for n, mcc in HEYERS_SIZES.items()),
    source="Heyer, Genomic-ULMFiT, notebook *E. coli 4 Data Reduction*: one run each, from the ensemble's model",
    aims=tuple(AtLeast("plain", label_rows(BEST)[0].name, "mcc", mcc, n) for n, mcc in HEYERS_SIZES.items()),
    sizes=tuple(HEYERS_SIZES),
    notes="""
- Each seed draws other labels, as many of one class as of the other; the test part is always the same.
- Besides the labels named, a quarter as many more from the valid part choose the epoch of fine-tuning and from scratch.
  The source watched 750 labelled valid records throughout, also with 20 labels to train on.
- Sequences without labels are to be had for nothing, as the rest of the genome is: the middle stage of ULMFiT goes over
  the whole training part, whatever the number of labels.
- What the plain and the masked data are, and what the language model has read, is said at table 1.
- Masked, up to 200 labels, five seeds each, a net from scratch is far behind the fine-tuned one, and below the best
  table: what pretraining brings is most where labels are few. With 3,000 it is still behind (.646 against .738, one
  seed), with all 6,791 it isn't (.805 against .760, two seeds each).
- With 20 labels fine-tuning depends on the draw, plain .163 to .774: five valid records choose the epoch, with the
  worst draw the first of 61. The probe, which needs none, has .686 there, above the published figure, and is what the
  package recommends below 500 labels. Seed 0 alone met the aim of fine-tuning (.759); five seeds don't.
- With 50 labels the rows *fine-tuned* and *from scratch* had pooled whole records: .686 and .297 plain, .529 and .175
  masked (means of two seeds). Then the default changed: 32 segments from 50 training records on, before from 100, as
  was found on valid parts and *B. subtilis* (docs/training.md), and these rows were run again. The choice was not made
  on this test part, but after the miss of .690 was known.
""",
)

TABLES = (GENE_STARTS, LABELS)
