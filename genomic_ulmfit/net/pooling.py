"""What a classifier reads of a layer's outputs: the last, the maximum, the mean, and the means over segments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Past", "concat_pool", "pooled_features", "segment_of", "segment_starts", "segment_sums"]


class Past(NamedTuple):
    """What was pooled of each record before the k-mers that are read now.

    Attributes
    ----------
    lengths : int64 Tensor (batch,)
        k-mers read.
    high : float32 Tensor (batch, width)
        Maximum of the outputs over them; minus infinity where there were none.
    sums : float32 Tensor (batch, segments, width)
        Sum of the outputs over those of each segment of the whole record.
    """

    lengths: Tensor
    high: Tensor
    sums: Tensor


def concat_pool(x: Tensor, lengths: Tensor, mask: Tensor, segments: int = 1, past: Past | None = None) -> Tensor:
    """Join the last, the maximal and the mean output over real k-mers, and the mean over each of several segments.

    Parameters
    ----------
    x : float Tensor (batch, time, width)
        A layer's output.
    lengths : int64 Tensor (batch,)
        Number of real k-mers.
    mask : bool Tensor (batch, time)
        True at real k-mers.
    segments : int
        Into how many to divide each record.
    past : Past, optional
        What comes before `x`, if that is not the whole record.

    Returns
    -------
    float32 Tensor (batch, n_pools * width)
        As `pooled_features` joins them.
    """
    last = x[torch.arange(len(x), device=x.device), lengths - 1]
    # masking reads and writes all of x, which costs as much as an LSTM layer's forward pass
    high = (x if mask.all() else x.masked_fill(~mask[..., None], -torch.inf)).max(dim=1).values
    if past is None:
        return pooled_features(last, high, segment_sums(x, mask, 0, lengths, segments), lengths)
    whole = past.lengths + lengths
    sums = past.sums + segment_sums(x, mask, past.lengths, whole, segments)
    return pooled_features(last, torch.maximum(high, past.high), sums, whole)


def segment_sums(x: Tensor, mask: Tensor, before: Tensor | int, lengths: Tensor, segments: int) -> Tensor:
    """Sum outputs over the k-mers of each segment.

    Parameters
    ----------
    x : float Tensor (batch, time, width)
        A layer's output over a stretch of each record.
    mask : bool Tensor (batch, time)
        True at real k-mers.
    before : int64 Tensor (batch,) or int
        How many k-mers of each record come before the stretch.
    lengths : int64 Tensor (batch,)
        k-mers of each whole record.
    segments : int
        Into how many to divide each record.

    Returns
    -------
    float32 Tensor (batch, segments, width)
    """
    batch, time, width = x.shape
    rows = torch.arange(batch, device=x.device)[:, None]
    positions = torch.as_tensor(before, device=x.device).reshape(-1, 1) + torch.arange(time, device=x.device)
    nowhere = batch * segments
    where = (rows * segments + segment_of(positions, lengths[:, None], segments)).masked_fill(~mask, nowhere)
    sums = torch.zeros(nowhere + 1, width, device=x.device)
    return sums.index_add(0, where.flatten(), x.flatten(0, 1).float())[:nowhere].unflatten(0, (batch, segments))


def segment_of(positions: Tensor | int, lengths: Tensor, segments: int) -> Tensor:
    """Return the segment in which the k-mers at some indices of records of some lengths lie (int64, broadcast).

    Examples
    --------
    >>> segment_of(torch.arange(7), torch.tensor(7), 3).tolist()
    [0, 0, 0, 1, 1, 2, 2]
    """
    return (positions * segments // lengths.clamp(min=1)).clamp(max=segments - 1)


def segment_starts(lengths: Tensor, segments: int) -> Tensor:
    """Return where each segment of records of some lengths (batch,) begins and the last ends (batch, segments + 1).

    Examples
    --------
    >>> segment_starts(torch.tensor([7, 2]), 3).tolist()
    [[0, 3, 5, 7], [0, 1, 2, 2]]
    """
    return -(-torch.arange(segments + 1, device=lengths.device) * lengths[:, None] // segments)


def pooled_features(last: Tensor, high: Tensor, sums: Tensor, lengths: Tensor) -> Tensor:
    """Join what a layer's outputs are pooled to.

    Parameters
    ----------
    last, high : float Tensor (batch, width)
        The last and the maximal output.
    sums : float Tensor (batch, segments, width)
        Sum of the outputs over each segment.
    lengths : int64 Tensor (batch,)
        k-mers of each record.

    Returns
    -------
    float32 Tensor (batch, n_pools * width)
        Last, maximum and mean; then, of more than one segment, the mean over each, 0 over those without a k-mer.
    """
    columns = [last, high, sums.sum(dim=1) / lengths[:, None]]
    if (segments := sums.shape[1]) > 1:
        sizes = segment_starts(lengths, segments).diff(dim=1).clamp(min=1)
        columns.append((sums / sizes[..., None]).flatten(1))
    return torch.cat([column.float() for column in columns], dim=1)
