"""The forward pass that every prediction uses: rows of k-mer ids in, logits out, in the order given.

A row's answer does not depend on its batch: padding is on the right, pooling is over real k-mers, and batch norm uses
its running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.batches import Ids, by_length, pad

__all__ = ["best_device", "evaluating", "forward", "log_odds", "softmax"]


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


def forward(
    model: Classifier,
    rows: Sequence[Ids] | Ids,
    *,
    batch_size: int = 256,
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
    device : str or torch.device, optional
        A GPU where there is one if not given.
    advance : callable, optional
        Told the number of rows done after each batch.

    Returns
    -------
    float32 array, shape (n_rows, n_classes)
        Logits in the order of `rows`.
    """
    where = best_device(device)
    logits = np.empty((len(rows), len(model.classes)), dtype=np.float32)
    if not len(rows):
        return logits
    with evaluating(model, where):
        for batch in by_length([len(row) for row in rows], batch_size):
            ids, lengths = pad([rows[i] for i in batch])
            logits[batch] = model(ids.to(where), lengths.to(where)).logits.float().cpu().numpy()
            if advance is not None:
                advance(len(batch))
    return logits


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits (n, classes) into probabilities (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_odds(logits: NDArray[np.float32], target: int) -> NDArray[np.float32]:
    """Return ln(p / (1 - p)) of class `target`, shape (n,), from logits (n, classes); in nats, never infinite."""
    others = np.delete(logits, target, axis=1)
    return logits[:, target] - np.logaddexp.reduce(others, axis=1)
