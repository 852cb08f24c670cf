"""fastai's Learner made ready for our nets, and what every training does at a step. The only file that names fastai.

One-cycle schedule and LR finder (Smith), discriminative rates and gradual unfreezing (Howard & Ruder), decoupled weight
decay (Loshchilov & Hutter), activation and temporal activation regularisation (Merity et al.). fastai is imported when
training starts: predictions never need it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genomic_ulmfit.errors import TrainingDivergedError
from genomic_ulmfit.net.awd_lstm import Classifier, LanguageModel
from genomic_ulmfit.net.engine import Precision, best_device, has_bf16_units
from genomic_ulmfit.net.memory import recycled_memory
from genomic_ulmfit.progress import Progress

__all__ = ["Recipe", "Steps", "learning", "one_cycle", "rate_of"]

# Between neighbouring layer groups. Howard & Ruder (section 3.2) take 2.6; with the few groups and epochs of the small
# config the validation part of the E. coli gene starts prefers milder ones (MCC .81 at 2.6, .82 at 1.6, .85 at 1).
_RATE_RATIO = 1.3
_GRADIENT_NORM = 0.25  # Merity et al., section 5


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the paper's.

    Parameters
    ----------
    lr : float or "auto"
        Peak of the one-cycle schedule for the last layer group; "auto" asks the LR finder.
    discriminative : bool
        Divide the rate by 1.3 from each layer group to the one below it.
    weight_decay : float
        Decoupled from the gradient.
    alpha, beta : float
        Weights of activation and temporal activation regularisation.
    precision : {"fp32", "bf16", "auto"}
        bf16 is autocast with float32 weights; "auto" takes it where the processor has units for it.
    device : str, optional
        A GPU where there is one if not given.
    seed : int
        Of the dropout masks.
    progress : bool
        Show progress.
    """

    lr: float | Literal["auto"]
    discriminative: bool = False
    weight_decay: float = 0.01
    alpha: float = 2.0
    beta: float = 1.0
    precision: Precision = "auto"
    device: str | None = None
    seed: int = 0
    progress: bool = True


class _InPrecision(nn.Module):
    """A net whose forward pass runs under autocast."""

    def __init__(self, net: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.net, self.device_type = net, device.type
        self.bf16 = precision == "bf16" or (precision == "auto" and has_bf16_units(device))

    def forward(self, *inputs: Any) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.bf16):
            return self.net(*inputs)


@contextmanager
def learning(
    model: LanguageModel | Classifier, train: Any, valid: Any, recipe: Recipe, make_steps: Callable[..., Any]
) -> Iterator[tuple[Any, Any]]:
    """Give a Learner and the callback that does the steps; seed chance for as long, and bring the model home."""
    from fastai.callback.core import TrainEvalCallback
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner, Recorder
    from fastai.optimizer import Adam

    device = best_device(recipe.device)
    steps = _as_callback(make_steps(recipe))
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), recycled_memory():
        torch.manual_seed(recipe.seed)
        learner = Learner(
            DataLoaders(train, valid if valid is not None else [], device=device),
            _InPrecision(model, recipe.precision, device),
            loss_func=steps.loss,
            opt_func=partial(Adam, mom=0.9, sqr_mom=0.99, decouple_wd=True),
            splitter=lambda wrapped: wrapped.net.layer_groups(),
            cbs=[TrainEvalCallback, Recorder(add_time=False), GradientClip(_GRADIENT_NORM), steps],
            default_cbs=False,
            wd=recipe.weight_decay,
            path=folder,
        )
        learner.logger = lambda _: None
        try:
            yield learner, steps
        finally:
            model.requires_grad_(True).cpu().eval()


def _as_callback(steps: Any) -> Any:
    """Make a fastai Callback of a plain class, which can then be defined without importing fastai."""
    from fastai.callback.core import Callback

    return type(type(steps).__name__, (type(steps), Callback), {})(steps.recipe)


def rate_of(learner: Any, recipe: Recipe) -> float | slice:
    """Return the peak rate, or the slice of rates from the lowest layer group to the highest."""
    peak = suggested_rate(learner) if recipe.lr == "auto" else recipe.lr
    if not recipe.discriminative:
        return peak
    n_groups = len(learner.model.net.layer_groups())
    return slice(peak / _RATE_RATIO ** (n_groups - 1), peak)


def suggested_rate(learner: Any) -> float:
    import fastai.callback.schedule  # noqa: F401 (adds lr_find and fit_one_cycle to Learner)

    return float(learner.lr_find(show_plot=False).valley)


def one_cycle(
    learner: Any, steps: Any, epochs: int, rate: float | slice, recipe: Recipe, bar: Progress
) -> list[dict[str, float]]:
    """Train through one cycle of the rate, and return each epoch's losses."""
    import fastai.callback.schedule  # noqa: F401

    steps.bar, steps.valid_losses = bar, []
    learner.fit_one_cycle(epochs, rate, moms=(0.9, 0.9, 0.9), wd=recipe.weight_decay)
    steps.bar = None
    rows = [{"train_loss": float(values[0])} for values in learner.recorder.values]
    for row, valid_loss in zip(rows, steps.valid_losses, strict=False):  # none without a valid part
        row["valid_loss"] = valid_loss
    return rows


class Steps:
    """What both kinds of training do at each step: report, regularise, refuse a loss that is no number.

    The validation loss is kept here and not by fastai's Recorder, which weights batches by their rows, padded or not.
    """

    order = 60  # after fastai's Recorder, whose smoothed loss is shown
    learn: Any
    training: bool

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.bar: Progress | None = None
        self.valid_losses: list[float] = []
        self.valid_sum = np.zeros(2)  # of losses and of targets

    def before_validate(self) -> None:
        """Begin a sum of losses."""
        self.valid_sum[:] = 0

    def after_validate(self) -> None:
        """Keep the mean loss of the valid part."""
        if self.valid_sum[1]:
            self.valid_losses.append(float(self.valid_sum[0] / self.valid_sum[1]))

    def after_batch(self) -> None:
        """Add a validation batch's loss, or look at a training step's and report it."""
        if not self.training:
            n_targets = int((self.learn.yb[0] >= 0).sum())
            self.valid_sum += (self.learn.loss.item() * n_targets, n_targets)
            return
        value = self.learn.loss.item()
        if not math.isfinite(value):
            raise TrainingDivergedError(value, int(self.learn.train_iter))
        if self.bar is not None:
            self.bar.advance(1, f"loss {self.learn.smooth_loss.item():.3f}")

    def regularise(self, raw: Tensor, dropped: Tensor, mask: Tensor) -> None:
        """Add activation and temporal activation regularisation over real k-mers to the loss."""
        size, change = _mean_square(dropped, mask), _mean_square(raw[:, 1:] - raw[:, :-1], mask[:, 1:])
        self.learn.loss_grad = self.learn.loss_grad + self.recipe.alpha * size + self.recipe.beta * change


def _mean_square(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean square of `x` (batch, time, width) where `mask` (batch, time) is True."""
    if not mask.all():
        x = x * mask[..., None]
    values = x.float().flatten()
    return torch.dot(values, values) / (mask.sum() * x.shape[2]).clamp(min=1)
