"""The forward pass that every prediction uses: rows of k-mer ids in, logits out, in the order given.

A row's answer does not depend on its batch: padding is on the right, pooling is over real k-mers, and batch norm uses
its running statistics. `docs/engine.md` explains what is done once, what is shared and why the answer is the same.

For other verbs to build on::

    engine = make_engine(model, rows, precision="fp32", device=None)    # once a call; reads the model, leaves it alone
    engine.logits(rows)                             # (n, classes) of whole rows, read from the zero state
    engine.features(rows)                           # (n, n_features), what the head would read
    state = engine.recurrence.zero(n)               # or an earlier `State`, or some of its rows: state[indices]
    pool = engine.pool(n)
    for position, n in enumerate(engine.recurrence.walk(ids, state)):  # ids (time, n); `state` is each time step's
        pool.add(state, n, position, lengths)
    engine.classify(pool.features(state, lengths))  # pooled features (n, n_features) to logits

`Echo.difference` tells how far apart outputs after two states will be: where it is nearly 0, the rest can be shared.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genomic_ulmfit.errors import PrecisionError, SettingError
from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.batches import Ids, by_length, pad
from genomic_ulmfit.net.pooling import pooled_features, segment_of
from genomic_ulmfit.net.recurrence import Recurrence, State
from genomic_ulmfit.net.workers import in_order, n_workers

__all__ = [
    "Engine",
    "PlainEngine",
    "Pool",
    "Precision",
    "best_device",
    "check_precision",
    "evaluating",
    "forward",
    "has_bf16_units",
    "log_odds",
    "make_engine",
    "softmax",
]

Precision = Literal["fp32", "bf16", "auto"]

_FEW_ROWS = 16  # a batch that is cut so that all cores have work is not cut smaller
_CHECKED_ROWS = 64
_MOST_DRIFT = 0.05  # of a probability, in the worst of the checked rows
_MEAN_DRIFT = 0.01

log = logging.getLogger(__name__)


def best_device(device: str | torch.device | None = None) -> torch.device:
    """Return `device`, or a GPU where there is one, or the CPU.

    Raises
    ------
    SettingError
        If this machine or this torch has no such device.
    """
    if device is not None:
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            first = str(error).splitlines()[0]
            raise SettingError(
                f"device {str(device)!r} is not to be had here ({first}); wanted cpu, or cuda"
            ) from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16_units(device: torch.device) -> bool:
    """Tell whether the processor multiplies bf16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch can't tell
    if capabilities.get("amx_bf16"):
        return True
    # Intel's bf16 units are AMX. Where a hypervisor hides them, AVX-512's product of bf16 is there but has half of
    # float32's rate (an Emerald Rapids: 84 and 155 GFLOP/s on one thread); AMD's has twice.
    return bool(capabilities.get("avx512_bf16")) and "Intel" not in str(capabilities.get("cpu_name"))


def check_precision(precision: str) -> None:
    """Refuse what is no `Precision`, with a `SettingError`."""
    if precision not in ("fp32", "bf16", "auto"):
        raise SettingError(f"precision is {precision!r}, wanted 'fp32', 'bf16' or 'auto'")


@contextmanager
def evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put `model` on `device` in evaluation mode, without gradients, and send it home as it came."""
    home, training = next(model.parameters()).device, model.training
    try:
        model.to(device).eval()
        with torch.inference_mode():
            yield
    finally:
        model.to(home).train(training)


def make_engine(
    model: Classifier,
    rows: Sequence[Ids] | Ids,
    *,
    precision: Precision = "fp32",
    device: str | torch.device | None = None,
) -> Engine | PlainEngine:
    """Make a model ready for reading.

    Parameters
    ----------
    model : Classifier
        It is read once and left as it is. A subclass with a forward pass of its own is run by that.
    rows : sequence of unsigned integer array
        What is to be read, or its beginning: reduced precision is tried on the first 64 of them.
    precision : {"fp32", "bf16", "auto"}
        "auto" takes bf16 where the processor has units for it and the probabilities stay near those of float32.
    device : str or torch.device, optional
        A GPU where there is one if not given.

    Raises
    ------
    PrecisionError
        If "bf16" was asked for, and a probability drifts by more than 0.05 or their mean by more than 0.01.
    SettingError
        If `precision` is none of the three.
    """
    check_precision(precision)
    where = best_device(device)
    if type(model).forward is not Classifier.forward:
        return PlainEngine(model, where)
    exact = Engine(model, device=where)
    sample = rows[:_CHECKED_ROWS]
    if precision == "fp32" or not len(sample) or (precision == "auto" and not has_bf16_units(where)):
        log.info("engine: float32 on %s", where)
        return exact
    fast = Engine(model, device=where, bf16=True)
    drift = np.abs(softmax(fast.logits(sample)) - softmax(exact.logits(sample)))
    most, mean = float(drift.max()), float(drift.mean())
    passed = most <= _MOST_DRIFT and mean <= _MEAN_DRIFT
    log.info(
        "engine: bf16 on %s %s; on the first %d rows probabilities drift by %.4f at most, %.4f on average",
        *(where, "taken" if passed else "refused", len(sample), most, mean),
    )
    if not passed and precision == "bf16":
        raise PrecisionError(most, mean, _MOST_DRIFT, _MEAN_DRIFT)
    fast.reference = exact
    return fast if passed else exact


class Engine:
    """A classifier made ready for reading: its `recurrence`, its pooling and its head.

    Parameters
    ----------
    model : Classifier
        Its weights are copied.
    device : torch.device
        Where to work.
    bf16 : bool
        Multiply the LSTM's matrices in bf16.

    Attributes
    ----------
    reference : Engine or None
        The same model in float32, where this one is not and was held against it.
    """

    reference: Engine | None = None

    def __init__(self, model: Classifier, *, device: torch.device, bf16: bool = False) -> None:
        self.recurrence = Recurrence(model.encoder, device=device, bf16=bf16)
        self.device, self.bf16, self.n_classes = device, bf16, len(model.classes)
        self.pooled = [(layer, model.config.widths[1 + layer]) for layer in model.config.pooled]
        self.segments, self.n_features = model.config.segments, model.config.n_features()
        self.head = copy.deepcopy(model.head).to(device).eval()

    def pool(self, n: int) -> Pool:
        """Return the pool of `n` rows that have read nothing."""
        widths = [self.recurrence.widths[layer] for layer, _ in self.pooled]
        sums = [torch.zeros(n, self.segments, width, dtype=torch.float64, device=self.device) for width in widths]
        highs = [torch.full((n, width), -torch.inf, device=self.device) for width in widths]
        return Pool(self.pooled, sums, highs)

    def classify(self, features: Tensor) -> NDArray[np.float32]:
        """Turn pooled features (n, n_features) into logits (n, classes)."""
        with torch.inference_mode():
            return self.head(features).cpu().numpy()

    def logits(
        self, rows: Sequence[Ids] | Ids, *, batch_size: int = 256, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Read rows from the zero state.

        Parameters
        ----------
        rows : sequence of unsigned integer array, each of shape (n_kmers,), or one array (n_rows, n_kmers)
            Ids of each record or window.
        batch_size : int
            Rows a batch.
        advance : callable, optional
            Told the number of rows done after each batch.

        Returns
        -------
        float32 array, shape (n_rows, n_classes)
            Logits in the order of `rows`.
        """
        return self._read(rows, self.classify, self.n_classes, batch_size, advance)

    def features(
        self, rows: Sequence[Ids] | Ids, *, batch_size: int = 256, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Read rows as `logits` does, and stop before the head.

        Returns
        -------
        float32 array, shape (n_rows, n_features)
            Of each pooled layer, lowest first, what `pooled_features` joins. All rows are held at once: at the small
            config's 1,536 features 100,000 rows are 0.6 GB.
        """
        return self._read(rows, lambda pooled: pooled.cpu().numpy(), self.n_features, batch_size, advance)

    def _read(
        self,
        rows: Sequence[Ids] | Ids,
        turn: Callable[[Tensor], NDArray[np.float32]],
        width: int,
        batch_size: int,
        advance: Callable[[int], None] | None,
    ) -> NDArray[np.float32]:
        """Read rows batch by batch, and keep what `turn` makes of each batch's features: float32 (n_rows, width)."""
        answers = np.empty((len(rows), width), dtype=np.float32)
        if not len(rows):
            return answers
        share = math.ceil(len(rows) / n_workers(self.device))
        batches = by_length([len(row) for row in rows], min(batch_size, max(share, _FEW_ROWS)))
        longest_first = [batch[::-1] for batch in reversed(batches)]

        def read(batch: list[int]) -> NDArray[np.float32]:
            return turn(self._features([rows[i] for i in batch]))

        for batch, found in zip(longest_first, in_order(read, longest_first, self.device), strict=True):
            answers[batch] = found
            if advance is not None:
                advance(len(batch))
        return answers

    @torch.inference_mode()
    def _features(self, rows: Sequence[Ids]) -> Tensor:
        """Pool rows that are sorted from the longest to the shortest."""
        ids, lengths = pad(rows)
        n_rows = (lengths[None, :] > torch.arange(ids.shape[1])[:, None]).sum(dim=1).tolist()
        state, pool = self.recurrence.zero(len(rows)), self.pool(len(rows))
        lengths = lengths.to(self.device)
        for position, n in enumerate(self.recurrence.walk(ids.t().contiguous().to(self.device), state, n_rows)):
            pool.add(state, n, position, lengths)
        return pool.features(state, lengths)


@dataclass
class Pool:
    """The running sum and maximum of the pooled layers' outputs.

    Attributes
    ----------
    layers : list of (int, int)
        Index and width of each pooled layer.
    sums : list of float64 Tensor (n, segments, padded width)
    highs : list of float32 Tensor (n, padded width)
    """

    layers: list[tuple[int, int]]
    sums: list[Tensor]
    highs: list[Tensor]

    def __getitem__(self, rows: slice | Tensor) -> Pool:
        """Return some of the rows: views for a slice, copies for indices or a mask."""
        return Pool(self.layers, [x[rows] for x in self.sums], [x[rows] for x in self.highs])

    def __setitem__(self, rows: slice | Tensor, other: Pool) -> None:
        """Write into some of the rows."""
        for mine, given in zip(self.sums + self.highs, other.sums + other.highs, strict=True):
            mine[rows] = given

    def add(self, state: State, n: int, position: Tensor | int, lengths: Tensor) -> None:
        """Take in the k-mers at an index (n or more rows, or one for all) of the first `n` rows, of such lengths."""
        if (segments := self.sums[0].shape[1]) > 1:
            rows, segment = torch.arange(n, device=lengths.device), segment_of(position, lengths, segments)[:n]
        for (layer, _), sums, high in zip(self.layers, self.sums, self.highs, strict=True):
            h = state.h[layer][:n]
            if segments > 1:
                sums[rows, segment] += h
            else:
                sums[:n, 0].add_(h)
            torch.maximum(high[:n], h, out=high[:n])

    def raise_highs(self, rows: Tensor, highs: list[Tensor]) -> None:
        """Take in the maxima of other time steps, for some of the rows."""
        for mine, given in zip(self.highs, highs, strict=True):
            mine[rows] = torch.maximum(mine[rows], given)

    def features(self, last: State | list[Tensor], lengths: Tensor) -> Tensor:
        """Join what the layers were pooled to, float32 (n, n_features), as the head reads it.

        Parameters
        ----------
        last : State or list of float32 Tensor (n, padded width)
            After each row's last k-mer; of a list, the outputs of the pooled layers.
        lengths : int Tensor (n,)
            How many k-mers were taken in.
        """
        if isinstance(last, State):
            last = [last.h[layer] for layer, _ in self.layers]
        found = zip(self.layers, last, self.highs, self.sums, strict=True)
        columns = [
            pooled_features(h[:, :width], high[:, :width], sums[..., :width], lengths)
            for (_, width), h, high, sums in found
        ]
        return torch.cat(columns, dim=1)


class PlainEngine:
    """A classifier run by its own forward pass: for nets with another one than `Classifier` has.

    Parameters
    ----------
    model : Classifier
        Goes home as it came: device, mode, weights.
    device : torch.device
        Where to work.
    """

    reference: None = None

    def __init__(self, model: Classifier, device: torch.device) -> None:
        self.model, self.device = model, device

    def logits(
        self, rows: Sequence[Ids] | Ids, *, batch_size: int = 256, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Read rows, as `Engine.logits` does."""
        logits = np.empty((len(rows), len(self.model.classes)), dtype=np.float32)
        with evaluating(self.model, self.device):
            for batch in by_length([len(row) for row in rows], batch_size) if len(rows) else []:
                ids, lengths = pad([rows[i] for i in batch])
                logits[batch] = self.model(ids.to(self.device), lengths.to(self.device)).logits.float().cpu().numpy()
                if advance is not None:
                    advance(len(batch))
        return logits


def forward(
    model: Classifier,
    rows: Sequence[Ids] | Ids,
    *,
    batch_size: int = 256,
    precision: Precision = "fp32",
    device: str | torch.device | None = None,
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Score rows of k-mer ids.

    Parameters
    ----------
    model : Classifier
        Goes home as it came: device, mode, weights.
    rows : sequence of unsigned integer array, each of shape (n_kmers,), or one array (n_rows, n_kmers)
        Ids of each record or window.
    batch_size : int
        Rows a batch.
    precision : {"fp32", "bf16", "auto"}
        As in `make_engine`.
    device : str or torch.device, optional
        A GPU where there is one if not given.
    advance : callable, optional
        Told the number of rows done after each batch.

    Returns
    -------
    float32 array, shape (n_rows, n_classes)
        Logits in the order of `rows`.

    Raises
    ------
    PrecisionError, SettingError
        As in `make_engine`.
    """
    engine = make_engine(model, rows, precision=precision, device=device)
    return engine.logits(rows, batch_size=batch_size, advance=advance)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits (n, classes) into probabilities (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_odds(logits: NDArray[np.float32], target: int) -> NDArray[np.float32]:
    """Return ln(p / (1 - p)) of class `target`, shape (n,), from logits (n, classes); in nats, never infinite."""
    others = np.delete(logits, target, axis=1)
    return logits[:, target] - np.logaddexp.reduce(others, axis=1)
