"""What an audit found: values that are JSON as they are, and the same as tables of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan
from textwrap import fill
from typing import Any, NamedTuple

from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.metrics import jsonable

__all__ = ["NAMES", "VERDICTS", "AuditReport", "Table", "tables"]

VERDICTS = {
    "clean": "nothing was found that makes this data set easier than its task",
    "leaks": "records to be scored on are known from training, so that scores say little about new sequences",
    "trivial": "a plain table does the task, so that scores say little about what a model has learnt",
}

_SHOWN = 12  # classes in a table
NAMES = {
    "gc": "GC content",
    "kmer": "4-mer regression",
    "lookup": "16-mer look-up",
    "pwm": "weight matrix",
    "position": "best 3-mer at one position",
}
_METRICS = {"mcc": "MCC", "accuracy": "accuracy", "roc_auc": "ROC-AUC"}


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. ``print(report)`` shows it as text.

    Attributes
    ----------
    verdict : {"clean", "leaks", "trivial"}
        "leaks" goes before "trivial" where both are true.
    reasons : list of str
        Sentences that the verdict rests on, with figures.
    notes : list of str
        What else should be known, and what could not be looked at.
    made_split : bool
        Whether the records came without parts and were divided at random here.
    k : int
        Length of the k-mers looked for.
    counts : dict of str to dict of str to int
        Records by part and class.
    duplicates : dict
        As from `genomic_ulmfit.datasets.leakage.duplicates`.
    label_conflicts : int
        Sequences that are there with two labels or more.
    shared : dict of str to dict of str to float
        Share of the records of valid and test, by class, that share a k-mer with training, on either strand.
    overlaps : dict or None
        As from `genomic_ulmfit.datasets.leakage.overlaps`; None where no record has a place.
    genome : dict or None
        As from `genomic_ulmfit.datasets.leakage.strangers`; None without a genome.
    distributions : dict
        ``["gc" | "length"]["quantiles"][class]``, and for the largest classes a histogram: ``["edges"]`` and
        ``["counts"][class]``.
    scored_on : str
        The part that the baselines are scored on.
    baselines : dict of str to dict of str to float
        Metrics of each baseline, learnt on train.
    homology_split : dict
        The same set divided at random with relatives on one side: ``"counts"``, ``"largest"`` (share of the records
        that the largest group of relatives holds) and ``"baselines"``; empty where it can't be divided so.
    """

    verdict: str
    reasons: list[str]
    notes: list[str]
    made_split: bool
    k: int
    counts: dict[str, dict[str, int]]
    duplicates: dict[str, dict[str, dict[str, Any]]]
    label_conflicts: int
    shared: dict[str, dict[str, float]]
    overlaps: dict[str, Any] | None
    genome: dict[str, Any] | None
    distributions: dict[str, dict[str, Any]]
    scored_on: str
    baselines: dict[str, dict[str, float]]
    homology_split: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `shared` is called after the k-mers: "shared_25mer"."""
        found = {f"shared_{self.k}mer" if key == "shared" else key: value for key, value in asdict(self).items()}
        return jsonable(found)

    def __str__(self) -> str:
        """Return the report as text, in columns."""
        said = [f"verdict: {self.verdict} ({VERDICTS[self.verdict]})", *map(_wrapped, self.reasons)]
        said += ["notes:", *map(_wrapped, self.notes)] if self.notes else []
        return "\n".join(said + [line for table in tables(self) for line in ("", *_columns(table))])


class Table(NamedTuple):
    """A part of the report to be laid out: a title, the names of the columns, and rows of text as long as these."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(report: AuditReport) -> list[Table]:
    """Return the figures of a report as tables of text, the largest classes first where they are many."""
    return [
        _counts(report),
        _duplicates(report),
        _shared(report),
        *([] if report.overlaps is None else [_overlaps(report.overlaps)]),
        _baselines(report),
        *([] if not report.homology_split["counts"] else [_apart(report.homology_split)]),
        *(_quantiles(report, *how) for how in (("gc", "GC content", "{:.2f}"), ("length", "length (bp)", "{:,.0f}"))),
    ]


def _counts(report: AuditReport) -> Table:
    rows = [[name, *(f"{found.get(name, 0):,}" for found in report.counts.values())] for name in _classes(report)]
    totals = ["all classes", *(f"{sum(found.values()):,}" for found in report.counts.values())]
    return Table("records", ["class", *report.counts], [*rows, *_more(report, len(report.counts)), totals])


def _duplicates(report: AuditReport) -> Table:
    found = {f"within {name}": values for name, values in report.duplicates["within"].items()}
    rows = [
        [where, f"{values['exact']:,}", f"{values['reverse_complement']:,}"]
        for where, values in (found | report.duplicates["across"]).items()
    ]
    return Table("records that repeat another", ["where", "letter for letter", "as reverse complement"], rows)


def _shared(report: AuditReport) -> Table:
    rows = [[name, *(_percent(found.get(name)) for found in report.shared.values())] for name in _classes(report)]
    title = f"share of records that have a {report.k}-mer in common with training"
    return Table(title, ["class", *report.shared], rows + _more(report, len(report.shared)))


def _overlaps(found: Mapping[str, Any]) -> Table:
    rows = [[f"within {name}", f"{n:,}"] for name, n in found["within"].items()]
    rows += [[where, f"{values['records']:,}"] for where, values in found["across"].items()]
    return Table("records that overlap another on the genome", ["where", "records"], rows)


def _baselines(report: AuditReport) -> Table:
    apart = report.homology_split["baselines"]
    rows = [
        [NAMES[name], *(_figure(here.get(metric)) for metric in _METRICS), _figure(apart.get(name, {}).get("mcc"))]
        for name, here in report.baselines.items()
    ]
    title = f"what no neural net scores on {report.scored_on}"
    return Table(title, ["baseline", *_METRICS.values(), "MCC with relatives on one side"], rows)


def _apart(found: Mapping[str, Any]) -> Table:
    rows = [[name, f"{sum(counts.values()):,}"] for name, counts in found["counts"].items()]
    title = f"split with relatives on one side (the largest group holds {_percent(found['largest'])} of the records)"
    return Table(title, ["part", "records"], rows)


def _quantiles(report: AuditReport, what: str, title: str, form: str) -> Table:
    found = report.distributions[what]["quantiles"]
    rows = [[name, *map(form.format, found[name].values())] for name in _classes(report)]
    columns = list(next(iter(found.values())))
    return Table(title, ["class", *columns], rows + _more(report, len(columns)))


def _classes(report: AuditReport) -> list[str]:
    """Return the classes to show: all, or the largest."""
    totals = Counter[str]()
    for found in report.counts.values():
        totals.update(found)
    return sorted(totals) if len(totals) <= _SHOWN else [name for name, _ in totals.most_common(_SHOWN)]


def _more(report: AuditReport, n_columns: int) -> list[list[str]]:
    n = len(report.distributions["gc"]["quantiles"]) - _SHOWN
    return [[f"{n:,} more classes", *[""] * n_columns]] if n > 0 else []


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    return "" if value is None or isnan(value) else f"{value:.3f}"


def _wrapped(sentence: str) -> str:
    return fill(sentence, 100, initial_indent="  ", subsequent_indent="    ")


def _columns(table: Table) -> list[str]:
    return [f"{table.title}:", *(f"  {line}" for line in aligned([table.header, *table.rows]))]
