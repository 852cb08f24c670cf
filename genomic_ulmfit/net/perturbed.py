"""Copies of a record that differ from it in a few k-mers: ids in, logits out, and what they share is run once.

    record      a a a a a a a a a a a a a a a a a a      run once; its state is kept at every fourth k-mer
    copy                a X X a a a a a . . . . . .      runs from a kept state until its change will never show again
    pooled      [before][   its own    ][   after   ]    sums and maxima of the record, kept at the same places

An LSTM may forget: then, some k-mers after a change, outputs are the record's own again. A copy is given the record's
rest where its outputs are, and where what its cells still hold can't come to light in the steps that follow
(`genomic_ulmfit.net.echo`). Nets that were trained for long remember hundreds of k-mers, and copies whose change still
shows are run to their end. Of those that shared, some are run in full too; where they differ, less is shared. So the
answer is that of every copy in full.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.batches import Ids
from genomic_ulmfit.net.copies import EVERY, Copies, Edits, Kept, follow
from genomic_ulmfit.net.engine import Engine, PlainEngine, Precision, make_engine, softmax
from genomic_ulmfit.net.workers import in_order, n_workers

__all__ = ["CopyLogits", "Edits", "forward_copies"]

log = logging.getLogger(__name__)

_KEPT_FLOATS = 2**26  # of the records held at once: 256 MiB
# Difference of outputs, now and in the steps to come, at which a copy is given the record's rest, by bf16: rounding to
# it keeps states apart. If some copies then are off by more than _DRIFT in probability, the next one is taken.
_CLOSED = {False: (1e-4, 1e-6), True: (5e-3,)}
_DRIFT = {False: 5e-6, True: 1e-2}
_NEVER = -1.0
_ONE_IN, _CHECKED = 100, 32  # copies that are checked, and how many at most
_IDS_AT_ONCE = 2**22  # of copies that are run in full


_Item = tuple[Ids, Sequence[Edits]]


class CopyLogits(NamedTuple):
    """What a record and its copies give.

    Attributes
    ----------
    record : float32 array, shape (n_classes,)
        Logits of the record.
    copies : list of float32 array, shape (n_copies, n_classes)
        Logits of its copies, an array for each `Edits`.
    n_run : list of int64 array, shape (n_copies,)
        k-mers that were run for each copy.
    shared : list of bool array, shape (n_copies,)
        Which copies have the record's own state again before its end, so that the rest was not run.
    """

    record: NDArray[np.float32]
    copies: list[NDArray[np.float32]]
    n_run: list[NDArray[np.int64]]
    shared: list[NDArray[np.bool_]]


def forward_copies(
    model: Classifier,
    work: Iterable[_Item],
    *,
    exact: bool = False,
    batch_size: int = 256,
    precision: Precision = "fp32",
    device: str | torch.device | None = None,
) -> Iterator[CopyLogits]:
    """Score records and copies of them.

    Parameters
    ----------
    model : Classifier
        Goes home as it came.
    work : iterable of (unsigned integer array (n_kmers,), sequence of Edits)
        Ids of each record, and what its copies have in their place. It is read a part at a time; what is kept of the
        records of a part takes 256 MiB, or what one record needs.
    exact : bool
        Run every copy in full.
    batch_size : int
        Copies that run side by side.
    precision : {"fp32", "bf16", "auto"}
        As in `genomic_ulmfit.net.engine.make_engine`.
    device : str or torch.device, optional
        A GPU where there is one if not given.

    Yields
    ------
    CopyLogits
        Of each record, in order.
    """
    engine: Engine | PlainEngine | None = None
    tolerances: list[float] = []
    for group in _groups(model, work):
        if engine is None:
            engine = make_engine(model, [ids for ids, _ in group], precision=precision, device=device)
            tolerances = [*_CLOSED[isinstance(engine, Engine) and engine.bf16], _NEVER]
        if exact or isinstance(engine, PlainEngine):
            yield from (_in_full(engine, ids, edits, batch_size) for ids, edits in group)
            continue
        results = _run(engine, group, batch_size, tolerances[0])
        while (drift := _drift(engine, group, results)) > _DRIFT[engine.bf16]:
            log.info("copies: what was shared is wrong by %.1e; run again, with less shared", drift)
            del tolerances[0]
            results = _run(engine, group, batch_size, tolerances[0])
        yield from results


def _groups(model: Classifier, work: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Put as many records together as may be held at once."""
    a_place = (6 + 4 * model.config.segments) * sum(model.config.widths[1:])  # floats, at most: see `Kept`
    most = _KEPT_FLOATS // a_place * EVERY
    group: list[_Item] = []
    longest = 0
    for item in work:
        longest = max(longest, len(item[0]))
        if group and longest * (len(group) + 1) > most:
            yield group
            group, longest = [], len(item[0])
        group.append(item)
    if group:
        yield group


def _in_full(engine: Engine | PlainEngine, ids: Ids, edits: Sequence[Edits], batch_size: int) -> CopyLogits:
    """Run each copy of a record from end to end."""
    copies = []
    for part in edits:
        parts = np.array_split(np.arange(len(part.starts)), len(part.starts) * len(ids) // _IDS_AT_ONCE + 1)
        copies.append(
            np.concatenate([engine.logits(_written(ids, part, some), batch_size=batch_size) for some in parts])
        )
    n_run = [np.full(len(part.starts), len(ids)) for part in edits]
    return CopyLogits(engine.logits([ids])[0], copies, n_run, [n < 0 for n in n_run])


def _written(ids: Ids, edits: Edits, some: NDArray[np.int64]) -> Ids:
    """Write some copies of a record out, (n, n_kmers)."""
    rows = np.tile(ids, (len(some), 1))
    places = edits.starts[some, None] + np.arange(edits.ids.shape[1])
    np.put_along_axis(rows, places, edits.ids[some], axis=1)
    return rows


def _drift(engine: Engine, group: list[_Item], results: list[CopyLogits]) -> float:
    """Run some of the copies that shared in full, and return by how much a probability was wrong."""
    rows: list[Ids] = []
    found: list[NDArray[np.float32]] = []
    for (ids, edits), result in zip(group, results, strict=True):
        for part, logits, n_run, shared in zip(edits, result.copies, result.n_run, result.shared, strict=True):
            some = np.flatnonzero(shared & (n_run > 0))
            some = some[:: max(_ONE_IN, len(some) // _CHECKED)]
            rows += list(_written(ids, part, some))
            found += list(logits[some])
    if not rows:
        return 0.0
    few = np.linspace(0, len(rows) - 1, min(len(rows), _CHECKED)).astype(int)
    in_full = engine.logits([rows[i] for i in few])
    return float(np.abs(softmax(np.array(found)[few]) - softmax(in_full)).max())


def _run(engine: Engine, group: list[_Item], batch_size: int, tolerance: float) -> list[CopyLogits]:
    """Run the records of a group, then their copies from change to closing."""
    order = sorted(range(len(group)), key=lambda i: -len(group[i][0]))  # the engine wants the longest first
    kept = Kept(engine, [group[i][0] for i in order])
    copies = Copies(kept, [group[i][1] for i in order])
    of_records = kept.logits()
    logits = of_records[copies.record.cpu().numpy()]  # right already for copies that differ in no k-mer
    n_run, shared = np.zeros(len(logits), dtype=np.int64), ~copies.differs.cpu().numpy()
    workers = n_workers(engine.device)
    changed = copies.differs.nonzero()[:, 0]
    shares = [changed[worker::workers] for worker in range(workers)]
    for which, *found in in_order(lambda mine: follow(copies, mine, batch_size, tolerance), shares, engine.device):
        logits[which], n_run[which], shared[which] = found
    log.info(
        "copies: %d of %d shared the rest of their record; %d of %d k-mers were run",
        *(shared.sum(), len(shared), n_run.sum(), kept.lengths[copies.record].sum()),
        extra={"kmers_run": int(n_run.sum() + kept.lengths.sum())},
    )
    dealt = [copies.dealt(x) for x in (logits, n_run, shared)]
    return [CopyLogits(of_records[i], *(x[i] for x in dealt)) for i in np.argsort(order)]
