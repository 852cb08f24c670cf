"""Cells in, one JSON each out: planned first, done in processes of one thread, never done twice."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Thread
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

import genomic_ulmfit as gu
from benchmarks.paper.definitions import Cell, Table, Variant, missing, model_file, row_of
from benchmarks.paper.figures import DRAWS, bootstrap, groups_of
from benchmarks.paper.methods import BASELINE_METHODS, METHODS, Settings, Task
from genomic_ulmfit.datasets.metrics import jsonable, metrics
from genomic_ulmfit.datasets.records import labels, part
from genomic_ulmfit.files import replacing
from genomic_ulmfit.stages import digest_of

RUNS = Path(__file__).parent / "runs"
QUICK_RUNS = Path(__file__).parent / "quick"
MEMBERS = "members"  # below the runs: the probabilities of single classifiers, which ensembles share; not committed
VALID_SHARE = 4  # a quarter as many labels more choose the epoch, as docs/training.md has it
MANY_CLASSES, FEWER_DRAWS = 10, 100  # as when a draw of 100 classes took .2 s, not .02
QUICK_LABELS, QUICK_SCORED = 40, 80

# CPU seconds of a run with one language model, fixed and for each training record, scoring and bootstrap included:
# `small`, 150 bp, one AMD EPYC thread; measured on fine-tuning and probes of 20 and 1,000 E. coli gene starts; training
# from scratch is taken to be as long as fine-tuning. Used where no run of the same method is there.
SECONDS = {
    "from_scratch": (15, 0.055),
    "fine_tuned": (15, 0.055),
    "probe": (12, 0.004),
    "fine_tuned_and_probe": (27, 0.06),
    "mirrored": (15, 0.11),
    "from_own_sequences": (15, 0.12),
    "convolution": (8, 0.012),
}
BASELINE_SECONDS = (8, 0.0)


@dataclass(frozen=True)
class Place:
    """Where data and language models are, where runs go, and whether they only show that all works.

    Language models that aren't in the folder `models`, if there is one, are those that come with the package; `draws`
    are those of the bootstrap.
    """

    data: Path
    models: Path | None
    runs: Path
    quick: bool = False
    draws: int = DRAWS

    def file(self, cell: Cell) -> Path:
        return self.runs / cell.table / cell.file


def run_cells(
    table: Table, cells: Sequence[Cell], place: Place, *, workers: int, say: Callable[[str], None]
) -> list[Cell]:
    """Do what isn't there yet, and say how many hours that takes before, and what came out after each.

    Returns
    -------
    list of Cell
        Those that were done now. Rows without their language models are said and left out.
    """
    cells = _with_models(table, cells, place.models, say)
    identities = identities_of(table, cells, place)
    left = [cell for cell in cells if not is_done(place.file(cell), identities[cell])]
    hours = sum(seconds_of(table, left, place)) / 3600 / workers
    say(f"{table.title}: {len(cells)} runs, {len(cells) - len(left)} are there")
    say(f"planned: {len(left)} runs, {hours:.1f} h in {workers} processes of one thread")
    if not left:
        return []
    place.file(left[0]).parent.mkdir(parents=True, exist_ok=True)
    for cell, found in _in_processes(table, left, place, workers):
        _write({"cell": asdict(cell), "identity": identities[cell], **found}, place.file(cell))
        judged = found["metrics"].get("test", found["metrics"]["valid"])
        say(f"{cell.file}: {table.metric} {judged[table.metric]:.3f}, {found['seconds']:.0f} s")
    return left


def _with_models(table: Table, cells: Sequence[Cell], models: Path | None, say: Callable[[str], None]) -> list[Cell]:
    absent = missing([row_of(table, cell) for cell in cells], models)
    for row, names in absent.items():
        say(f"left out: {row}, there is no {' and no '.join(model_file(models, name).name for name in names)}")
    return [cell for cell in cells if cell.row not in absent]


# Identity -------------------------------------------------------------------------------------------------------------


def identities_of(table: Table, cells: Iterable[Cell], place: Place) -> dict[Cell, dict[str, Any]]:
    """Return what a run of each cell would be of; each file is read once."""
    digests: dict[Path, str] = {}

    def digest(path: Path) -> str:
        if path not in digests:
            digests[path] = digest_of_file(path)
        return digests[path]

    found = {}
    for cell in cells:
        row = row_of(table, cell)
        found[cell] = {
            "version": gu.__version__,
            "language_models": {name: digest(model_file(place.models, name)) for name in row.language_models},
            "data": {name: digest(place.data / name) for name in table.variant(cell.variant).files},
            "settings": asdict(row.settings),
        }
    return found


def digest_of_file(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def is_done(path: Path, identity: Mapping[str, Any]) -> bool:
    """Tell whether a run is there; a setting that there was not yet had its default."""
    if not path.exists():
        return False
    kept = json.loads(path.read_text())["identity"]
    return kept | {"settings": asdict(Settings()) | kept["settings"]} == identity


def _write(found: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(jsonable(found), indent=1) + "\n")


# Hours ----------------------------------------------------------------------------------------------------------------


def seconds_of(table: Table, cells: Iterable[Cell], place: Place) -> list[float]:
    """Return what cells will take: as runs of their row did, else of their method, else by the estimate.

    Of these, runs of the same data set speak where there are some, and those with the nearest number of training
    records. A classifier that an ensemble among the cells trains anyway takes nothing.
    """
    cells = list(cells)
    known = [json.loads(path.read_text()) for path in sorted((place.runs / table.name).glob("*.json"))]
    size = table.bases / 150
    return [
        0.0
        if any(_has_member(table, other, cell) for other in cells)
        else _seconds(cell, QUICK_LABELS if place.quick else cell.n or table.labels, size, known)
        for cell in cells
    ]


def _has_member(table: Table, ensemble: Cell, cell: Cell) -> bool:
    """Tell whether the one classifier of a cell is among those of an ensemble."""
    return (
        set(cell.language_model.split("+")) < set(ensemble.language_model.split("+"))
        and replace(ensemble, row=cell.row, language_model=cell.language_model) == cell
        and row_of(table, cell).settings == row_of(table, ensemble).settings
    )


def processor_seconds(run: Mapping[str, Any]) -> float:
    """Return how long a run's one thread worked; the first runs have seconds by the clock alone, which hold pauses."""
    return run.get("cpu_seconds", run["seconds"])


def _seconds(cell: Cell, n: int, size: float, known: Sequence[Mapping[str, Any]]) -> float:
    for of in (("variant", "row"), ("row",), ("variant", "method"), ("method",)):
        alike = [run for run in known if all(run["cell"][name] == getattr(cell, name) for name in of)]
        if alike:
            off = [abs(run["n"]["train"] - n) for run in alike]
            return float(
                np.mean([processor_seconds(run) for run, far in zip(alike, off, strict=True) if far == min(off)])
            )
    fixed, each = BASELINE_SECONDS if cell.method in BASELINE_METHODS else SECONDS[cell.method]
    return (fixed + each * n * size) * (cell.language_model.count("+") + 1)


# Work -----------------------------------------------------------------------------------------------------------------


class Worker:
    """Does cells of a table; builds each data set and loads each language model when it is first asked for."""

    def __init__(self, table: Table, place: Place) -> None:
        self.table, self.place = table, place
        self._records: dict[tuple[str, int], list[SeqRecord]] = {}
        self._models: dict[str, Any] = {}
        self._adapted: dict[Any, Any] = {}

    def records(self, variant: Variant, seed: int) -> list[SeqRecord]:
        key = (variant.name, seed if variant.redrawn else 0)
        if key not in self._records:
            self._records[key] = variant.records(self.place.data, key[1])
        return self._records[key]

    def model(self, name: str) -> Any:
        if name not in self._models:
            self._models[name] = gu.load(model_file(self.place.models, name), gu.LanguageModel)
        return self._models[name]

    def adapted(self, name: str, records: list[SeqRecord], epochs: int, seed: int) -> Any:
        """Return a language model after so many passes over records, of which labels are not looked at."""
        if not epochs:
            return self.model(name)
        key = (name, digest_of(records), epochs, seed)
        if key not in self._adapted:  # another cell may have the same, with fewer labels
            self._adapted[key] = gu.finetune(self.model(name), records, epochs=epochs, seed=seed, progress=False)
        return self._adapted[key]

    def do(self, cell: Cell) -> dict[str, Any]:
        """Train and score, an idea on the valid part alone; the same records for all methods."""
        row, variant = row_of(self.table, cell), self.table.variant(cell.variant)
        records, size, settings = self.records(variant, cell.seed), cell.n, row.settings
        scored = {name: part(records, name) for name in (["valid"] if cell.idea else ["valid", "test"])}
        if not cell.idea:
            scored |= {name: of(records) for name, of in variant.subsets.items()}
        if self.place.quick:
            few = max(QUICK_LABELS, 2 * len(set(labels(part(records, "train")))))
            size, settings = min(size or few, few), replace(settings, epochs=1)
            scored = {name: drawn(those, QUICK_SCORED, [0]) for name, those in scored.items()}
        learnt = learnt_of(records, size, cell.seed)
        task = Task(None, learnt, [record for those in scored.values() for record in those], settings, cell.seed)
        # The last first: one that another process is at, for a row of the first alone, may be there by its turn.
        unlabelled = learnt_of(records, None, cell.seed) if settings.lm_records == "all" else learnt
        members = [
            self.member(cell.method, name, task, unlabelled) for name in reversed(row.language_models or (None,))
        ]
        began = _Clock()
        judged = _judged(
            scored, np.mean([of["probabilities"] for of in members], 0), task.classes, variant, self.place.draws
        )
        took = began.took() + sum(of["took"] for of in members)
        return {
            "n": {name: len(part(learnt, name)) for name in ("train", "valid")}
            | {f"scored_{name}": len(those) for name, those in scored.items()},
            **judged,
            "records_sha256": digest_of(records),
            "seconds": round(took[0], 1),
            "cpu_seconds": round(took[1], 1),  # the same where nothing else ran beside it
            "hardware": hardware(),
        }

    def member(
        self, method: str, name: str | None, task: Task, unlabelled: list[SeqRecord]
    ) -> dict[str, NDArray[np.floating]]:
        """Train one classifier, or read what it said as another row's; return its probabilities and what it took."""
        if name is None:
            return _timed(method, task, _Clock())
        of = [gu.__version__, digest_of_file(model_file(self.place.models, name)), asdict(task.settings), task.seed]
        parts = [record.annotations.get("split") for record in task.learnt]
        parts += [digest_of(records) for records in (task.learnt, task.scored, unlabelled)]
        path = self.place.runs / MEMBERS / f"{sha256(json.dumps([method, *of, *parts]).encode()).hexdigest()}.npz"
        if not path.exists():
            began = _Clock()
            model = self.adapted(name, unlabelled, task.settings.lm_epochs, task.seed)
            found = _timed(method, replace(task, language_model=model), began)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **found)  # type: ignore[arg-type]
        with np.load(path) as kept:
            return dict(kept)


class _Clock:
    """Seconds since it was made, by the clock and of the processor."""

    def __init__(self) -> None:
        self.began = np.array([perf_counter(), process_time()])

    def took(self) -> NDArray[np.floating]:
        return np.array([perf_counter(), process_time()]) - self.began


def _timed(method: str, task: Task, began: _Clock) -> dict[str, NDArray[np.floating]]:
    return {"probabilities": METHODS[method](task), "took": began.took()}


def learnt_of(records: Sequence[SeqRecord], n: int | None, seed: int) -> list[SeqRecord]:
    """Return the parts train and valid; or `n` records of train, as many of each class, and a quarter of valid."""
    train, valid = part(records, "train"), part(records, "valid")
    if n is None or n >= len(train):
        return train + valid
    n_valid = max(len(set(labels(train))), n // VALID_SHARE)
    return drawn(train, n, [seed, n]) + drawn(valid, n_valid, [seed, n, 1])


def drawn(records: Sequence[SeqRecord], n: int, seed: Sequence[int]) -> list[SeqRecord]:
    """Draw `n` records, as many of each class as of the others; fewer where a class has no more."""
    rng = np.random.default_rng(seed)
    known = labels(records)
    names = sorted(set(known))
    chosen: list[int] = []
    for number, name in enumerate(names):
        of_class = np.flatnonzero(np.array(known) == name)
        share = (n + number) // len(names)  # what doesn't divide goes to the last classes
        chosen += rng.permutation(of_class)[:share].tolist()
    return [records[i] for i in sorted(chosen)]


def _judged(
    scored: Mapping[str, list[SeqRecord]],
    probabilities: np.ndarray,
    classes: list[str],
    variant: Variant,
    draws: int,
) -> dict[str, Any]:
    """Return metrics of each part, their bootstrap intervals, and how many independent groups each part is."""
    found: dict[str, Any] = {"metrics": {}, "intervals": {}, "groups": {}}
    draws = draws if len(classes) <= MANY_CLASSES else min(draws, FEWER_DRAWS)
    at = 0
    for name, records in scored.items():
        truth = np.array([classes.index(label) for label in labels(records)])
        mine = probabilities[at : at + len(records)]
        at += len(records)
        found["metrics"][name] = metrics(truth, mine)
        if variant.more:
            found["metrics"][name] |= variant.more(records, classes, mine)
        numbers = groups_of(records, variant.groups)
        found["intervals"][name] = bootstrap(truth, mine, numbers, draws=draws)
        found["groups"][name] = int(numbers.max()) + 1
    return found


def hardware() -> str:
    """Say what a run was made on: processor or GPU, threads, and what trainings multiply in."""
    import torch

    from genomic_ulmfit.net.engine import best_device, has_bf16_units

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{name}, one thread, {'bf16' if has_bf16_units(best_device()) else 'float32'}"


# Processes ------------------------------------------------------------------------------------------------------------


def _in_processes(
    table: Table, cells: Sequence[Cell], place: Place, workers: int
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Yield each cell with what it found, as they are ready; a cell that fails stops all that haven't begun."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (table, place))
    try:
        waiting = {pool.submit(_do, cell): cell for cell in cells}
        for ready in as_completed(waiting):
            yield waiting[ready], ready.result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: Worker


def _begin(table: Table, place: Place) -> None:
    import torch

    global _worker
    torch.set_num_threads(1)  # two processes of one thread each are faster than one of two
    logging.getLogger("genomic_ulmfit").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    _worker = Worker(table, place)
    Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()


def _end_after(parent: int) -> None:
    """End this process when its parent was killed: nobody would hear what it finds."""
    while os.getppid() == parent:
        sleep(1)
    os._exit(1)


def _do(cell: Cell) -> dict[str, Any]:
    return _worker.do(cell)
