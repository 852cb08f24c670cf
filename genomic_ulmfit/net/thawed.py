"""What of a classifier learns: the layers above a cut, from the last k-mers of each record.

Frozen layers run as they will in predictions, without dropout. Noise below the cut could teach nothing to weights that
don't move, the head's batch norm sees the features it will see, and what a frozen layer gives for a record is always
the same, so that it can be kept. k-mers before the last ones are read without gradients and without dropout; what was
read is a state to go on from, and the sum and the maximum of each layer's output for the pooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from genomic_ulmfit.net.awd_lstm import (
    AWDLSTM,
    Classifier,
    ClassifierOutput,
    LayerState,
)
from genomic_ulmfit.net.pooling import Past, concat_pool, segment_sums

__all__ = ["Before", "Below", "FromKept", "Thawed", "read_past"]

_TOKENS = 2**15  # k-mers read at a time: a few hundred MB of gates in a layer of 1,150 units


class Thawed(nn.Module):
    """A classifier of which the lowest layers are frozen and only the last k-mers send gradients back.

    Parameters
    ----------
    net : Classifier
        Trained in place.
    n_frozen : int
        LSTM layers that don't learn, counted from the lowest; the embedding goes with the first.
    max_backprop : int, optional
        Most k-mers, counted from the end of each record, that gradients come from; all if not given.
    """

    def __init__(self, net: Classifier, n_frozen: int = 0, max_backprop: int | None = None) -> None:
        super().__init__()
        self.net, self.n_frozen, self.max_backprop = net, n_frozen, max_backprop

    def forward(self, ids: Tensor, lengths: Tensor) -> ClassifierOutput:
        """Score the classes of `ids` (int64, batch x time, padded on the right) with `lengths` (int64, batch)."""
        ids, lengths, past = self.cut(ids, lengths)
        return self.above(*self.below(ids, lengths, past), lengths, past)

    def cut(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Before | None]:
        """Read all but the last k-mers; return those, their number, and what was read before them."""
        if self.max_backprop is None or int(lengths.max()) <= self.max_backprop:
            return ids, lengths, None
        n_past = (lengths - self.max_backprop).clamp(min=0)
        left = lengths - n_past
        return last_kmers(ids, n_past, left), left, read_past(self.net.encoder, ids, n_past, lengths)

    def below(self, ids: Tensor, lengths: Tensor, past: Before | None = None) -> tuple[Tensor, Tensor]:
        """Run the frozen layers.

        Returns
        -------
        x : float Tensor (batch, time, width)
            What the lowest layer that learns reads; of no time steps if all are frozen.
        features : float32 Tensor (batch, n_features)
            The frozen layers' part of the pooled features.
        """
        encoder = self.net.encoder
        if self.n_frozen == 0:
            return encoder.embed(ids, self.training), torch.zeros(len(ids), 0, device=ids.device)
        mask = _mask(ids, lengths)
        features = [torch.zeros(len(ids), 0, device=ids.device)]
        with torch.no_grad():
            x = encoder.embed(ids, training=False)
            for i in range(self.n_frozen):
                x, _ = encoder.run_layer(i, x, None if past is None else past.state[i], training=False)
                if i in self.net.config.pooled:
                    features.append(self._pool(i, x, lengths, mask, past))
        return x[:, :0] if self.n_frozen == len(encoder.layers) else x, torch.cat(features, dim=1)

    def above(self, x: Tensor, features: Tensor, lengths: Tensor, past: Before | None = None) -> ClassifierOutput:
        """Run the layers that learn, and the head, on what `below` gave."""
        encoder, mask = self.net.encoder, _mask(x, lengths)
        pooled = [features]
        for i in range(self.n_frozen, len(encoder.layers)):
            x, _ = encoder.run_layer(i, x, None if past is None else past.state[i], self.training)
            if i in self.net.config.pooled:
                pooled.append(self._pool(i, x, lengths, mask, past))
        return ClassifierOutput(self.net.head(torch.cat(pooled, dim=1)), x, mask)

    def _pool(self, i: int, x: Tensor, lengths: Tensor, mask: Tensor, past: Before | None) -> Tensor:
        """Pool layer `i`'s output, and what was pooled of it before."""
        return concat_pool(x, lengths, mask, self.net.config.segments, None if past is None else past.pooled[i])

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return those of the classifier."""
        return self.net.layer_groups()


class Below(nn.Module):
    """The frozen part of a `Thawed` net, to be kept."""

    def __init__(self, thawed: Thawed) -> None:
        super().__init__()
        self.thawed = thawed

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `Thawed.below` gives of the last k-mers, the pooled features being those of all."""
        return self.thawed.below(*self.thawed.cut(ids, lengths))


class FromKept(nn.Module):
    """The part of a `Thawed` net that learns, reading what was kept of the frozen part."""

    def __init__(self, thawed: Thawed) -> None:
        super().__init__()
        self.thawed = thawed

    def forward(self, x: Tensor, features: Tensor, lengths: Tensor) -> ClassifierOutput:
        """Score the classes from what `Thawed.below` gave."""
        return self.thawed.above(x, features, lengths)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return those of the classifier."""
        return self.thawed.layer_groups()


@dataclass(frozen=True)
class Before:
    """What was read of each record before the k-mers that send gradients back.

    Attributes
    ----------
    state : list of LayerState
        Each layer's state after them; zero where there were none.
    pooled : list of Past
        What each layer's outputs over them were pooled to.
    """

    state: list[LayerState]
    pooled: list[Past]


@torch.no_grad()
def read_past(encoder: AWDLSTM, ids: Tensor, n_past: Tensor, lengths: Tensor) -> Before:
    """Read the first k-mers of each row, a stretch at a time, without gradients and dropout.

    The rows end together and begin when their turn comes: so a stretch has no padding, and the states at the end are
    those of one point in time.

    Parameters
    ----------
    encoder : AWDLSTM
        Left as it is.
    ids : int64 Tensor (batch, time)
        k-mer ids.
    n_past : int64 Tensor (batch,)
        How many to read of each row.
    lengths : int64 Tensor (batch,)
        k-mers of each whole row.
    """
    widths, segments, batch = encoder.config.widths[1:], encoder.config.segments, len(ids)
    h, c, high = ([torch.zeros(batch, width, device=ids.device) for width in widths] for _ in range(3))
    sums = [torch.zeros(batch, segments, width, device=ids.device) for width in widths]
    for values in high:
        values.fill_(-torch.inf)
    order = n_past.argsort(descending=True)
    ahead = (n_past.max() - n_past)[order].tolist()  # how long each row waits
    end = int(n_past.max())
    edges = sorted({*(start for start in ahead if start < end), *range(0, end, max(1, _TOKENS // batch)), end})
    for start, stop in pairwise(edges):
        rows = order[: sum(begin <= start for begin in ahead)]
        x = torch.stack([ids[row, start - a : stop - a] for row, a in zip(rows.tolist(), ahead, strict=False)])
        read = start - torch.tensor(ahead[: len(rows)], device=ids.device)  # of each row, before this stretch
        real = torch.ones(x.shape, dtype=torch.bool, device=ids.device)
        x = encoder.embed(x, training=False)
        for i in range(len(widths)):
            x, (h_after, c_after) = encoder.run_layer(i, x, (h[i][rows][None], c[i][rows][None]), training=False)
            h[i][rows], c[i][rows] = h_after[0].float(), c_after[0].float()
            high[i][rows] = torch.maximum(high[i][rows], x.max(dim=1).values.float())
            sums[i][rows] += segment_sums(x, real, read, lengths[rows], segments)
    pooled = [Past(n_past, *found) for found in zip(high, sums, strict=True)]
    return Before([(h_[None], c_[None]) for h_, c_ in zip(h, c, strict=True)], pooled)


def last_kmers(ids: Tensor, n_past: Tensor, n_left: Tensor) -> Tensor:
    """Return the `n_left` (batch,) k-mers of `ids` (batch, time) from `n_past` (batch,) on, padded on the right."""
    columns = n_past[:, None] + torch.arange(int(n_left.max()), device=ids.device)
    return ids.gather(1, columns.clamp(max=ids.shape[1] - 1))


def _mask(x: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]
