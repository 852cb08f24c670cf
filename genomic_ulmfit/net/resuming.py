"""A training that stops and goes on: its state to one file and back, when to write it, and what must not differ.

The file is safetensors (weights, moments of the optimiser, carried state) with JSON in its header (place, schedule,
losses so far, and the settings it belongs to). Never pickle. There are no random states in it: the order of the data
follows from the seed and the number of steps done, and so do the dropout masks.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genomic_ulmfit.errors import ResumeError, SettingError, TrainingDivergedError
from genomic_ulmfit.files import leftovers, replacing
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig
from genomic_ulmfit.net.checkpoint import as_json

__all__ = [
    "Interruption",
    "Keeper",
    "Keeping",
    "TrainingState",
    "differences",
    "digest_of_tensors",
    "interruption",
    "read_state",
    "torch_seed",
    "write_state",
]

_KEY = "genomic_ulmfit_training"
_FORMAT_VERSION = 1
# what a checkpoint means that was written before a config had that field
_DEFAULTS = {f"config.{field.name}": field.default for field in dataclasses.fields(AWDLSTMConfig)}
_WRITING_SHARE = 20  # at the end of an epoch a state is written if writing takes less than 1/20 of the time
_SECOND_WISH = 1.0  # seconds after which another Ctrl-C is not the echo of the first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """Where and how often the state of a training is written.

    Parameters
    ----------
    path : Path, optional
        The checkpoint; nothing is written if not given.
    minutes : float
        Between two checkpoints; 0 writes at each step.
    resume : bool
        Go on from the checkpoint, if there is one.

    Raises
    ------
    SettingError
        If `minutes` is negative, or there is no path to resume from.
    """

    path: Path | None = None
    minutes: float = 5.0
    resume: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.minutes < 0:
            raise SettingError(f"checkpoint_minutes is {self.minutes}, wanted 0 or more")
        if self.resume and self.path is None:
            raise SettingError("resume needs the path of a checkpoint to go on from")


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Weights (``model.``), moments (``mean.``, ``square.``) and the carried state (``carried.``), by name.
    total, step : int
        Steps of the whole training, and steps done.
    tokens : int
        k-mers learnt from so far.
    seconds : float
        Wall-clock time so far.
    lr, smoothed : float
        Rate of the last step, and its smoothed loss (not yet debiased).
    rates : tuple of dict
        From which ``step`` on which ``lr`` was asked for, which ``rate`` that gave, and in which ``precision``.
    rows : tuple of dict
        The reports so far.
    """

    tensors: dict[str, Tensor]
    total: int
    step: int
    tokens: int
    seconds: float
    lr: float
    smoothed: float
    rates: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def finite(self) -> bool:
        """Whether all weights and moments are numbers."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors.values())


def write_state(state: TrainingState, settings: Mapping[str, Any], path: Path) -> None:
    """Write a state with the settings that it belongs to; the file is whole or as it was."""
    facts = {field.name: getattr(state, field.name) for field in dataclasses.fields(state) if field.name != "tensors"}
    header = as_json({"format_version": _FORMAT_VERSION, "settings": dict(settings), "state": facts})
    with replacing(path) as temporary:
        save_file(state.tensors, temporary, metadata={_KEY: header})
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())  # or a power cut could leave an empty file under the final name


def read_state(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    """Read a state and the settings that it belongs to.

    Raises
    ------
    ResumeError
        If the file is damaged, is not a checkpoint, or is of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})[_KEY])
            if header["format_version"] > _FORMAT_VERSION:
                raise ResumeError(path, "a newer genomic_ulmfit wrote it; install that one")
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
            facts = header["state"] | {name: tuple(header["state"][name]) for name in ("rates", "rows")}
            return TrainingState(tensors, **facts), header["settings"]
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ResumeError(path, f"not a whole training checkpoint ({error}); name another, or start anew") from error


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of named tensors."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


class Keeper:
    """Writes the state of one training when it is time to, and finds the state of an earlier run.

    Parameters
    ----------
    keeping : Keeping
        Where and how often.
    settings : mapping
        What must be the same when the training goes on, as plain JSON values.
    n_bytes : int
        Largest size of a checkpoint.

    Raises
    ------
    ResumeError
        If the checkpoint is damaged or of other settings; or if there is one and `resume` was not asked for.
    OSError
        If the folder is not there, can't be written to, or is too full.
    """

    def __init__(self, keeping: Keeping, settings: Mapping[str, Any], n_bytes: int) -> None:
        self.path, self.settings, self.seconds = keeping.path, dict(settings), 60 * keeping.minutes
        self.found: TrainingState | None = None
        self.kept: str | None = None
        self.written, self.cost = time.monotonic(), 0.0
        if self.path is None:
            return
        self._check_folder(self.path, n_bytes)
        if self.path.exists():
            self._look_at(self.path, keeping.resume)
        elif keeping.resume:
            log.info("%s: no checkpoint there, the training begins at its beginning", self.path)

    def _look_at(self, path: Path, resume: bool) -> None:
        """Take the state that is there, or refuse to write over hours of work."""
        state, settings = read_state(path)
        if not resume:
            if state.step:
                place = f"the checkpoint of a training, at step {state.step:,} of {state.total:,}"
                raise ResumeError(path, f"{place}; go on with it (resume), or delete the file to start anew")
            return
        different = differences(_DEFAULTS | settings, self.settings)
        if different:
            advice = "give the same settings and data, or delete the file to start anew"
            raise ResumeError(
                path, f"the checkpoint is of another training: {'; '.join(different)}; {advice}", different
            )
        self.found, self.kept = state, _words(state, path)
        log.info("%s: going on from step %s of %s", path, f"{state.step:,}", f"{state.total:,}")

    @staticmethod
    def _check_folder(path: Path, n_bytes: int) -> None:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise OSError(error.errno, f"no checkpoint can be written there ({error.strerror})", str(path)) from error
        free = shutil.disk_usage(path.parent).free
        if free < 2 * n_bytes:  # the new one is written before the old one goes
            text = (
                f"a checkpoint and its successor take {2e-6 * n_bytes:,.0f} MB, the disk has {1e-6 * free:,.0f} MB left"
            )
            raise OSError(errno.ENOSPC, text, str(path))

    def clear(self) -> None:
        """Remove what a run that was killed while it wrote has left."""
        for stray in leftovers(self.path) if self.path is not None else ():
            stray.unlink(missing_ok=True)

    def is_due(self, *, epoch_ends: bool = False) -> bool:
        """Tell whether it is time to write."""
        if self.path is None:
            return False
        return time.monotonic() - self.written >= (_WRITING_SHARE * self.cost if epoch_ends else self.seconds)

    def write(self, state: TrainingState) -> None:
        """Write a state; a disk that fills up later is warned of and doesn't end the training.

        Raises
        ------
        OSError
            If not even the first state can be written.
        TrainingDivergedError
            If a weight is no longer a number: the last good state is kept.
        """
        if self.path is None:
            return
        if not state.finite:
            raise TrainingDivergedError(float("nan"), state.step, self.kept)
        began = time.monotonic()
        try:
            write_state(state, self.settings, self.path)
            self.kept = _words(state, self.path)
        except (OSError, SafetensorError) as error:
            if self.kept is None:
                raise OSError(errno.EIO, f"no checkpoint can be written ({error})", str(self.path)) from error
            log.warning("%s: the checkpoint of step %d could not be written (%s)", self.path, state.step, error)
        self.written = time.monotonic()
        self.cost = self.written - began


def _words(state: TrainingState, path: Path) -> str:
    return f"the checkpoint of step {state.step:,}, {path},"


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say which settings differ; a digest is not shown."""
    found = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if old != new:
            is_digest = any(isinstance(value, str) and len(value) == 64 for value in (old, new))
            found.append(f"other {name}" if is_digest else f"{name} is {old} there and {new} here")
    return found


class Interruption:
    """Whether somebody asked the training to stop."""

    since: float | None = None

    @property
    def asked(self) -> bool:
        """True after Ctrl-C or a SIGTERM."""
        return self.since is not None


@contextmanager
def interruption(defer: bool) -> Iterator[Interruption]:
    """Note Ctrl-C and SIGTERM in place of stopping at once, so that a step ends before its state is written.

    Parameters
    ----------
    defer : bool
        False: leave both as they are.

    Yields
    ------
    Interruption
        The second Ctrl-C stops at once.
    """
    wish = Interruption()
    if not defer or threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield wish
        return

    def note(*_: object) -> None:
        if wish.since is not None and time.monotonic() - wish.since > _SECOND_WISH:
            raise KeyboardInterrupt
        wish.since = wish.since or time.monotonic()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heeded = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in heeded:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


def torch_seed(*numbers: int) -> int:
    """Mix whole numbers into a seed for torch, so that chance follows from them alone."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "little")
