"""Progress of long work: a bar in a terminal, quiet lines in a log, nothing when asked for nothing."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Progress", "progress_bar"]

_SECONDS_BETWEEN_LINES = 30.0


class Progress(Protocol):
    """What long work reports to."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Add `amount` units of finished work; `note` is shown beside the count."""


class _Silent:
    def advance(self, amount: float = 1, note: str = "") -> None:
        pass


class _Lines:
    """A log line every half minute, and one at the end."""

    def __init__(self, what: str, total: float, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done, self.note = 0.0, ""
        self.began = self.said = time.monotonic()
        self.log = logging.getLogger("genomic_ulmfit")

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note
        if time.monotonic() - self.said > _SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            left = (self.total - self.done) * (self.said - self.began) / max(self.done, 1e-9)
            self.say(f"{100 * self.done / max(self.total, 1):.0f} %, {duration(left)} left")

    def say(self, share: str) -> None:
        seconds = time.monotonic() - self.began
        rate = self.done / max(seconds, 1e-9)
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        note = f", {self.note}" if self.note else ""
        self.log.info("%s: %s, %.0f s, %s %s/s%s", self.what, share, seconds, shown, self.unit, note)


def duration(seconds: float) -> str:
    """Say a time in two units at most.

    Examples
    --------
    >>> duration(45), duration(754), duration(9120)
    ('45 s', '13 min', '2 h 32 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _Bar:
    """A rich progress bar."""

    def __init__(self, bar: object, task: object) -> None:
        self.bar, self.task = bar, task

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.bar.advance(self.task, amount)  # type: ignore[attr-defined]
        if note:
            self.bar.update(self.task, note=note)  # type: ignore[attr-defined]


@contextmanager
def progress_bar(what: str, total: float, *, unit: str = "it", show: bool = True) -> Iterator[Progress]:
    """Report the progress of a piece of work.

    Parameters
    ----------
    what : str
        What is being done, in a few words.
    total : float
        Amount of work, in `unit`.
    unit : str
        Name of the unit, plural.
    show : bool
        False: report nothing.

    Yields
    ------
    Progress
        Call its ``advance(amount, note)``.
    """
    if not show:
        yield _Silent()
        return
    if not sys.stderr.isatty():
        lines = _Lines(what, total, unit)
        yield lines
        lines.say("done")
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Speed(ProgressColumn):
        """Units a second, lately."""

        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, bar.add_task(what, total=total, note=""))
