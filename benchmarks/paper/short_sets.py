"""Tables 3, 4, 6, 8 and 10: published sets of short records, by the kind of split that they are given.

Promoters of bacteria, plants, mouse and man (Umarov & Solovyev 2017, doi:10.1371/journal.pone.0171410) and human
enhancers (Cohn et al. 2018, doi:10.1101/264200). No record says where it lies, so nothing here has coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.paper.definitions import AboveBaselines, AtLeast, Idea, Published, Row, Table, Variant
from benchmarks.paper.gene_starts import ADAPT, BASELINES, SCRATCH, ideas_from, whole
from benchmarks.paper.methods import Settings
from genomic_ulmfit.datasets.dealing import deal
from genomic_ulmfit.datasets.formats import annotated
from genomic_ulmfit.datasets.homology import homology_groups
from genomic_ulmfit.datasets.records import labels, letters

NON_TATA = "human-promoters/human_nontata_promoters.test.csv.gz"
ENHANCERS = "enhancers/human_enhancers_cohn.test.csv.gz"
HEYERS_SHARES = (0.765, 0.085, 0.15)  # his 2,936 of 3,839 and 1,050 of 1,373 training records are .9 of .85
SHARES = (0.8, 0.1, 0.1)
Shares = tuple[float, float, float]
N_FOLDS = 5
SPLITS = {"random": "random split", "homology": "relatives on one side"}

# Data sets ------------------------------------------------------------------------------------------------------------


def cnnprom(data: Path, seed: int, *, files: tuple[str, str], shares: Shares, split: str) -> list[SeqRecord]:
    """Read background and promoters, a file each, and divide them; each seed divides them anew."""
    background, promoters = files
    records = gu.read_dataset({"background": data / background, "promoter": data / promoters})
    return gu.split_records(records, split, fractions=shares, seed=seed)


def one_table(path: Path, target: str, split: str | None = None) -> list[SeqRecord]:
    """Read a table whose labels are 1, the target, and 0; `split` is the part that it is."""
    names = {"0": "background", "1": target}
    records = gu.read_dataset(path, split=split)
    return [annotated(record, {"label": names[label]}) for record, label in zip(records, labels(records), strict=True)]


def human_promoters(data: Path, seed: int, *, split: str) -> list[SeqRecord]:
    """Divide the human promoters without TATA box; each seed divides them anew."""
    return gu.split_records(one_table(data / NON_TATA, "promoter"), split, fractions=SHARES, seed=seed)


def enhancers(data: Path, seed: int, *, split: str) -> list[SeqRecord]:
    """Deal the enhancers into five folds; the seed says which of them is the test part."""
    return fold(one_table(data / ENHANCERS, "enhancer"), seed, split=split)


def fold(records: Sequence[SeqRecord], number: int, *, split: str) -> list[SeqRecord]:
    """Return records with the parts of one fold: a fifth is test, a tenth valid, and the rest train.

    The folds are always the same, so that every record is tested once. In "homology" no two of them share a 25-mer,
    and a family of more than a tenth of the records, which would be a part by itself, trains in each, never tested.
    """
    groups = np.arange(len(records)) if split == "random" else homology_groups(map(letters, records)).groups
    tenth = len(records) / (2 * N_FOLDS)
    dealt = np.flatnonzero(np.bincount(groups)[groups] <= tenth)
    tenths = deal(groups[dealt], np.array(labels(records))[dealt].tolist(), [1 / (2 * N_FOLDS)] * (2 * N_FOLDS))
    turned = (tenths - 2 * number) % (2 * N_FOLDS)
    parts = np.full(len(records), "train")
    parts[dealt] = np.where(turned < 2, "test", np.where(turned == 2, "valid", "train"))
    return [annotated(record, {"split": str(part)}) for record, part in zip(records, parts, strict=True)]


# Rows -----------------------------------------------------------------------------------------------------------------

BACTERIA_NOTE = (
    "the language model has read 21 bacterial genomes, among them E. coli K-12 MG1655 without its last fifth; B. "
    "subtilis is none of them"
)
HUMAN_NOTE = (
    "the language model has read human chromosome 20 (GRCh37), without each 1-kb block that shares a 25-mer with a "
    "valid or test record of GUE"
)
BOTH_NOTE = "two classifiers, one of which reads from right to left, their probabilities averaged"
OWN_NOTE = "the language model has read nothing but the training records, both strands, without their labels"
BOTH_STRANDS = replace(ADAPT, strands="mean")


def rows_from(model: str, title: str, note: str, settings: Settings = ADAPT) -> tuple[Row, ...]:
    """Return the rows of a language model: fine-tuned after the middle stage, with the backward one, and probed."""
    both = (model, f"{model}-backward")
    adapted = f"{note}; before the classifier it goes over the training records, without their labels"
    return (
        Row(f"adapted.{model}", f"{title}: fine-tuned", "fine_tuned", both[:1], settings, adapted),
        Row(f"adapted.{model}.both", f"{title}: forward + backward", "fine_tuned", both, settings, BOTH_NOTE),
        Row(f"probe.{model}", f"{title}: probe", "probe", both[:1], replace(settings, lm_epochs=0), note),
    )


BACTERIA = rows_from("bacteria-small", "21 bacteria", BACTERIA_NOTE)
HUMAN = rows_from("human-small", "human chromosome 20", HUMAN_NOTE)


STRICT = Row(
    "adapted.strict-small",
    "bacteria without E. coli: fine-tuned",
    "fine_tuned",
    ("strict-small",),
    ADAPT,
    "the language model has read no E. coli and no Shigella",
)
CONVOLUTION = Row(
    "convolution",
    "one convolution, as CNNProm's, trained here",
    "convolution",
    note="100 filters of 15 bases, 128 hidden units; the same settings for every set",
)
OWN = Row(
    "own_sequences",
    "training records alone: pretrained, fine-tuned",
    "from_own_sequences",
    settings=Settings(lm_epochs=4),
    note=OWN_NOTE,
)


def variants_of(
    records: Callable[..., list[SeqRecord]],
    files: tuple[str, ...],
    rows: tuple[Row, ...],
    *,
    baselines: tuple[Row, ...] = BASELINES,
    prefix: str = "",
    title: str = "",
) -> tuple[Variant, ...]:
    """Return a data set by each kind of split: `records` takes data, seed and split."""
    return tuple(
        Variant(prefix + split, title + said, partial(records, split=split), files, rows + baselines, redrawn=True)
        for split, said in SPLITS.items()
    )


def cnnprom_variants(
    background: str, promoters: str, shares: Shares, rows: tuple[Row, ...], *, prefix: str = "", title: str = ""
) -> tuple[Variant, ...]:
    files = (f"promoters-cnnprom/{background}.fa.gz", f"promoters-cnnprom/{promoters}.fa.gz")
    return variants_of(partial(cnnprom, files=files, shares=shares), files, rows, prefix=prefix, title=title)


# Tables ---------------------------------------------------------------------------------------------------------------

SOURCE = "Umarov & Solovyev 2017 (CNNProm), one network each; Heyer, Genomic-ULMFiT, one run"
SPLIT_NOTE = """
- The split that the published figures are on was not kept. It was random; here each seed draws another one of the same
  sizes, so the interval over seeds holds the chance of the split too; not all of it, as the splits share most of what
  trains and some of what is tested. Take it as too narrow, by some two fifths with five seeds of tables 3 and 4.
- Relatives on one side: records that share a 25-mer, on either strand, and their relatives in turn, are in one part.
  Here and wherever shared 25-mers are counted, 25-mers of low complexity don't count.
"""
BEST_BACTERIA, BEST_HUMAN = BACTERIA[1].name, HUMAN[1].name  # aims are for forward + backward, fixed before any run

ECOLI = Table(
    number=3,
    name="ecoli_sigma70",
    title="E. coli sigma70 promoters (CNNProm's set)",
    variants=cnnprom_variants("Ecoli_non_prom", "Ecoli_prom", HEYERS_SHARES, (SCRATCH, *BACTERIA, STRICT, CONVOLUTION)),
    published=(
        Published("random", "CNNProm", {"mcc": 0.84, "recall": 0.90, "specificity": 0.96}),
        Published(
            "random",
            "Genomic-ULMFiT",
            {"mcc": 0.871, "accuracy": 0.956, "precision": 0.917, "recall": 0.880, "specificity": 0.977},
        ),
    ),
    source=SOURCE,
    aims=(
        AtLeast("random", BEST_BACTERIA, "mcc", 0.90),
        AboveBaselines("homology", BEST_BACTERIA, "mcc", 0.05, rivals=("kmer",)),
        AboveBaselines("homology", BEST_BACTERIA, "mcc"),
    ),
    ideas=tuple(Idea("homology", row, BACTERIA[0].name) for row in ideas_from("bacteria-small", ADAPT, many=20)),
    notes=f"""{SPLIT_NOTE.rstrip()}
- The promoters are 839 windows, -60/+20 around the transcription starts of RegulonDB 9; the background 3,000 windows
  from coding sequences, the other strand. 2,674 of these share a 25-mer with another record, of the promoters 192: the
  background was drawn from so few places that, with a random split, a table of the 16-mers seen in training knows it
  when it comes. The random split's figures are therefore no evidence of anything learnt about promoters.
- All promoters lie in K-12 MG1655, and most letter for letter in other E. coli. The language model of 21 bacteria has
  read those outside of the last fifth of MG1655, unlabelled, as Heyer's had. That without E. coli and Shigella has not.
- The background is coding: a classifier may learn codons, and says little about a genome's other parts.
- What the published split was worth cannot be told. One convolution as CNNProm's, trained here by one schedule and not
  tuned, has .765 by the random split, where .84 is published: the aim of .90 is missed by less than that.
- Of the ideas below none brings anything on the valid parts, and so none was scored on the test part.
""",
    labels=2936,
    bases=81,
    seeds=5,
)

BACILLUS = Table(
    number=4,
    name="bsubtilis",
    title="B. subtilis promoters (CNNProm's set)",
    variants=cnnprom_variants(
        "Bacillus_non_prom",
        "Bacillus_prom",
        HEYERS_SHARES,
        (SCRATCH, *BACTERIA, CONVOLUTION, *map(whole, (SCRATCH, *BACTERIA[:2]))),
    ),
    published=(
        Published("random", "CNNProm", {"mcc": 0.86, "recall": 0.91, "specificity": 0.95}),
        Published(
            "random",
            "Genomic-ULMFiT",
            {"mcc": 0.759, "accuracy": 0.905, "precision": 0.857, "recall": 0.789, "specificity": 0.95},
        ),
    ),
    source=SOURCE,
    aims=(
        AtLeast("random", BEST_BACTERIA, "mcc", 0.87),
        AboveBaselines("homology", BEST_BACTERIA, "mcc"),
    ),
    ideas=tuple(Idea("homology", row, BACTERIA[0].name) for row in ideas_from("bacteria-small", ADAPT, many=40)),
    notes=f"""{SPLIT_NOTE.rstrip()}
- 373 promoters (DBTBS) and 1,000 windows from coding sequences, the other strand, of which 903 share a 25-mer with
  another record, of the promoters 48. As with E. coli, a table of 16-mers does most of the random split.
- A test part holds 206 records, 56 of them promoters: one promoter more or less is .01 in MCC.
- No B. subtilis is among the genomes of the language model: 4 of the 1,373 records share a 25-mer with one of them.
- Heads that pool over 32 segments of a record (docs/training.md) were chosen on the valid parts of these splits, with
  relatives on one side: in the runs here MCC .70 as a whole, .84 in 32 segments (five seeds). A valid part has 117
  records and also chooses the epoch, so it flatters, by .03 to .09. The rows *whole records pooled* have the head of
  ULMFiT; the test parts of seeds 0 to 3 had been scored with it by then. And since each seed divides the records anew,
  a sixth to a third of what one seed tests is in the valid part of another one, and had a say in that choice.
- Of the other ideas below none brought anything on the same seeds. What stays missed is the aim on the random split,
  where CNNProm's .86 was on one split that was not kept: one convolution as CNNProm's, trained here by one schedule and
  not tuned, has .767. With relatives on one side it does as well as a language model in both directions.
""",
    labels=1050,
    bases=81,
    seeds=5,
)

EUKARYOTES = (
    ("arabidopsis_tata", "Arabidopsis, TATA", "Arabidopsis_non_prom", "Arabidopsis_tata", (OWN,)),
    ("arabidopsis_nontata", "Arabidopsis, non-TATA", "Arabidopsis_non_prom_big", "Arabidopsis_non_tata", (OWN,)),
    ("mouse_tata", "mouse, TATA", "Mouse_nonprom", "Mouse_tata", HUMAN),
)
PUBLISHED_TATA = {  # MCC, recall, specificity
    "arabidopsis_tata": ((0.91, 0.95, 0.97), (0.9366, 0.9599, 0.9774)),
    "arabidopsis_nontata": ((0.86, 0.94, 0.94), (0.9065, 0.9455, 0.9637)),
    "mouse_tata": ((0.93, 0.97, 0.97), (0.9279, 0.9552, 0.9768)),
}
PLANTS_AND_MOUSE = Table(
    number=6,
    name="plant_mouse",
    title="promoters of Arabidopsis and mouse (CNNProm's sets)",
    variants=tuple(
        variant
        for name, title, background, promoters, rows in EUKARYOTES
        for variant in cnnprom_variants(
            background, promoters, SHARES, (SCRATCH, *rows, CONVOLUTION), prefix=f"{name}_", title=f"{title}, "
        )
    ),
    published=tuple(
        Published(f"{name}_random", of, dict(zip(("mcc", "recall", "specificity"), figures, strict=True)))
        for name, both in PUBLISHED_TATA.items()
        for of, figures in zip(("CNNProm", "iPTT(2 L)-CNN"), both, strict=True)
    ),
    source="Umarov & Solovyev 2017 (CNNProm); Sun et al. 2021 (iPTT(2 L)-CNN, doi:10.1155/2021/6636350), ten folds",
    aims=tuple(
        AtLeast(f"{name}_random", BEST_HUMAN if rows is HUMAN else OWN.name, "mcc", max(PUBLISHED_TATA[name])[0])
        for name, _, _, _, rows in EUKARYOTES
    ),
    notes=f"""{SPLIT_NOTE.rstrip()}
- 251 bp, -200/+50 around the starts of EPDnew; the background are windows of genes behind their first exon. Promoters
  stand still in their records, so letters at one index count: see the weight matrix.
- Sharing a 25-mer with another record: Arabidopsis TATA 23 of 1,497 promoters and 235 of 2,879 others; non-TATA 359 of
  5,905 and 1,941 of 11,459; mouse 56 of 1,255 and 772 of 3,530, the largest group 170 records, which always trains.
- No genome of Arabidopsis or any plant is at hand: its language model has read the training records alone. The mouse's
  is of a human chromosome.
- With thousands of promoters lined up at their start there is little for a language model to bring: by the random split
  one convolution as CNNProm's, trained here by one schedule and not tuned, is level with what was pretrained on TATA
  promoters of either species (three seeds), and .025 behind on the others (two seeds). From scratch, and with relatives
  on one side, all that one seed says is level too, but for the convolution on the mouse.
- By the random split the mouse's fine-tuned rows are of the `human-small` that ships; the probe and all rows with
  relatives on one side are of an earlier one of the same recipe (both digests are below).
""",
    labels=3500,
    bases=251,
)

HUMAN_SHORT = Table(
    number=8,
    name="human_short",
    title="human promoters without TATA box, short (CNNProm's set)",
    variants=variants_of(human_promoters, (NON_TATA,), (SCRATCH, *HUMAN, CONVOLUTION)),
    published=(
        Published("random", "CNNProm", {"mcc": 0.89, "recall": 0.90, "specificity": 0.98}),
        Published(
            "random",
            "Genomic-ULMFiT",
            {"mcc": 0.991, "accuracy": 0.995, "precision": 0.992, "recall": 0.996, "specificity": 0.994},
        ),
    ),
    source=SOURCE + " on the whole set",
    aims=(AboveBaselines("random", BEST_HUMAN, "mcc"), AboveBaselines("homology", BEST_HUMAN, "mcc")),
    notes=f"""{SPLIT_NOTE.rstrip()}
  Two windows of a genome that overlap by 25 bp or more share a 25-mer, whatever their coordinates. So this split is
  clean by coordinates too, of overlaps that are not low complexity; windows that lie near each other without
  overlapping may part.
- A quarter of the set is at hand: the test part of Genomic Benchmarks, 4,915 promoters and 4,119 windows of genes.
  The published figures learnt from four times as many records.
- 3,942 of the 4,119 background records share a 25-mer with another one, of the promoters 202: the background was cut
  from few genes, over and over. Dealt by chance, a table of the 16-mers seen in training has the best figure of all,
  and that may be part of the .99. Our nets gain nothing by it: they have the same MCC by either split.
- One seed can't tell that pretraining brings anything: fine-tuned, MCC is .674 and .700, from scratch .693 and .690;
  the mean of two directions of reading comes to .707 in both splits.
- At least 128 of the records, 126 of them promoters, lie letter for letter on the chromosome of the language model, at
  most 62 of them in the blocks that it has read; it saw no labels.
""",
    labels=7227,
    bases=251,
)

STRANDLESS = Settings(strands="mean")
ENHANCER_ROWS = rows_from("human-small", "human chromosome 20", HUMAN_NOTE, BOTH_STRANDS)
ENHANCER_TABLE = Table(
    number=10,
    name="enhancers",
    title="human enhancers (Cohn et al.)",
    variants=tuple(
        replace(variant, title=f"five folds, {variant.title}")
        for variant in variants_of(
            enhancers,
            (ENHANCERS,),
            (replace(SCRATCH, settings=STRANDLESS), *ENHANCER_ROWS, *map(whole, ENHANCER_ROWS[:2])),
            baselines=tuple(replace(row, settings=STRANDLESS) for row in BASELINES),
        )
    ),
    published=(
        Published("random", "Cohn et al.", {"roc_auc": 0.80}),
        Published("random", "Genomic-ULMFiT", {"roc_auc": 0.819}),
        Published("random", "DNABERT-2, probe", {"roc_auc": 0.822}),
    ),
    source="Cohn et al. 2018, supplement; Heyer, Genomic-ULMFiT, one run on the whole set; *Benchmarking DNA "
    "foundation models*, doi:10.1038/s41467-025-65823-8, table 1, mean of the tokens",
    aims=(
        AtLeast("random", BEST_HUMAN, "roc_auc", 0.82),
        AboveBaselines("random", BEST_HUMAN, "roc_auc"),
        AboveBaselines("homology", BEST_HUMAN, "roc_auc"),
    ),
    ideas=tuple(
        Idea("random", row, ENHANCER_ROWS[0].name)
        for row in (
            whole(ENHANCER_ROWS[0]),
            Row(
                "mirrored.human-small",
                "learn the reverse complements too",
                "mirrored",
                ("human-small",),
                BOTH_STRANDS,
                HUMAN_NOTE,
            ),
        )
    ),
    notes="""
- Each seed is one of five folds, so every record is tested once, by a model that trained on seven tenths and chose its
  epoch on another tenth. The interval over seeds is over folds, which share training records: take it as a little
  narrow.
- Folds by chance are what the published figures are nearest to; in the others, records that share a 25-mer are in one.
  A chain of repeats joins 1,630 records, 592 of them enhancers: they train in every fold and are never tested.
- A quarter of the set is at hand: the test part of Genomic Benchmarks, 3,474 enhancers (H3K27ac in the liver) and as
  many windows without the mark, 500 bp. The published figures learnt from four times as many.
- 1,176 of the background records and 622 of the enhancers share a 25-mer with another record: repeats, mostly.
- Enhancers have no strand: probabilities are the means of both strands', and the baselines learn both strands.
- 141 of the records lie letter for letter on the chromosome of the language model, at most 85 of them in the blocks
  that it has read; it saw no labels.
- Rows have 32 segments, the default for records of one length. Where a base stands in an enhancer means nothing:
  whole records pooled did better on the valid part of fold 0 (the idea below), when its test part had been scored with
  segments. The rows *whole records pooled* followed from that; the aims stay with the rows fixed before any run. By
  chance, half of that valid part is tested in fold 1: folds 0 and 2 to 4 had no say.
""",
    labels=4864,
    bases=500,
    seeds=N_FOLDS,
    metric="roc_auc",
    also=("mcc", "accuracy", "precision", "recall", "specificity", "pr_auc"),
)

TABLES = (ECOLI, BACILLUS, PLANTS_AND_MOUSE, HUMAN_SHORT, ENHANCER_TABLE)
