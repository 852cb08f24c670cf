"""A table of the paper's kind with nothing of the paper: random records with and without a motif, and tiny nets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from Bio.Seq import Seq
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
    labelled_fasta,
)
from benchmarks.paper.methods import Settings
from genomic_ulmfit.stages import seeded

FILE = "boxes.fa"
CONFIG = gu.AWDLSTMConfig(n_embedding=4, n_hidden=6, n_layers=1, n_head=4)


def records() -> list[SeqRecord]:
    """Make 120 records of 30 bp; half of them have TATA at index 10, the others CCGC; before both stands GG."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(120):
        text = "".join(rng.choice(list("ACGT"), size=30))
        text = text[:8] + ("GGCCGC", "GGTATA")[i % 2] + text[14:]
        said = {"label": ("background", "box")[i % 2], "split": ("train", "train", "valid", "test")[i // 2 % 4]}
        made.append(SeqRecord(Seq(text), id=f"r{i}", annotations=said))
    return made


SCRATCH = Row("from_scratch", "from scratch", "from_scratch", settings=Settings(epochs=1))
PROBE = Row("probe.tiny", "probe", "probe", ("tiny",), note="the model is untrained")
ABSENT = Row("probe.absent", "probe of another", "probe", ("absent",))
BOX = Row("position", "one position", "position")
GC = Row("gc", "GC content", "gc")
BASES = Variant("bases", "as they are", partial(labelled_fasta, file=FILE), (FILE,), (PROBE, ABSENT, BOX, GC))

TABLE = Table(
    number=99,
    name="toy",
    title="boxes",
    variants=(BASES,),
    published=(
        Published("bases", "probe.tiny", {"mcc": 0.5, "accuracy": 0.75}),
        Published("bases", "CNN of others", {"mcc": 0.9}),
    ),
    source="nobody",
    notes="Nothing is learnt here.",
    aims=(
        AtLeast("bases", "position", "mcc", 0.99),
        AtLeast("bases", "position", "mcc", 1.01),
        AtLeast("bases", "probe.absent", "mcc", 0.1),
        Ordered("bases", ("gc", "position"), "mcc"),
        AboveBaselines("bases", "probe.tiny", "mcc"),
    ),
    ideas=(Idea("bases", Row("probe.last", "last layer", "probe", ("tiny",), Settings(pool="last")), "probe.tiny"),),
)


def fill(folder: Path) -> tuple[Path, Path]:
    """Make the folders of data and of models; the model "absent" is not there."""
    data, models = folder / "data", folder / "models"
    data.mkdir()
    models.mkdir()
    gu.write_dataset(records(), data / FILE)
    gu.save(seeded(0, lambda: gu.LanguageModel(gu.KmerVocab(2), CONFIG)), models / "tiny.safetensors")
    return data, models
