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
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from genomic_ulmfit.errors import SettingError, TrainingDivergedError
from genomic_ulmfit.net.engine import Precision, best_device, check_precision, has_bf16_units
from genomic_ulmfit.net.memory import recycled_memory
from genomic_ulmfit.progress import Progress

__all__ = [
    "FINDER_STEPS",
    "Recipe",
    "Steps",
    "finder_curve",
    "in_precision",
    "learning",
    "one_cycle",
    "rate_of",
    "run_cycle",
    "square_sum",
    "stop_fitting",
    "tried",
]

# Between neighbouring layer groups. Howard & Ruder (section 3.2) take 2.6; with the few groups and epochs of the small
# config the validation part of the E. coli gene starts prefers milder ones (MCC .81 at 2.6, .82 at 1.6, .85 at 1).
_RATE_RATIO = 1.3
_GRADIENT_NORM = 0.25  # Merity et al., section 5
FINDER_STEPS = 100


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

    def __post_init__(self) -> None:
        """Refuse settings that no training has."""
        check_precision(self.precision)
        if self.lr == "auto":
            return
        try:
            object.__setattr__(self, "lr", float(self.lr))  # fastai takes NumPy's numbers for arrays
        except (TypeError, ValueError):
            raise SettingError(f"lr is {self.lr!r}, wanted a number or 'auto'") from None
        if not 0 < self.lr < math.inf:
            raise SettingError(f"lr is {self.lr}, wanted a number above 0")

    def weakened(self, factor: float) -> Recipe:
        """Multiply the activation regularisation, as a config's ``drop_mult`` does the dropouts."""
        return replace(self, alpha=self.alpha * factor, beta=self.beta * factor)


class _InPrecision(nn.Module):
    """A net whose forward pass runs under autocast."""

    def __init__(self, net: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.net, self.device_type = net, device.type
        self.shared = net  # or the net wrapped to share gradients among processes
        self.bf16 = precision == "bf16" or (precision == "auto" and has_bf16_units(device))

    def forward(self, *inputs: Any) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16, enabled=self.bf16):
            return self.shared(*inputs)


def in_precision(net: nn.Module, recipe: Recipe) -> _InPrecision:
    """Wrap a net as a training does: on its device, in its precision."""
    device = best_device(recipe.device)
    return _InPrecision(net, recipe.precision, device).to(device)


@contextmanager
def learning(
    model: nn.Module, train: Any, valid: Any, recipe: Recipe, make_steps: Callable[..., Any]
) -> Iterator[tuple[Any, Any]]:
    """Give a Learner and the callback that does the steps; seed chance for as long, and bring the model home."""
    from fastai.callback.core import TrainEvalCallback
    from fastai.callback.training import GradientClip
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner, Recorder
    from fastai.optimizer import Adam

    device = best_device(recipe.device)
    steps = _as_callback(make_steps(recipe))
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), recycled_memory() as tidy:
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
        steps.tidy = tidy
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
    """Ask the LR finder (Smith), and put everything back as it was: in memory, in every process alike."""
    from fastai.callback.schedule import ParamScheduler, SchedExp, valley
    from fastai.learner import CancelFitException

    class Finder(ParamScheduler):
        best = math.inf

        def before_batch(self) -> None:
            self._update_val(self.train_iter / FINDER_STEPS)

        def after_batch(self) -> None:
            loss = float(self.smooth_loss)
            self.best = min(self.best, loss)
            if not loss <= 4 * self.best or self.train_iter >= FINDER_STEPS:  # NaN compares as False
                raise CancelFitException

    finder = Finder({"lr": SchedExp(1e-7, 10)})
    with tried(learner):
        learner.fit(FINDER_STEPS // len(learner.dls.train) + 1, cbs=finder)
        rates, losses = (values[FINDER_STEPS // 10 : -5] for values in (learner.recorder.lrs, learner.recorder.losses))
    if not len(losses):
        raise SettingError("the LR finder saw the loss explode within a few steps; give lr as a number")
    return float(valley(rates, losses, FINDER_STEPS)[0])


@contextmanager
def tried(learner: Any) -> Iterator[None]:
    """Let the learner take steps that are not reported, without validation, and put weights and optimiser back."""
    from fastai.callback.core import Callback
    from fastai.learner import CancelValidException

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    if learner.opt is None:
        learner.create_opt()
    steps = next(cb for cb in learner.cbs if isinstance(cb, Steps))
    net = learner.model.net
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    kept = [{**learner.opt.state[p]} for p, *_ in learner.opt.all_params()]
    for state in kept:  # the optimiser changes its moments in place
        state.update((name, value.clone()) for name, value in state.items() if isinstance(value, Tensor))
    steps.trying = True
    try:
        with learner.added_cbs(NoValidation()):
            yield
    finally:
        steps.trying = False
        learner.opt.zero_grad()
        net.load_state_dict(weights)
        for (p, *_), state in zip(learner.opt.all_params(), kept, strict=True):
            learner.opt.state[p] = state


def finder_curve(learner: Any, rate: float | slice) -> dict[str, Any]:
    """Return the peak rate that was chosen, and the rates that the LR finder has just tried, with its smoothed losses.

    The first and last steps, which the finder leaves out of its choice, are left out.
    """
    steps = [
        (float(rate), float(loss)) for rate, loss in zip(learner.recorder.lrs, learner.recorder.losses, strict=True)
    ]
    shown = [(_short(rate), _short(loss)) for rate, loss in steps[10:-5] if math.isfinite(loss)]
    chosen = rate.stop if isinstance(rate, slice) else rate
    return {"chosen": chosen, "rates": [rate for rate, _ in shown], "losses": [loss for _, loss in shown]}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def stop_fitting() -> NoReturn:
    """End the `one_cycle` that runs, from a callback's event."""
    from fastai.callback.core import CancelFitException

    raise CancelFitException


def one_cycle(
    learner: Any, steps: Any, epochs: int, rate: float | slice, recipe: Recipe, bar: Progress
) -> list[dict[str, float]]:
    """Train through one cycle of the rate, and return each epoch's losses."""
    steps.bar, steps.valid_losses = bar, []
    run_cycle(learner, epochs, rate, recipe)
    steps.bar = None
    rows = [{"train_loss": float(values[0])} for values in learner.recorder.values]
    for row, valid_loss in zip(rows, steps.valid_losses, strict=False):  # none without a valid part
        row["valid_loss"] = valid_loss
    return rows


def run_cycle(learner: Any, epochs: int, rate: float | slice, recipe: Recipe) -> None:
    """Train through one cycle of the rate."""
    import fastai.callback.schedule  # noqa: F401 (adds fit_one_cycle to Learner)

    learner.fit_one_cycle(epochs, rate, moms=(0.9, 0.9, 0.9), wd=recipe.weight_decay)


class Steps:
    """What both kinds of training do at each step: report, regularise, refuse a loss that is no number.

    The validation loss is kept here and not by fastai's Recorder, which weights batches by their rows, padded or not.
    """

    order = 60  # after fastai's Recorder, whose smoothed loss is shown
    learn: Any
    training: bool
    trying = False  # steps that will be taken back
    tidy: Callable[[], None]  # of the memory that is kept from step to step

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
        if self.trying:
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
    return square_sum(x, None if mask.all() else mask) / (mask.sum() * x.shape[2]).clamp(min=1)


def square_sum(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the sum of squares of `x` (batch, time, width) where `mask` (batch, time) is True, or of all."""
    if mask is not None:
        x = x * mask[..., None]
    values = x.float().flatten()
    return torch.dot(values, values)
