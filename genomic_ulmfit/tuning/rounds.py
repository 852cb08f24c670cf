"""Candidates in, their runs out: rounds, of which the better half goes on and reads more.

That is successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943), with two changes: the candidate listed first
is never dropped, since the others are measured by it, and the last round is run with several seeds.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from genomic_ulmfit.errors import FileFormatError, SettingError
from genomic_ulmfit.files import replacing
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.tuning.bench import LEAST_BASES, Bench, Candidate, Pace, Round, TuningRun, now
from genomic_ulmfit.tuning.report import Tried, TuningReport, summed_up

__all__ = ["Rounds"]

_log = logging.getLogger(__name__)

_GROWTH = 1.1  # rounds are sized in steps of it


class Rounds:
    """Which candidates run, on how much, and what came of it.

    Parameters
    ----------
    candidates : list of Candidate
        The one that others are measured by comes first.
    bench : Bench
        What runs them.
    seeds : int
        Runs of each in the last round.
    budget_minutes : float
        Wall time from now on.
    results : Path or None
        JSON to go on from, and to write after each run.
    progress : bool
        Log a line a run.
    """

    def __init__(
        self,
        candidates: list[Candidate],
        bench: Bench,
        seeds: int,
        budget_minutes: float,
        results: Path | None,
        progress: bool,
    ) -> None:
        self.bench, self.budget_minutes, self.results, self.progress = bench, budget_minutes, results, progress
        self.began = now()
        self.deadline = self.began + 60 * budget_minutes
        self.settings = bench.settings()
        self.paces: dict[KmerVocab, Pace] = {}
        first_seed = bench.how.seed
        self.tried = Tried(candidates, range(first_seed, first_seed + seeds))
        if results is not None:
            _read(results, self.tried, self.settings)

    def go(self) -> None:
        """Run the rounds until the last one is done or the time is up."""
        tried, alive = self.tried, self.tried.candidates
        tried.planned = tried.planned or self._plan()
        for number in range(tried.planned):
            left = tried.planned - number
            seeds = tried.seeds if left == 1 else tried.seeds[:1]
            if number == len(tried.sizes):
                tried.sizes.append(self._fit(alive, len(seeds), left))
            tried.entered.append(alive)
            for seed in seeds:
                for candidate in alive:
                    self._try(candidate, tried.sizes[number], seed)
            if not tried.done(number):
                return
            alive = self._better_half(alive, tried.sizes[number])

    def report(self, *, interrupted: bool = False) -> TuningReport:
        """Say what was found so far."""
        return summed_up(
            self.tried,
            settings=self.settings,
            budget_minutes=self.budget_minutes,
            seconds=now() - self.began,
            interrupted=interrupted,
        )

    def _plan(self) -> int:
        """Return the number of rounds: those that halving takes, or fewer where the time is short."""
        candidates, least = self.tried.candidates, self.bench.size(LEAST_BASES)
        needed = self._estimate(candidates[:1], least, 1) + now() - self.began
        if needed > 60 * self.budget_minutes and not self.tried.runs:
            raise SettingError(
                f"a budget of {self.budget_minutes:g} minutes is too small: one candidate ({candidates[0]}) takes "
                f"about {needed / 60:.1f} minutes here, with {least.bases:,} bases and {least.records:,} training "
                "records, the least that says anything"
            )
        a_round = self._estimate(candidates, least, 1)
        affordable = int((self.deadline - now()) // a_round) - 1  # the last one is twice as long
        return max(1, min(math.ceil(math.log2(len(candidates))), affordable))

    def _fit(self, alive: list[Candidate], n_seeds: int, rounds_left: int) -> Round:
        """Return the largest round that fits its share of the time, no smaller than the round before.

        The last round, with several seeds, has twice the time of the others.
        """
        size = self.tried.sizes[-1] if self.tried.sizes else self.bench.size(LEAST_BASES)
        share = (self.deadline - now()) / (1 if rounds_left == 1 else rounds_left + 1)
        while self._estimate(alive, larger := self.bench.size(size.bases * _GROWTH), n_seeds) <= share:
            size = larger
        return size

    def _estimate(self, alive: list[Candidate], size: Round, n_seeds: int) -> float:
        """Return the seconds of a round; candidates of one k and stride share the language model."""
        models = {c.vocab: self.bench.seconds(self._pace(c), size)[0] for c in alive}
        classifiers = [self.bench.seconds(self._pace(c), size)[1] for c in alive]
        return n_seeds * (sum(models.values()) + sum(classifiers))

    def _pace(self, candidate: Candidate) -> Pace:
        if candidate.vocab not in self.paces:
            self.paces[candidate.vocab] = self.bench.trial(candidate)
        return self.paces[candidate.vocab]

    def _try(self, candidate: Candidate, size: Round, seed: int) -> None:
        """Run a candidate, unless it was run or the time that is left is too short."""
        key = (candidate, size, seed)
        if key in self.tried.runs:
            return
        pretraining, training = self.bench.seconds(self._pace(candidate), size)
        if self.bench.has_pretrained(candidate.vocab, size, seed):
            pretraining = 0.0
        if self.tried.runs and now() + pretraining + training > self.deadline:  # the first one is let in by _plan
            return
        run = self.tried.runs[key] = self.bench.run(*key)
        self.paces[candidate.vocab] = self.bench.refined(self._pace(candidate), run)
        if self.progress:
            _log.info("round %d of %d, seed %d: %s", len(self.tried.entered), self.tried.planned, seed, _told(run))
        if self.results is not None:
            with replacing(self.results) as temporary:
                temporary.write_text(json.dumps(self.report().to_dict(), indent=1) + "\n")

    def _better_half(self, alive: list[Candidate], size: Round) -> list[Candidate]:
        """Return the better half, best first, and the candidate listed first."""
        first = self.tried.candidates[0]
        ranked = sorted(alive, key=lambda candidate: -self.tried.rank(candidate, size))
        kept = ranked[: math.ceil(len(ranked) / 2)]
        return kept if first in kept else [*kept, first]


def _read(path: Path, tried: Tried, settings: dict[str, Any]) -> None:
    """Take over the runs of an earlier call."""
    if not path.exists():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
        return
    try:
        kept = json.loads(path.read_text())
        before, tried.planned = dict(kept["settings"]), int(kept["planned_rounds"])
        tried.sizes = [Round(**size) for size in kept["rounds"]]
        runs = [_run_of(row) for row in kept["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(path, f"no report of a tuning ({type(error).__name__}: {error})") from None
    if before != settings:
        differ = [name for name in settings if before.get(name) != settings[name]]
        raise SettingError(f"{path} holds a tuning with another {', '.join(differ)}; name another file, or remove it")
    tried.runs = {(run.candidate, run.size, run.seed): run for run in runs}
    if not all(tried.of(candidate, tried.sizes[0]) for candidate in tried.candidates):
        tried.planned = 0  # the time was short; with more of it there may be more rounds


def _run_of(row: dict[str, Any]) -> TuningRun:
    return TuningRun(**{**row, "candidate": Candidate(**row["candidate"]), "size": Round(**row["size"])})


def _told(run: TuningRun) -> str:
    found = "diverged" if run.valid_mcc is None else f"valid MCC {run.valid_mcc:.3f}"
    bits = "" if run.bits_per_base is None else f", {run.bits_per_base:.3f} bits per base"
    return f"{run.candidate}: {found}{bits}, {run.pretrain_seconds + run.train_seconds:.0f} s"
