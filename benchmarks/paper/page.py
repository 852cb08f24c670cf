"""JSON runs in, docs/results.md out: the same page of the same runs, whatever the machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.paper import pictures
from benchmarks.paper.definitions import (
    Aim,
    AtLeast,
    Cell,
    Idea,
    Ordered,
    Published,
    Row,
    Table,
    Variant,
    cells_of,
    ideas_of,
)
from benchmarks.paper.figures import LEAST_SEEDS, t_interval
from benchmarks.paper.methods import BASELINE_METHODS, Settings
from benchmarks.paper.running import processor_seconds
from genomic_ulmfit.files import replacing

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
NAMES = {
    "mcc": "MCC",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "f1": "F1",
    "accuracy_class": "accuracy, class",
    "accuracy_order": "accuracy, order",
    "accuracy_family": "accuracy, family",
}
NONE = "-"
HEAD = """# Results: the paper's tables, run again

<!-- made by `python -m benchmarks.paper page` from benchmarks/paper/runs; change those, not this file -->

Each table of Heyer's Genomic-ULMFiT for which there are data at hand, by one command that anyone can give again who has
the files that [benchmarks/data.md](../benchmarks/data.md) lists:

```
python -m benchmarks.paper TABLE --data DIR --models DIR
python -m benchmarks.paper page
```

The first prints the hours that it plans, goes on where it was stopped and writes one JSON a run into
`benchmarks/paper/runs`; the second writes this page from nothing but those. Language models that aren't in the folder
`--models` are those that come with the package ([models.md](models.md)); the others are made by
`python -m benchmarks.models.language_models`.

How to read it:

- *published* is what the paper says; next to it, what was measured here: the mean over seeds.
- *95 % over seeds* is Student's t-interval of that mean, of three or more seeds: other weights to start from, and other
  labels where they are drawn. *95 % over records* is a bootstrap of the test part (mean of the bounds over the seeds),
  in which records that share a 25-mer are drawn together. Neither holds what the other does. A bound above 1 is 1.
- *seeds* are the runs that the mean is of. Baselines that learn from the same records each time are run once.
  Where each seed draws the records anew, rows of unlike numbers of seeds are of other records too: aims are judged by
  the seeds that all of their rows have.
- *valid* is the mean on the validation part. All choices (language model, settings, epoch) were made there, and where
  another one was made the notes say so; the test part is scored once for each final row. The epoch is chosen on it too,
  so *valid* flatters trained rows a little.
- Baselines are the package's, not tuned: one penalty for all regressions, one k.
- Below each table stands what its runs were made on. Trainings multiplied in bf16, but where it says float32: rounding
  is another start, not another recipe ([performance.md](performance.md)).
- Precision, recall, specificity and PR-AUC speak of the positive class; with more than two classes they are means over
  the classes. "-": not said, not run, or not defined.
"""


class Key(NamedTuple):
    """What is averaged over seeds."""

    variant: str
    row: str
    n: int | None
    idea: bool = False


@dataclass(frozen=True)
class Runs:
    """The runs of one table, by row."""

    found: Mapping[Key, list[dict[str, Any]]]

    def values(self, key: Key, metric: str, of: str = "test") -> list[float]:
        """Return a metric of each seed; undefined ones are left out."""
        figures = [run["metrics"].get(of, {}).get(metric) for run in self.found.get(key, [])]
        return [figure for figure in figures if figure is not None]

    def of_seeds(self, seeds: set[int]) -> Runs:
        """Return the runs of some seeds."""
        return Runs({key: [run for run in runs if run["cell"]["seed"] in seeds] for key, runs in self.found.items()})

    def seeds(self, key: Key) -> set[int]:
        return {run["cell"]["seed"] for run in self.found.get(key, [])}

    def mean(self, key: Key, metric: str, of: str = "test") -> float | None:
        values = self.values(key, metric, of)
        return float(np.mean(values)) if values else None

    def over_seeds(self, key: Key, metric: str, of: str = "test") -> tuple[float, float] | None:
        found = t_interval(self.values(key, metric, of))
        return found and (found[0], min(1.0, found[1]))

    def over_records(self, key: Key, metric: str, of: str = "test") -> tuple[float, float] | None:
        pairs = [run["intervals"][of][metric] for run in self.found.get(key, []) if of in run["intervals"]]
        known = [pair for pair in pairs if None not in pair]
        return tuple(np.mean(known, axis=0).tolist()) if known else None

    def all(self) -> Iterator[dict[str, Any]]:
        for runs in self.found.values():
            yield from runs


def read_runs(table: Table, folder: Path) -> Runs:
    """Return the runs of the cells that the table has now; files of others are not looked at."""
    found: dict[Key, list[dict[str, Any]]] = {}
    for cell in sorted([*cells_of(table), *ideas_of(table)], key=lambda cell: cell.seed):
        path = folder / table.name / cell.file
        if path.exists():
            found.setdefault(_key(cell), []).append(json.loads(path.read_text()))
    return Runs(found)


def write_page(tables: Iterable[Table], folder: Path, path: Path) -> Path:
    """Write the page of all tables."""
    with replacing(path) as temporary:
        temporary.write_text(page(tables, folder), encoding="utf-8")
    return path


def page(tables: Iterable[Table], folder: Path) -> str:
    """Lay all tables out as Markdown."""
    runs = [(table, read_runs(table, folder)) for table in tables]
    sections = [_overview(runs), *starmap(_section, runs), pictures.section(folder)]
    return "\n".join([HEAD, *map("\n".join, sections)])


def _overview(of_tables: Sequence[tuple[Table, Runs]]) -> Iterator[str]:
    """A row a table: how many of its aims are met, and which are not."""
    yield "## At a glance\n"
    lines = [["table", "aims met", "of one or two seeds", "missed", "not run yet"]]
    for table, runs in of_tables:
        judged = [judge(table, aim, runs) for aim in table.aims]
        missed = [f"{aim.claim} ({aim.measured})" for aim in judged if aim.met is False]
        open_ = sum(aim.met is None for aim in judged)
        met = [aim for aim in judged if aim.met]
        few = sum(aim.seeds < LEAST_SEEDS for aim in met)
        link, counted = f"[{_heading(table)}](#{_anchor(_heading(table))})", f"{len(met)} of {len(judged)}"
        lines.append([link, counted, str(few or ""), "; ".join(missed), str(open_ or "")])
    yield from _markdown(lines)


def _heading(table: Table) -> str:
    return f"Table {table.number}: {table.title}"


def _anchor(heading: str) -> str:
    """Return what GitHub makes of a heading, to be linked to.

    >>> _anchor("Table 7: long promoters, -500/+500")
    'table-7-long-promoters--500500'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(table: Table, runs: Runs) -> Iterator[str]:
    yield f"## {_heading(table)}\n"
    if not runs.found:
        yield f"Not run yet: `python -m benchmarks.paper {table.name}`.\n"
        return
    yield f"Published: {table.source}.\n"
    for variant in table.variants:
        yield f"### {_capital(variant.title)}\n"
        yield from _variant(table, variant, runs)
    yield from _aims(table, runs)
    yield f"What is honest about it:\n\n{table.notes.strip()}\n"
    yield from _on_rows(table)
    yield from _ideas(table, runs)
    yield from _made_of(runs)


# Figures --------------------------------------------------------------------------------------------------------------


def _variant(table: Table, variant: Variant, runs: Runs) -> Iterator[str]:
    if not any(key.variant == variant.name and not key.idea for key in runs.found):
        yield "Not run yet.\n"
        return
    yield _counts(variant, runs) + "\n"
    if len(table.sizes) == 1:
        yield from _rows(table, variant, runs)
    else:
        yield from _grid(table, variant, runs)


def _rows(table: Table, variant: Variant, runs: Runs) -> Iterator[str]:
    """A row a method: published and measured, the intervals, and the other metrics."""
    n, name = table.sizes[0], NAMES[table.metric]
    also = [metric for metric in table.also if metric != table.metric]
    said = {published.row: published for published in table.published if published.variant == variant.name}
    twice = [metric for metric in also if any(metric in published.metrics for published in said.values())]
    head = [
        "",
        f"{name}: published",
        "measured",
        "seeds",
        "95 % over seeds",
        "95 % over records",
        "valid",
        *variant.subsets,
    ]
    for metric in also:
        head += [f"{NAMES[metric]}: published", "measured"] if metric in twice else [NAMES[metric]]
    lines, absent = [head], [row.title for row in variant.rows if Key(variant.name, row.name, n) not in runs.found]
    for row in [*variant.rows, *_others(said, variant)]:
        if row.title in absent and row.name not in said:
            continue
        key, theirs = Key(variant.name, row.name, n), said[row.name].metrics if row.name in said else {}
        cells = [row.title, number(theirs.get(table.metric)), *_measured(runs, key, table.metric)]
        cells += [number(runs.mean(key, table.metric, subset)) for subset in variant.subsets]
        for metric in also:
            cells += [number(theirs.get(metric))] if metric in twice else []
            cells.append(number(runs.mean(key, metric)))
        lines.append(cells)
    yield from _markdown(lines)
    if absent:
        yield f"Not run yet: {'; '.join(absent)}.\n"


def _grid(table: Table, variant: Variant, runs: Runs) -> Iterator[str]:
    """A row a number of labels, a column a method: one table with the t-intervals, one with the bootstrap."""
    said = {(published.row, published.n): published for published in table.published}
    theirs = [row for row in variant.rows if any((row.name, n) in said for n in table.sizes)]
    theirs = theirs if any(published.variant == variant.name for published in table.published) else []
    for what, interval in (("seeds", runs.over_seeds), ("records", runs.over_records)):
        yield f"{NAMES[table.metric]}, and its 95 % interval over {what}:\n"
        lines = [["labels", *(f"published: {row.title}" for row in theirs), *(row.title for row in variant.rows)]]
        for n in table.sizes:
            cells = [f"{n:,}" if n else "all"]
            cells += [number(_said(said, row.name, n, table.metric)) for row in theirs]
            for row in variant.rows:
                key = Key(variant.name, row.name, n)
                mean, between = runs.mean(key, table.metric), interval(key, table.metric)
                cells.append(number(mean) + (f" ({_between(between)})" if between else ""))
            lines.append(cells)
        yield from _markdown(lines)


def _measured(runs: Runs, key: Key, metric: str) -> list[str]:
    return [
        number(runs.mean(key, metric)),
        str(len(runs.seeds(key)) or NONE),
        _between(runs.over_seeds(key, metric)),
        _between(runs.over_records(key, metric)),
        number(runs.mean(key, metric, "valid")),
    ]


def _said(said: Mapping[tuple[str, int | None], Published], row: str, n: int | None, metric: str) -> float | None:
    return said[row, n].metrics.get(metric) if (row, n) in said else None


def _others(said: Mapping[str, Published], variant: Variant) -> list[Row]:
    """Return rows for what others published and we don't run; their title is what they are called."""
    ours = {row.name for row in variant.rows}
    return [Row(name, name, "") for name in said if name not in ours]


def _counts(variant: Variant, runs: Runs) -> str:
    """Say how many records train and test, and how many independent groups the latter are."""
    found = [run for key, those in runs.found.items() if key.variant == variant.name and not key.idea for run in those]
    run = max(found, key=lambda run: len(run["n"]))  # rows from before there was a further test set lack it
    most = max(run["n"]["train"] for run in found)
    n, groups = run["n"]["scored_test"], run["groups"]["test"]
    alone = "none of which is related to another" if groups == n else f"in {groups:,} groups of relatives"
    scored = {name: run["n"].get(f"scored_{name}") for name in variant.subsets}
    fewer = "".join(f" {_capital(name)}: {number:,}." for name, number in scored.items() if number)
    return f"{most:,} training records; {run['n']['scored_valid']:,} valid; {n:,} test, {alone}.{fewer}"


# Words ----------------------------------------------------------------------------------------------------------------


def _aims(table: Table, runs: Runs) -> Iterator[str]:
    if table.aims:
        yield "Aims:\n"
        for aim in table.aims:
            yield f"- {said_of(table, aim, runs)}"
        yield ""


def said_of(table: Table, aim: Aim, runs: Runs) -> str:
    """Say in words what an aim was and whether it is met."""
    judged = judge(table, aim, runs)
    if judged.met is None:
        return f"{judged.claim}: not run yet."
    return f"{judged.claim}: {'met' if judged.met else 'missed'} ({judged.measured})."


class Judged(NamedTuple):
    """An aim in words, whether it is met (None: not known yet), the figures that say so, and of how many seeds."""

    claim: str
    met: bool | None
    measured: str
    seeds: int


def judge(table: Table, aim: Aim, runs: Runs) -> Judged:
    """Hold an aim against the means of the runs; where seeds draw records, of those that all its rows have."""
    variant = table.variant(aim.variant)
    what, names = _claim(aim, variant)
    claim = f"{variant.title}{f', {aim.n:,} labels' if aim.n else ''}: {what}"
    keys = [Key(variant.name, name, aim.n) for name in names]
    if variant.redrawn or aim.n:
        runs = runs.of_seeds(set.intersection(*map(runs.seeds, keys)))
    means = [runs.mean(key, aim.metric) for key in keys]
    known = [mean for mean in means if mean is not None]
    if len(known) < len(means):
        return Judged(claim, None, "", 0)
    met, measured = _verdict(aim, known)
    methods = {row.name: row.method for row in variant.rows}
    trained = [key for key in keys if methods[key.row] not in BASELINE_METHODS]
    seeds = min(len(runs.seeds(key)) for key in trained or keys)
    return Judged(claim, met, f"{measured}, {seeds} seed{'s' * (seeds > 1)}", seeds)


def _claim(aim: Aim, variant: Variant) -> tuple[str, list[str]]:
    """Return an aim in words, and the rows whose means decide it."""
    titles, metric = {row.name: row.title for row in variant.rows}, NAMES[aim.metric]
    if isinstance(aim, AtLeast):
        return f"{titles[aim.row]}, {metric} {number(aim.figure)} or more", [aim.row]
    if isinstance(aim, Ordered):
        return f"{metric} rises from {' to '.join(titles[name] for name in aim.rows)}", list(aim.rows)
    rivals = aim.rivals or [row.name for row in variant.rows if row.method in BASELINE_METHODS]
    whose = ", ".join(titles[name] for name in aim.rivals) or "every baseline"
    by = f" by more than {number(aim.by)}" if aim.by else ""
    return f"{titles[aim.row]}, {metric} above {whose}'s{by}", [aim.row, *rivals]


def _verdict(aim: Aim, means: Sequence[float]) -> tuple[bool, str]:
    """Return whether an aim is met, and the figures that say so."""
    if isinstance(aim, AtLeast):
        return means[0] >= aim.figure, number(means[0])
    if isinstance(aim, Ordered):
        return all(one < other for one, other in pairwise(means)), ", ".join(map(number, means))
    best = max(means[1:])
    return means[0] - best > aim.by, f"{number(means[0])} against {number(best)}"


def _on_rows(table: Table) -> Iterator[str]:
    rows = {row.name: row for variant in table.variants for row in variant.rows}
    if any(row.note or row.settings != Settings() for row in rows.values()):
        yield "Rows:\n"
        for row in rows.values():
            other = _other_settings(row)
            if row.note or other:
                said = "; ".join(filter(None, [row.note, other and f"settings other than the defaults: {other}"]))
                yield f"- {row.title}: {said}."
        yield ""


def _other_settings(row: Row) -> str:
    given, default = vars(row.settings), vars(Settings())
    return ", ".join(f"{name} {value}" for name, value in given.items() if value != default[name])


def _ideas(table: Table, runs: Runs) -> Iterator[str]:
    """Compare the ideas that were run with the rows that they would replace."""
    metric = table.metric
    lines = [["idea", "data", "in place of", "that row", "the idea", "95 % over seeds", "brought"]]
    for idea in table.ideas:
        variant = table.variant(idea.variant)
        key = Key(variant.name, idea.row.name, idea.n, idea=True)
        row = Key(variant.name, idea.instead_of, idea.n)
        before = runs.of_seeds(runs.seeds(key)).mean(row, metric, "valid")
        after = runs.mean(key, metric, "valid")
        if after is None:
            continue
        brought = NONE if before is None else f"{after - before:+.3f}"
        titles = {row.name: row.title for row in variant.rows}
        lines.append([idea.row.title, _at(variant, idea), titles[idea.instead_of], number(before), number(after)])
        lines[-1] += [_between(runs.over_seeds(key, metric, "valid")), brought]
    if len(lines) > 1:
        yield f"Ideas tried ({NAMES[metric]} on the valid part, same seeds; the test part was not scored for them):\n"
        yield from _markdown(lines)


def _at(variant: Variant, idea: Idea) -> str:
    return variant.title + (f", {idea.n:,} labels" if idea.n else "")


def _made_of(runs: Runs) -> Iterator[str]:
    """Name what the runs were made of; where they are not of one kind, all kinds."""
    all_runs = list(runs.all())
    models: dict[str, set[str]] = {}
    for run in all_runs:
        for name, digest in run["identity"]["language_models"].items():
            models.setdefault(name, set()).add(digest[:12])
    data = sorted({name for run in all_runs for name in run["identity"]["data"]})
    versions = sorted({run["identity"]["version"] for run in all_runs})
    machines = sorted({run["hardware"] for run in all_runs})
    hours = sum(map(processor_seconds, all_runs)) / 3600
    worked = f"{len(all_runs)} runs, {hours:.1f} h of work together"
    yield f"{worked}, on {'; '.join(machines)}; version {', '.join(versions)}."
    yield f"Data: {', '.join(f'`{name}`' for name in data)}."
    if models:
        said = [f"`{name}` (sha256 {', '.join(sorted(digests))})" for name, digests in sorted(models.items())]
        yield f"Language models: {'; '.join(said)}."
    mixed = [name for name, digests in models.items() if len(digests) > 1]
    if mixed or len(versions) > 1:
        yield "Runs of different versions or models stand side by side here; the command above replaces the older ones."
    yield ""


# Layout ---------------------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Write a figure with three decimals.

    >>> number(0.9471), number(-0.02), number(1.0), number(None)
    ('.947', '-.020', '1.000', '-')
    """
    if value is None or np.isnan(value):
        return NONE
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"


def _between(pair: tuple[float, float] | None) -> str:
    return NONE if pair is None else f"{number(pair[0])} to {number(pair[1])}"


def _markdown(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *rows = lines
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _key(cell: Cell) -> Key:
    return Key(cell.variant, cell.row, cell.n, cell.idea)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
