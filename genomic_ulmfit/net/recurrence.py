"""The LSTM stack, made ready once for reading: k-mer ids and a state in, the state after each time step out.

The recurrence of a layer is that of Hochreiter & Schmidhuber (1997) with forget gates, as torch's `nn.LSTM` has it::

    i, f, o = sigmoid(W [x, h] + b)        g = tanh(W [x, h] + b)
    c <- f * c + i * g                     h <- o * tanh(c)

What is done once: layer 1 reads nothing but k-mers, so its input product with both biases is a table with one row per
k-mer. Input and hidden weights of the other layers lie side by side, so that a step is one matrix product. The
weights of g are doubled, since tanh(a) = 2 sigmoid(2a) - 1 and torch's sigmoid is several times faster than its tanh.
Widths are padded with units that stay at zero to multiples of what matrix units read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genomic_ulmfit.net.awd_lstm import AWDLSTM

__all__ = ["Recurrence", "State"]

_SEVERAL = 16  # rows by which a product shrinks: oneDNN generates code for each number of rows that it meets
_ROWS = 256  # of the products that the weights' layout is made for; others are right too
_TILE = 32  # numbers of bf16 in a row of AMX's tiles, and in an AVX-512 register


@dataclass
class State:
    """Where each row is after some time steps.

    Attributes
    ----------
    h, c : list of float32 Tensor (rows, width)
        Output and memory of each layer, with the padded widths of the `Recurrence`.
    gates : list of float32 Tensor (rows, 4 * width), optional
        If it is a list, what the last time step's gates i, f, g and o were is put there for each layer.
    """

    h: list[Tensor]
    c: list[Tensor]
    gates: list[Tensor] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.h[0])

    def __getitem__(self, rows: slice | Tensor) -> State:
        """Return some of the rows: views for a slice, copies for indices or a mask."""
        return State([h[rows] for h in self.h], [c[rows] for c in self.c])

    def __setitem__(self, rows: slice | Tensor, other: State) -> None:
        """Write into some of the rows."""
        for mine, given in zip(self.h + self.c, other.h + other.c, strict=True):
            mine[rows] = given


class Recurrence:
    """The layers of an encoder, read-only. To be used under ``torch.inference_mode()``.

    Parameters
    ----------
    encoder : AWDLSTM
        Its weights are copied; what happens to it later is not seen here.
    device : torch.device
        Where to work.
    bf16 : bool
        Multiply in bf16. States, gates and sums are float32 all the same.
    """

    def __init__(self, encoder: AWDLSTM, *, device: torch.device, bf16: bool = False) -> None:
        self.device, self.dtype = device, torch.bfloat16 if bf16 else torch.float32
        self.widths = [_padded(width) for width in encoder.config.widths[1:]]
        with torch.inference_mode():
            layers = [_Layer.of(layer) for layer in encoder.layers]
            table = encoder.embedding.weight.detach().float().cpu() @ layers[0].inputs.t() + layers[0].bias
            self._table = table.to(device, self.dtype)
            joined = [layers[0].hidden, *(torch.cat([x.inputs_padded(), x.hidden], dim=1) for x in layers[1:])]
            self._products = [_product(weights.to(device, self.dtype)) for weights in joined]
            self._n_in = [weights.shape[1] for weights in joined]
            self._biases = [layer.bias.to(device, self.dtype) for layer in layers[1:]]

    def zero(self, n: int) -> State:
        """Return the state of `n` rows that have read nothing."""
        h, c = ([torch.zeros(n, width, device=self.device) for width in self.widths] for _ in range(2))
        return State(h, c)

    def walk(self, ids: Tensor, state: State, n_rows: list[int] | None = None) -> Iterator[int]:
        """Read k-mers, one time step at a time; what a step gives is in `state` when it is yielded.

        Parameters
        ----------
        ids : int64 Tensor (time, rows)
            k-mer ids, time-major.
        state : State
            Where the rows start; changed in place.
        n_rows : list of int, length time, optional
            How many rows, counted from the first, are still read at each step: rows sorted from the longest to the
            shortest drop out of the work when they have ended, and keep their state. All if not given.

        Yields
        ------
        int
            How many rows were read.
        """
        time, batch = ids.shape
        joint = [torch.zeros(batch, n_in, dtype=self.dtype, device=self.device) for n_in in self._n_in]
        hidden = [x[:, -width:] for x, width in zip(joint, self.widths, strict=True)]
        for mine, h in zip(hidden, state.h, strict=True):
            mine.copy_(h)
        for t in range(time):
            n = batch if n_rows is None else n_rows[t]
            several = min(batch, -(-n // _SEVERAL) * _SEVERAL)
            for layer, (product, h, c) in enumerate(zip(self._products, state.h, state.c, strict=True)):
                if layer == 0:
                    gates = product(joint[0][:several], self._table.index_select(0, ids[t, :several]))
                else:
                    joint[layer][:n, : -self.widths[layer]].copy_(state.h[layer - 1][:n])
                    gates = product(joint[layer][:several], self._biases[layer - 1])
                gates = gates[:n].float()
                _cell(gates, h[:n], c[:n])
                if state.gates is not None:
                    state.gates[layer : layer + 1] = [gates]
                hidden[layer][:n].copy_(h[:n])
            yield n


def _product(weights: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Make a function of x (rows, n_in) and a summand, (rows, n_out) or (n_out,), that gives x @ weights.T + summand.

    In float32 on a CPU it is oneDNN's, with weights in its own layout. Torch's own is MKL's, which makes less than half
    of what a CPU can that isn't Intel's. The operators are those that `torch.compile` emits; where a torch hasn't got
    them, its own product does.
    """
    if weights.device.type != "cpu" or weights.dtype != torch.float32 or not _has_onednn():
        transposed = weights.t()
        return lambda x, summand: torch.addmm(summand, x, transposed)
    packed = torch.ops.mkldnn._reorder_linear_weight(weights, _ROWS)
    return lambda x, summand: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "").add_(summand)


def _has_onednn() -> bool:
    """Tell whether this torch has oneDNN's linear operators."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _cell(gates: Tensor, h: Tensor, c: Tensor) -> None:
    """Turn the gates' sums (rows, 4 * width), in the order i, f, g, o and g doubled, into the next `h` and `c`."""
    i, f, g, o = gates.sigmoid_().chunk(4, dim=1)
    c.mul_(f).addcmul_(i, g, value=2).sub_(i)  # g is (1 + tanh) / 2
    torch.mul(c, 2, out=h).sigmoid_().mul_(2).sub_(1).mul_(o)


class _Layer(NamedTuple):
    """Weights of a layer for its input (4 * width, n_in) and its output (4 * width, width), and bias (4 * width,)."""

    inputs: Tensor
    hidden: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Module) -> _Layer:
        """Pad an LSTM layer's gates, each to whole tiles, and double what makes g."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        w_in, w_hidden, b_in, b_hidden = (layer.get_parameter(name).detach().float().cpu() for name in names)
        inputs, hidden, bias = map(_padded_gates, (w_in, w_hidden, (b_in + b_hidden)[:, None]))
        return cls(inputs, _padded_columns(hidden), bias[:, 0])

    def inputs_padded(self) -> Tensor:
        """Return the weights for an input that is itself padded."""
        return _padded_columns(self.inputs)


def _padded_gates(weights: Tensor) -> Tensor:
    blocks = torch.stack(weights.chunk(4))
    blocks[2] *= 2
    return F.pad(blocks, (0, 0, 0, _padded(blocks.shape[1]) - blocks.shape[1])).flatten(0, 1)


def _padded_columns(weights: Tensor) -> Tensor:
    return F.pad(weights, (0, _padded(weights.shape[1]) - weights.shape[1]))


def _padded(width: int) -> int:
    return -(-width // _TILE) * _TILE
