"""An LSTM layer for training on a processor: a block of inputs, a state and torch's weights in, outputs and state out.

The same function of the same weights as torch's `nn.LSTM`, and the same gradients, with the matrix products in bf16
and gates, states and sums in float32. The two dropouts of an AWD-LSTM's layer are in it: of features of the input, one
mask for all time steps, and of hidden-to-hidden weights. What makes it faster than `nn.LSTM` under autocast:

* Rows of the batch are the last dimension, features the one before. A time step is then ``weights @ [h, x, 1]``: the
  large matrix is read as it lies, and only the small one has to be re-ordered for the matrix units at every step.
* Back through time a step is one product too, with the weights transposed once; the gradients of all weights are one
  large product over time and rows at the end.
* The weights of g are multiplied by -2, since tanh(a) = 1 - 2 sigmoid(-2 a) and torch's sigmoid is several times faster
  than its tanh. No rounding comes of it.
* What is elementwise is done time step by time step, in the processor's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["Weights", "lstm", "pays", "weight_mask"]

_TILE = 32  # numbers of bf16 in a row of AMX's tiles, and in an AVX-512 register
_G = 2  # of the gates i, f, g, o
_LARGE = (
    2**18
)  # weights of one gate; four of them in bf16 are 2 MB. Measured: 256 to 384 is slower here, 384 to 384 faster


def pays(n_in: int, n_out: int) -> bool:
    """Tell whether a layer is large enough to be faster here than in `nn.LSTM`: its weights fill a cache."""
    return n_out * (n_in + n_out) >= _LARGE


class Weights(NamedTuple):
    """Weights of a layer as torch's `nn.LSTM` has them, float32.

    Attributes
    ----------
    inputs : Tensor (4 * n_out, n_in)
    hidden : Tensor (4 * n_out, n_out)
    input_bias, hidden_bias : Tensor (4 * n_out,)
    """

    inputs: Tensor
    hidden: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


def lstm(
    x: Tensor,
    state: tuple[Tensor, Tensor] | None,
    weights: Weights,
    *,
    input_p: float = 0.0,
    weight_p: float = 0.0,
    dtype: torch.dtype = torch.bfloat16,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run an LSTM layer forward, ready to run back.

    Parameters
    ----------
    x : float Tensor (batch, time, n_in)
        What it reads.
    state : pair of float32 Tensor (1, batch, n_out), optional
        Output and memory to start from; zero if not given.
    weights : Weights
        Left as they are.
    input_p : float
        Probability to drop a feature of a row's input, at all time steps alike.
    weight_p : float
        Probability to drop a hidden-to-hidden weight.
    dtype : torch.dtype
        Of the factors and results of matrix products.

    Returns
    -------
    outputs : float32 Tensor (batch, time, n_out)
        A view of memory in the order time, features, rows.
    state : pair of float32 Tensor (1, batch, n_out)
        After the last time step.
    """
    zero = weights.hidden.new_zeros(1, len(x), weights.hidden.shape[1])
    before = (zero, zero) if state is None else [part.float() for part in state]
    # Drawn in the order in which AWDLSTM draws for torch's layers: float32 and bf16 drop the same with the same seed.
    mask = F.dropout(zero.new_ones(len(x), x.shape[2]), input_p).t().contiguous() if input_p else None
    kept = weight_mask(weights.hidden, weight_p) if weight_p else None
    outputs, h, c = _Layer.apply(x, *before, *weights, mask, kept, dtype)
    return outputs, (h, c)


def weight_mask(weight: Tensor, p: float) -> Tensor:
    """Return what dropout multiplies each of many weights by: 0, or what makes up for the zeros.

    `p` is rounded to 16 bits, which numpy draws in a fraction of the time of torch's `bernoulli_`. Seeded by torch's
    generator.

    Parameters
    ----------
    weight : float Tensor
        On the CPU; only its shape and dtype are used.
    p : float
        Probability of 0.

    Returns
    -------
    Tensor
        Of the shape and dtype of `weight`.
    """
    generator = np.random.SFC64(int(torch.randint(2**62, ())))
    bits = generator.random_raw(-(-weight.numel() // 4)).view(np.uint16)[: weight.numel()]
    threshold = min(round(p * 2**16), 2**16 - 1)
    kept = torch.from_numpy(bits >= threshold).view(weight.shape)
    return torch.empty(*weight.shape, dtype=weight.dtype).copy_(kept).mul_(2**16 / (2**16 - threshold))


class _Layer(torch.autograd.Function):
    """One layer over a block of time; inside, the dimensions are time, features, rows."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        w_in: Tensor,
        w_out: Tensor,
        b_in: Tensor,
        b_out: Tensor,
        mask: Tensor | None,
        kept: Tensor | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            weights = _joined(w_in, w_out if kept is None else w_out * kept, b_in + b_out, dtype)
            read = _above_each_other(x, h, mask, weights)
            outputs, memory, gates, squashed = _walk(weights, read, _inside(c, weights))
        n_out = w_out.shape[1]
        ctx.save_for_backward(weights, read, memory, gates, squashed)
        ctx.mask, ctx.kept, ctx.n_in, ctx.n_out = mask, kept, x.shape[2], n_out
        ctx.set_materialize_grads(False)
        last_h, last_c = (last[:n_out].t()[None].clone() for last in (outputs[-1], memory[-1]))
        return outputs[:, :n_out].permute(2, 0, 1), last_h, last_c

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_h: Tensor | None, d_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        weights, read, memory, gates, squashed = ctx.saved_tensors
        time, width, batch = squashed.shape
        if d_outputs is None:
            d_outputs = memory.new_zeros(()).expand(batch, time, ctx.n_out)
        nothing = memory.new_zeros(1, batch, 0)
        d_last_h, d_memory = (_inside(nothing if d is None else d, weights) for d in (d_h, d_c))
        n_wanted = width + ctx.n_in * ctx.needs_input_grad[0]
        d_sums, d_read = _walk_back(
            weights[..., :n_wanted], d_outputs.permute(1, 2, 0), d_last_h, d_memory, memory, gates, squashed
        )
        d_x = _masked(d_read[:, width:], ctx.mask) if ctx.needs_input_grad[0] else None
        d_weights: list[Tensor | None] = [None] * 4
        if any(ctx.needs_input_grad[3:7]):
            d_weights = _weight_gradients(d_sums, read[:-1], ctx.n_in, ctx.n_out, ctx.kept)
        d_first_h, d_first_c = (d[: ctx.n_out].t()[None].float() for d in (d_read[0], d_memory))
        return d_x, d_first_h, d_first_c, *d_weights, None, None, None


def _padded(width: int) -> int:
    return -(-width // _TILE) * _TILE


def _joined(w_in: Tensor, w_out: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """Lay weights for output, input and bias side by side: (4, width, what is read), padded with zeros."""
    n_out, n_in = w_out.shape[1], w_in.shape[1]
    width = _padded(n_out)
    weights = torch.zeros(4, width, width + _padded(n_in + 1), dtype=dtype)
    weights[:, :n_out, :n_out] = w_out.view(4, n_out, n_out)
    weights[:, :n_out, width : width + n_in] = w_in.view(4, n_out, n_in)
    weights[:, :n_out, width + n_in] = bias.view(4, n_out)
    weights[_G] *= -2
    return weights


def _above_each_other(x: Tensor, h: Tensor, mask: Tensor | None, weights: Tensor) -> Tensor:
    """Return what time steps read, (time + 1, what is read, batch); outputs after the first are yet to come."""
    batch, time, n_in = x.shape
    width = weights.shape[1]
    read = torch.empty(time + 1, weights.shape[2], batch, dtype=weights.dtype)
    read[0, :width] = _inside(h, weights)
    read[:, width + n_in] = 1
    read[:, width + n_in + 1 :] = 0
    for row, x_t in zip(read[:, width : width + n_in], x.permute(1, 2, 0), strict=False):
        row.copy_(x_t if mask is None else x_t * mask)
    return read


def _inside(state: Tensor, weights: Tensor) -> Tensor:
    """Turn a state (1, batch, n_out) into (width, batch)."""
    inside = state.new_zeros(weights.shape[1], state.shape[1])
    inside[: state.shape[2]] = state[0].t()
    return inside


def _walk(weights: Tensor, read: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run through time; fills `read`, and returns outputs, memories with the first, gates, and squashed memories.

    Instead of g and of tanh of the memory, the sigmoid u is kept of which they are 1 - 2 u.
    """
    time, width, batch = len(read) - 1, *c.shape
    outputs, squashed = (c.new_empty(time, width, batch) for _ in range(2))
    memory, gates = c.new_empty(time + 1, width, batch), c.new_empty(time, 4, width, batch)
    memory[0] = c
    weights, sums = weights.flatten(0, 1), read.new_empty(4 * width, batch)
    for x, all_gates, (i, f, g, o), before, after, u, h, next_h in zip(
        read[:-1], gates.flatten(1, 2), gates, memory[:-1], memory[1:], squashed, outputs, read[1:, :width], strict=True
    ):
        torch.mm(weights, x, out=sums)
        all_gates.copy_(sums).sigmoid_()
        torch.addcmul(i, f, before, out=after).addcmul_(i, g, value=-2)
        torch.mul(after, -2, out=u).sigmoid_()
        torch.addcmul(o, o, u, value=-2, out=h)
        next_h.copy_(h)
    return outputs, memory, gates, squashed


def _walk_back(
    weights: Tensor, d_outputs: Tensor, d_h: Tensor, d_c: Tensor, memory: Tensor, gates: Tensor, squashed: Tensor
) -> tuple[Tensor, Tensor]:
    """Run back through time; changes `d_h`, and `d_c` to the gradient of the first memory.

    Returns the gradients of the gates' sums (time, 4 * width, batch), that of g divided by 4, and of what was read.
    """
    time, width, batch = squashed.shape
    n_out, n_read = d_outputs.shape[1], weights.shape[2]
    back = weights.permute(2, 0, 1).contiguous()
    back[:, _G] *= -2  # times -2 once more makes the 4 that _weight_gradients has too
    back = back.flatten(1)
    d_sums, d_read = weights.new_empty(time, 4 * width, batch), weights.new_empty(time, n_read, batch)
    d_gates, d_squashed = d_c.new_empty(4, width, batch), torch.empty_like(d_c)
    flat, (d_i, d_f, d_g, d_o) = d_gates.view(4 * width, batch), d_gates
    steps = zip(d_outputs, d_sums, d_read, gates.flatten(1, 2), gates, memory[:-1], squashed, strict=True)
    for d_output, d_sum, d_x, all_gates, (i, f, g, o), before, u in reversed(list(steps)):
        d_h[:n_out] += d_output
        torch.ops.aten.sigmoid_backward.grad_input(d_h, u, grad_input=d_squashed)
        d_c.addcmul_(d_squashed, o, value=4)
        torch.addcmul(d_h, d_h, u, value=-2, out=d_o)
        torch.addcmul(d_c, d_c, g, value=-2, out=d_i)
        torch.mul(d_c, before, out=d_f)
        torch.mul(d_c, i, out=d_g)
        d_c *= f
        torch.ops.aten.sigmoid_backward.grad_input(flat, all_gates, grad_input=flat)
        torch.mm(back, d_sum.copy_(flat), out=d_x)
        d_h.copy_(d_x[:width])
    return d_sums, d_read


def _masked(d_x: Tensor, mask: Tensor | None) -> Tensor:
    """Return an input's gradient (batch, time, n_in) as float32, from (time, n_in, batch)."""
    out = torch.empty(*d_x.shape, dtype=torch.float32)
    for row, d_t in zip(out, d_x, strict=True):
        row.copy_(d_t)
        if mask is not None:
            row *= mask
    return out.permute(2, 0, 1)


def _weight_gradients(d_sums: Tensor, read: Tensor, n_in: int, n_out: int, kept: Tensor | None) -> list[Tensor | None]:
    """Return the gradients of both weights and both biases."""
    left, right = (x.transpose(0, 1).flatten(1) for x in (d_sums, read))
    joined = torch.mm(left, right.t()).view(4, -1, len(right))[:, :n_out]
    width = _padded(n_out)
    parts = (joined[..., width : width + n_in], joined[..., :n_out], joined[..., width + n_in])
    d_in, d_out, d_bias = (part.float().contiguous() for part in parts)
    for gradient in (d_in, d_out, d_bias):
        gradient[_G] *= 4
    d_in, d_out, d_bias = (gradient.flatten(0, 1) for gradient in (d_in, d_out, d_bias))
    if kept is not None:
        d_out *= kept
    return [d_in, d_out, d_bias, d_bias.clone()]
