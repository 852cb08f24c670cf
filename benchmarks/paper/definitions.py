"""What a table is made of: data sets, rows, published figures, aims and ideas; and the cells that follow from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

import genomic_ulmfit as gu
from benchmarks.paper.methods import BASELINE_METHODS, Settings

FEW_LABELS = 200  # up to here five seeds: twenty other labels make another classifier


@dataclass(frozen=True)
class Row:
    """One way to learn: a method, what it starts from, and how.

    `language_models` are names of files; of several, one classifier each, used as an ensemble. `note` says what a
    reader must know of the row, above all what its language models have read.
    """

    name: str
    title: str
    method: str
    language_models: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """One data set: `records(data, seed)` builds it, with label and split=train, valid or test.

    `files` are what it reads, below the folder of data; `redrawn` says that each seed makes another data set.
    `groups` says which records are resampled together: None for those that share a 25-mer, or a key of annotations.
    `subsets` are parts of the test part, or further test sets, that are scored besides, by what is said of them.
    `more` computes other metrics of a part, by name: of its records, the classes and the probabilities of these.
    """

    name: str
    title: str
    records: Callable[[Path, int], list[SeqRecord]]
    files: tuple[str, ...]
    rows: tuple[Row, ...]
    redrawn: bool = False
    groups: str | None = None
    subsets: Mapping[str, Callable[[list[SeqRecord]], list[SeqRecord]]] = field(default_factory=dict)
    more: Callable[[list[SeqRecord], list[str], NDArray[np.floating]], dict[str, float]] | None = None


@dataclass(frozen=True)
class Published:
    """What a paper says, beside our row of that name; `row` may be one that is not ours."""

    variant: str
    row: str
    metrics: dict[str, float]
    n: int | None = None


@dataclass(frozen=True)
class AtLeast:
    """An aim: the row's mean reaches a figure."""

    variant: str
    row: str
    metric: str
    figure: float
    n: int | None = None


@dataclass(frozen=True)
class Ordered:
    """An aim: the means rise from row to row."""

    variant: str
    rows: tuple[str, ...]
    metric: str
    n: int | None = None


@dataclass(frozen=True)
class AboveBaselines:
    """An aim: the row's mean is above every baseline's, or that of `rivals` where some are named, by so much."""

    variant: str
    row: str
    metric: str
    by: float = 0.0
    n: int | None = None
    rivals: tuple[str, ...] = ()


Aim = AtLeast | Ordered | AboveBaselines


@dataclass(frozen=True)
class Idea:
    """A row that was tried in place of another one. Only the valid part is scored: the test part stays closed."""

    variant: str
    row: Row
    instead_of: str
    n: int | None = None


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    `sizes` are numbers of training labels, None for the whole training part, which has about `labels` of `bases` bp
    each. `metric` is the one shown with intervals, `also` are shown as means. `source` says where the published figures
    are from, `notes` what is honest about ours.
    """

    number: int
    name: str
    title: str
    variants: tuple[Variant, ...]
    published: tuple[Published, ...]
    source: str
    notes: str
    aims: tuple[Aim, ...] = ()
    ideas: tuple[Idea, ...] = ()
    sizes: tuple[int | None, ...] = (None,)
    labels: int = 6791
    bases: int = 150
    seeds: int = 3
    metric: str = "mcc"
    also: tuple[str, ...] = ("accuracy", "precision", "recall", "specificity", "roc_auc", "pr_auc")

    def variant(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)

    def seeds_of(self, variant: Variant, row: Row, n: int | None) -> range:
        """A baseline that learns from the same records again says the same again."""
        if row.method in BASELINE_METHODS and n is None and not variant.redrawn:
            return range(1)
        return range(max(5, self.seeds) if n is not None and n <= FEW_LABELS else self.seeds)


@dataclass(frozen=True)
class Cell:
    """One training, or one baseline: a JSON file of `runs/<table>/`."""

    table: str
    variant: str
    row: str
    method: str
    language_model: str
    n: int | None
    seed: int
    idea: bool = False

    @property
    def file(self) -> str:
        """The name of its file. Rows are told by their name, which says the language model where that differs."""
        size = "all" if self.n is None else str(self.n)
        parts = [*(["idea"] if self.idea else []), self.variant, self.row, size, str(self.seed)]
        return "--".join(re.sub(r"[^A-Za-z0-9_.+-]+", "_", part) for part in parts) + ".json"


def labelled_fasta(data: Path, seed: int, *, file: str) -> list[SeqRecord]:
    """Read records that say label= and split= themselves; for `Variant.records`, with `file` given by partial."""
    return gu.read_dataset(data / file)


def row_of(table: Table, cell: Cell) -> Row:
    """Return the row that a cell belongs to."""
    if cell.idea:
        return next(idea.row for idea in table.ideas if (idea.variant, idea.row.name) == (cell.variant, cell.row))
    return next(row for row in table.variant(cell.variant).rows if row.name == cell.row)


def cells_of(table: Table) -> list[Cell]:
    """Return the cells of a table in the order of what a run that is cut off should have.

    Whole seeds first, of a seed what the aims speak of, and of that the most labels, which take longest.
    """
    aimed = {(aim.variant, row) for aim in table.aims for row in (aim.rows if isinstance(aim, Ordered) else (aim.row,))}
    return sorted(
        _cells(table), key=lambda cell: (cell.seed, (cell.variant, cell.row) not in aimed, -(cell.n or 10**9))
    )


def ideas_of(table: Table) -> list[Cell]:
    """Return the cells of a table's ideas."""
    return [
        _cell(table, idea.variant, idea.row, idea.n, seed, idea=True)
        for idea in table.ideas
        for seed in table.seeds_of(table.variant(idea.variant), idea.row, idea.n)
    ]


def _cells(table: Table) -> Iterator[Cell]:
    for variant in table.variants:
        for row in variant.rows:
            for n in table.sizes:
                for seed in table.seeds_of(variant, row, n):
                    yield _cell(table, variant.name, row, n, seed)


def _cell(table: Table, variant: str, row: Row, n: int | None, seed: int, *, idea: bool = False) -> Cell:
    return Cell(table.name, variant, row.name, row.method, "+".join(row.language_models), n, seed, idea)


def missing(rows: Sequence[Row], models: Path | None) -> dict[str, list[str]]:
    """Return the language models that are neither in a folder nor in the package, by the row that wants them."""
    found = {row.name: [name for name in row.language_models if not model_file(models, name).exists()] for row in rows}
    return {name: absent for name, absent in found.items() if absent}


def model_file(models: Path | None, name: str) -> Path:
    """Return the file of a language model: in a folder, or else in the package."""
    file = Path(f"{name}.safetensors")
    if models and (models / file).exists():
        return models / file
    return _shipped().get(name, file)


@cache
def _shipped() -> dict[str, Path]:
    return {model.name: model.path for model in gu.shipped_models()}
