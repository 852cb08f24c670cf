"""What pretraining and classifier training share: settings, seeds, the parts of a data set, and the card's lines."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

from genomic_ulmfit.datasets.records import labels, part
from genomic_ulmfit.errors import DatasetError, ModelFileError, SettingError
from genomic_ulmfit.files import replacing, require_place
from genomic_ulmfit.net.awd_lstm import BACKGROUND, SIZES, AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.checkpoint import header, save
from genomic_ulmfit.net.learner import Recipe

__all__ = [
    "card_with",
    "class_indices",
    "class_order",
    "digest_of",
    "require_free",
    "require_positive",
    "rescued",
    "seeded",
    "settings_of",
    "training_parts",
    "warned_of_log",
    "window_and_anchor",
    "with_stage",
    "write_log",
]

_log = logging.getLogger(__name__)


def settings_of(
    config: AWDLSTMConfig | str,
    drop_mult: float | None,
    pool: Literal["last", "all"] | None = None,
    segments: int | None = None,
) -> AWDLSTMConfig:
    """Return the named or given config, with other dropouts or another head where asked."""
    if isinstance(config, str):
        if config not in SIZES:
            raise SettingError(f"size is {config!r}, wanted one of {', '.join(SIZES)}")
        config = SIZES[config]
    asked: dict[str, Any] = {"drop_mult": drop_mult, "pool": pool, "segments": segments}
    return dataclasses.replace(config, **{name: value for name, value in asked.items() if value is not None})


def seeded(seed: int, make: Any) -> Any:
    """Make a net with weights drawn from `seed`, leaving the global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def training_parts(records: list[SeqRecord]) -> tuple[list[SeqRecord], list[SeqRecord]]:
    """Return the records to learn from and those to check on; all to learn from where none says ``split=``."""
    if not any("split" in record.annotations for record in records):
        return records, []
    learnt = part(records, "train")
    if not learnt:
        raise DatasetError("no record says split=train, though some say another split")
    return learnt, part(records, "valid")


def class_order(learnt: list[SeqRecord]) -> list[str]:
    """Return the labels in order, "background" first."""
    return sorted(set(labels(learnt)), key=lambda name: (name != BACKGROUND, name))


def class_indices(classes: list[str], records: list[SeqRecord]) -> NDArray[np.int64]:
    """Return the class index of each record, refusing a label that the training part has not."""
    unknown = set(labels(records)) - set(classes)
    if unknown:
        raise DatasetError(f"the valid part has labels {sorted(unknown)} that the training part has not")
    return np.array([classes.index(label) for label in labels(records)], dtype=np.int64)


def window_and_anchor(records: list[SeqRecord]) -> tuple[int | None, int | None]:
    """Return the length that all records share and the anchor that all records share, or None."""
    lengths = {len(record) for record in records}
    anchors: set[Any] = {record.annotations.get("anchor") for record in records}
    window = lengths.pop() if len(lengths) == 1 else None
    anchor = anchors.pop() if window is not None and len(anchors) == 1 else None
    return window, None if anchor is None else int(anchor)


def require_positive(**given: int | None) -> None:
    """Refuse settings, by name, that are below 1."""
    for name, value in given.items():
        if value is not None and value < 1:
            raise SettingError(f"{name} is {value}, wanted 1 or more")


def require_free(checkpoint: str | Path) -> None:
    """Refuse a place for `rescued` that has no folder, or that holds anything else than what it wrote there before."""
    path = require_place(checkpoint)
    with suppress(FileNotFoundError, ModelFileError):
        if header(path)["card"].get("interrupted"):
            return
    if path.exists():
        raise SettingError(f"checkpoint is {path}, which is there already and would be lost; name another file")


@contextmanager
def rescued(model: LanguageModel | Classifier, checkpoint: str | Path | None) -> Iterator[None]:
    """Save what was learnt so far if the training is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is not None:
            model.card["interrupted"] = True
            _log.warning("%s: what was learnt before the interruption", save(model, checkpoint))
        raise


def write_log(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the history of a training as CSV, a row each."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def warned_of_log(path: str | Path) -> Iterator[None]:
    """Warn where a log can't be written: a full disk must not end a training."""
    try:
        yield
    except OSError as error:
        _log.warning("%s: the log could not be written (%s)", path, error)


def digest_of(records: Iterable[SeqRecord]) -> str:
    """Return the sha256 of ids, labels and sequences, so that a card tells one data set from another."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f">{record.id} {record.annotations.get('label')}\n{record.seq}\n".encode())
    return digest.hexdigest()


def card_with(
    before: dict[str, Any], stage: dict[str, Any], recipe: Recipe, result: dict[str, float]
) -> dict[str, Any]:
    """Return a card with one more stage. No wall-clock times: the same training gives the same file."""
    how = {name: value for name, value in dataclasses.asdict(recipe).items() if name not in ("progress", "device")}
    return with_stage(before, {**stage, **how, **result})


def with_stage(before: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of what a stage made of a model: all stages, and of which published model it is made.

    What the publisher says of that model, its uses and figures, is not true of the new one.
    """
    name = before.get("name") or before.get("made_from")
    origin = {"made_from": name} if name else {}
    return origin | {"stages": [*before.get("stages", []), dict(stage)]}
