"""Runs in, a table of what each candidate came to out, and the one to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.metrics import jsonable
from genomic_ulmfit.tuning.bench import Candidate, Round, TuningRun

__all__ = ["Tried", "TuningReport", "TuningRow", "summed_up"]

_GUESS = 2.0  # bits per base
_STANDARD_ERRORS = 2.0  # a difference of two means that chance alone rarely makes


@dataclass(frozen=True)
class TuningRow:
    """What one candidate came to in the last round that it reached: means over the runs.

    Attributes
    ----------
    candidate : Candidate
    round : int
        Counted from 1; 0 for a candidate that the budget did not reach.
    runs : int
        Runs, each with another seed.
    steps : int
        Of the language model, each run.
    bits_per_base, valid_mcc, valid_loss : float or None
        As in `TuningRun`.
    valid_mcc_sd : float or None
        Standard deviation over the runs; None for less than two.
    seconds : float
        Wall time of one run, language model and classifier.
    note : {"best", "tied", "behind", "dropped", "diverged", "not tried"}
        "tied" is less than the spread away from the highest MCC of the last round.
    """

    candidate: Candidate
    round: int
    runs: int
    steps: int
    bits_per_base: float | None
    valid_mcc: float | None
    valid_mcc_sd: float | None
    valid_loss: float | None
    seconds: float
    note: str


@dataclass(frozen=True)
class TuningReport:
    """What `tune` found. ``print(report)`` shows it as text.

    Attributes
    ----------
    best : Candidate
        The first listed of those whose MCC is less than `spread` below the highest of the last round. The defaults
        (k 3, stride 1, the config's `drop_mult`) count as listed first.
    rows : tuple of TuningRow
        One a candidate: the last round's first, in each round from the highest MCC down, those not tried at the end.
    spread : float
        Two standard errors of an MCC of the last round: of the seeds and of the choice of valid records.
    rounds : tuple of Round
        What each candidate read in each round that was begun.
    runs : tuple of TuningRun
        All of them.
    planned_rounds : int
        Rounds that the budget was divided by.
    notes : tuple of str
        Sentences on what the figures rest on, and on what is missing.
    settings : dict
        What the runs have in common; runs of equal settings may be put together.
    budget_minutes, seconds : float
        Allowed, and spent in this call.
    interrupted : bool
        Whether it was stopped by Ctrl-C.
    """

    best: Candidate
    rows: tuple[TuningRow, ...]
    spread: float
    rounds: tuple[Round, ...]
    runs: tuple[TuningRun, ...]
    planned_rounds: int
    notes: tuple[str, ...]
    settings: dict[str, Any]
    budget_minutes: float
    seconds: float
    interrupted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return jsonable(asdict(self))

    def __str__(self) -> str:
        """Return the table, and below it what it rests on."""
        header = ["k/stride", "drop_mult", "lr", "round", "runs", "steps", "bits/base"]
        lines = [[*header, "valid MCC", "sd", "valid loss", "s a run", ""], *map(_cells, self.rows)]
        return "\n".join([*aligned(lines), "", *self.notes])


@dataclass
class Tried:
    """What was run so far.

    Attributes
    ----------
    candidates : list of Candidate
        All, in order of preference.
    seeds : range
        Of the last round; the others take the first.
    planned : int
        Rounds; 0 before they are planned.
    sizes : list of Round
        What each round reads.
    entered : list of list of Candidate
        Who takes part in each round that was begun.
    runs : dict of (Candidate, Round, seed) to TuningRun
    """

    candidates: list[Candidate]
    seeds: range
    planned: int = 0
    sizes: list[Round] = field(default_factory=list)
    entered: list[list[Candidate]] = field(default_factory=list)
    runs: dict[tuple[Candidate, Round, int], TuningRun] = field(default_factory=dict)

    def of(self, candidate: Candidate, size: Round) -> list[TuningRun]:
        """Return the runs of a candidate at a size."""
        return [run for (c, s, seed), run in self.runs.items() if (c, s) == (candidate, size) and seed in self.seeds]

    def rank(self, candidate: Candidate, size: Round) -> float:
        """Return the mean MCC of a candidate at a size; less than any where it diverged."""
        mean = _mean(_mccs(self.of(candidate, size)))
        return -2.0 if mean is None else mean

    def done(self, number: int) -> bool:
        """Tell whether each candidate of a round has a run."""
        return all(self.of(candidate, self.sizes[number]) for candidate in self.entered[number])


def summed_up(
    tried: Tried, *, settings: dict[str, Any], budget_minutes: float, seconds: float, interrupted: bool
) -> TuningReport:
    """Sum up what was run. The last round that all of its candidates have run in decides.

    Parameters
    ----------
    tried : Tried
        With at least one round begun.
    settings, budget_minutes, seconds, interrupted
        As in `TuningReport`.

    Returns
    -------
    TuningReport
    """
    number = max((n for n in range(len(tried.entered)) if tried.done(n)), default=0)
    runs = {c: tried.of(c, tried.sizes[number]) for c in tried.entered[number]}
    means = {c: mean for c, found in runs.items() if (mean := _mean(_mccs(found))) is not None}
    spread = _spread([runs[c] for c in means])
    tied = [c for c in tried.candidates if c in means and means[c] >= max(means.values()) - spread]
    best = tied[0] if tied else tried.candidates[0]
    rows = [_row(tried, c, number, best, tied) for c in tried.candidates]
    notes = [*_on_rounds(tried, number, settings), _on_ties(spread, [runs[c] for c in means])]
    notes += [_on_best(means, best), *_on_unlearnt(rows), *_on_missing(tried, number, budget_minutes)]
    return TuningReport(
        best=best,
        rows=tuple(sorted(rows, key=lambda row: (-row.round, 2.0 if row.valid_mcc is None else -row.valid_mcc))),
        spread=spread,
        rounds=tuple(tried.sizes),
        runs=tuple(tried.runs.values()),
        planned_rounds=tried.planned,
        notes=tuple(notes),
        settings=settings,
        budget_minutes=budget_minutes,
        seconds=seconds,
        interrupted=interrupted,
    )


def _row(tried: Tried, candidate: Candidate, decisive: int, best: Candidate, tied: list[Candidate]) -> TuningRow:
    """Sum up a candidate's last round."""
    reached = [n for n in range(decisive + 1) if candidate in tried.entered[n]]
    runs = tried.of(candidate, tried.sizes[reached[-1]])
    if not runs:
        return TuningRow(candidate, 0, 0, 0, None, None, None, None, 0.0, "not tried")
    mccs = _mccs(runs)
    note = "dropped" if reached[-1] < decisive else "tied" if candidate in tied else "behind"
    return TuningRow(
        candidate=candidate,
        round=reached[-1] + 1,
        runs=len(runs),
        steps=runs[0].steps,
        bits_per_base=_mean([run.bits_per_base for run in runs]),
        valid_mcc=_mean(mccs),
        valid_mcc_sd=float(np.std(mccs, ddof=1)) if len(mccs) > 1 else None,
        valid_loss=_mean([run.valid_loss for run in runs]),
        seconds=float(np.mean([run.pretrain_seconds + run.train_seconds for run in runs])),
        note="diverged" if not mccs else "best" if candidate == best else note,
    )


def _spread(runs: list[list[TuningRun]]) -> float:
    """Return two standard errors of a mean MCC: of the seeds, pooled over candidates, and of the valid records."""
    scores = [_mccs(found) for found in runs]
    variances = [np.var(found, ddof=1) for found in scores if len(found) > 1]
    of_seeds = math.sqrt(np.mean(variances) / min(map(len, scores))) if variances else 0.0
    of_records = _mean([run.valid_mcc_error for found in runs for run in found]) or 0.0
    return _STANDARD_ERRORS * math.hypot(of_seeds, of_records)


def _on_rounds(tried: Tried, decisive: int, settings: dict[str, Any]) -> Iterator[str]:
    for number, size in enumerate(tried.sizes[: decisive + 1], 1):
        yield (
            f"Round {number}: each read {size.bases:,} bases of the genomes, and {size.records:,} of "
            f"{settings['train']:,} training records {settings['epochs']} times."
        )
    if decisive:
        yield "Figures of different rounds don't compare."
    yield f"Scored on {settings['valid']:,} valid records; the test part was not touched."
    yield f"{settings['excluded_bases']:,} bases of the genomes were held out of pretraining."


def _on_ties(spread: float, runs: list[list[TuningRun]]) -> str:
    several = min(map(len, runs), default=0) > 1
    of = "the seeds and of the valid records" if several else "the valid records; the seeds' is not known from one run"
    return f"MCCs that differ by less than {spread:.3f} are tied: two standard errors, of {of}."


def _on_best(means: dict[Candidate, float], best: Candidate) -> str:
    if not means:
        return "All trainings diverged, so nothing is known; try lower rates."
    highest = max(means, key=lambda candidate: means[candidate])
    if highest == best:
        return f"Best: {best}."
    ahead = means[highest] - means[best]
    return f"Best: {best}. {highest} is {ahead:.3f} ahead: a tie, in which the one listed first is preferred."


def _on_unlearnt(rows: list[TuningRow]) -> Iterator[str]:
    """Say which language models read too little: a large vocabulary begins far above the 2 bits of a guess."""
    found = [row.candidate for row in rows if row.bits_per_base is not None and row.bits_per_base > _GUESS]
    if found:
        names = ", ".join(dict.fromkeys(f"{c.k}/{c.stride}" for c in found))
        yield (
            f"The language model at {names} is above {_GUESS:g} bits per base, worse than a guess: it has read too "
            "little, and the score says nothing about longer training. Give more minutes, or fewer candidates."
        )


def _on_missing(tried: Tried, decisive: int, budget_minutes: float) -> Iterator[str]:
    ran = {run.candidate for run in tried.runs.values()}
    if untried := [str(c) for c in tried.candidates if c not in ran]:
        yield f"Not tried within {budget_minutes:g} minutes: {'; '.join(untried)}."
    finished = sum(tried.done(number) for number in range(decisive + 1))
    if finished < tried.planned:
        yield f"Finished {finished} of {tried.planned} rounds."


def _mccs(runs: list[TuningRun]) -> list[float]:
    return [run.valid_mcc for run in runs if run.valid_mcc is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _cells(row: TuningRow) -> list[str]:
    """Return a row of the table."""
    c = row.candidate
    settings = [f"{c.k}/{c.stride}", f"{c.drop_mult:g}", "default" if c.lr is None else f"{c.lr:g}"]
    if row.round == 0:
        return [*settings, *["-"] * 8, row.note]
    numbers = (row.bits_per_base, row.valid_mcc, row.valid_mcc_sd, row.valid_loss)
    cells = ["-" if value is None else f"{value:.3f}" for value in numbers]
    return [*settings, str(row.round), str(row.runs), f"{row.steps:,}", *cells, f"{row.seconds:.0f}", row.note]
