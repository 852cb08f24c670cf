"""What a run folder holds in, what the page says of it out: words, tables and pictures. Nothing is computed here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from genomic_ulmfit.datasets.findings import NAMES
from genomic_ulmfit.datasets.metrics import METRICS
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.plot import as_svg, plot_losses
from genomic_ulmfit.report.pictures import draw_evaluations, draw_history
from genomic_ulmfit.report.ranking import Look, Ranking

__all__ = [
    "LookTable",
    "MetricRow",
    "Stage",
    "curves",
    "look_tables",
    "metric_rows",
    "metrics_picture",
    "sequences_of",
    "stages_of",
]

TITLES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "mcc": "MCC",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
}
_LONG = ("curve", "history", "lr_finder")  # drawn, not told


class MetricRow(NamedTuple):
    """A row of the table of metrics: name, whether it is a baseline, and value and interval of each metric."""

    name: str
    is_baseline: bool
    cells: list[tuple[str, str]]


class Stage(NamedTuple):
    """One step of a model's training: its name, the model files that have it, and its settings and results."""

    name: str
    files: list[str]
    settings: list[tuple[str, str]]
    values: dict[str, Any]


class LookTable(NamedTuple):
    """A table of places: title, meaning, name of the last column, rows of (region to go to, words, score, gap)."""

    title: str
    note: str
    nearest: str
    rows: list[tuple[str, str, str, str]]


def metric_rows(evaluations: Mapping[str, Mapping[str, Any]]) -> list[MetricRow]:
    """Lay evaluations out: each model with its 95 % intervals, its baselines below."""
    rows = []
    for name, found in evaluations.items():
        cells = [(_figure(found[metric]), _interval(found["intervals"].get(metric))) for metric in METRICS]
        rows.append(MetricRow(f"{name} (n = {found['n']:,})", False, cells))
        for rival, values in found["baselines"].items():
            rows.append(MetricRow(NAMES.get(rival, rival), True, [(_figure(values[m]), "") for m in METRICS]))
    return rows


def metrics_picture(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the picture of the metrics as SVG."""
    return as_svg(draw_evaluations(evaluations), "evaluations")


def stages_of(models: Mapping[str, Mapping[str, Any]]) -> list[Stage]:
    """Return the stages of all models in the order of the trainings; one that several models share is there once."""
    found: dict[str, Stage] = {}
    for file, header in models.items():
        for stage in _all_stages(header):
            key = json.dumps(stage, sort_keys=True)
            settings = [(name, phrase(value)) for name, value in stage.items() if name not in ("stage", *_LONG)]
            found.setdefault(key, Stage(stage["stage"], [], settings, stage)).files.append(file)
    order = {"pretrain": 0, "finetune": 1, "train": 2}
    return sorted(found.values(), key=lambda stage: order.get(stage.name, len(order)))


def _all_stages(header: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from header["card"].get("stages", [])
    for member in header.get("members", ()):
        yield from _all_stages(member)


def sequences_of(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the sequences that language models read, each once: ``id``, ``bp`` and ``sha256``."""
    found = [sequence for stage in stages for sequence in stage.values.get("sequences", [])]
    return list({sequence["sha256"]: sequence for sequence in found}.values())


def curves(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    """Return captions and SVG of the stages that have a history."""
    pictures = []
    for i, stage in enumerate(stages):
        files = f"{stage.name}, in {_listed(stage.files)}"
        if stage.values.get("curve"):
            markov = stage.values.get("markov_bits_per_base", {})
            references = {f"Markov order {order}": bits for order, bits in markov.items()}
            figure = plot_losses(stage.values["curve"], references=references)
            pictures.append((f"Language model: {files}.", as_svg(figure, f"curve{i}")))
        elif stage.values.get("history"):
            pictures.append((f"Classifier: {files}.", as_svg(draw_history(stage.values), f"history{i}")))
    return pictures


def look_tables(ranking: Ranking, sites_from: str) -> list[LookTable]:
    """Lay out which calls and sites to look at."""
    known = f"Sites are from {sites_from}."
    tables = [
        LookTable("Highest calls", f"The best of {ranking.n_calls:,} calls.", "nearest site", _rows(ranking.best))
    ]
    if not ranking.n_sites:
        return tables
    wrong = f"{ranking.n_wrong:,} of {ranking.n_calls:,} calls have no site within 100 bp on their strand. {known}"
    missed = (
        f"{ranking.n_uncalled:,} of {ranking.n_sites:,} sites have no call within 100 bp on their strand. "
        "Sorted by the score at the site."
    )
    return [
        *tables,
        LookTable("Highest calls without a site", wrong, "nearest site", _rows(ranking.wrong)),
        LookTable("True sites with the lowest scores", missed, "nearest call", _rows(ranking.missed)),
    ]


def _rows(looks: Sequence[Look]) -> list[tuple[str, str, str, str]]:
    return [(_around(look), _named(look.interval), f"{look.score:.3f}", _gap(look.distance)) for look in looks]


def _named(interval: Interval) -> str:
    """Say where something is, 1-based, on which strand and its name; one position where it is 1 bp long."""
    strand = "\u2212" if interval.strand == "-" else interval.strand.replace(".", "")
    place = f"{interval.chrom}:{interval.end}" if interval.length == 1 else interval.region
    name = "" if interval.name == "." or interval.name.startswith("peak_") else interval.name
    return " ".join(filter(None, (place, strand, name)))


def _around(look: Look, least: int = 1000) -> str:
    """Return the region to show of a look: 1 kb, or three times its length."""
    width = max(least, 3 * look.interval.length)
    start = max(0, (look.interval.start + look.interval.end - width) // 2)
    return look.interval._replace(start=start, end=start + width).region


def _gap(distance: float) -> str:
    return "overlaps" if distance == 0 else f"{distance:,.0f} bp" if isfinite(distance) else "none"


def phrase(value: Any) -> str:
    """Say a card's value in words that fit a line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "none"
    if isinstance(value, dict) and "id" in value:
        bp = f", {value['bp']:,} bp" if "bp" in value else ""
        digest = f", sha256 {value['sha256']}" if "sha256" in value else ""
        return f"{value['id']}{bp}{digest}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {phrase(item)}" for name, item in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - 5:,} more" if len(value) > 5 else ""
        return "; ".join(map(phrase, value[:5])) + more
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(limits: Sequence[float | None] | None) -> str:
    if not limits or None in limits:
        return ""
    return f"{limits[0]:.3f} to {limits[1]:.3f}"
