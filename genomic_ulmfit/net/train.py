"""Training on fastai's Learner: models and batches of ids in, trained models out. The only file that names fastai.

One-cycle schedule and LR finder (Smith), discriminative rates and gradual unfreezing (Howard & Ruder), decoupled weight
decay (Loshchilov & Hutter), activation and temporal activation regularisation (Merity et al.). fastai is imported when
training starts: predictions never need it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from genomic_ulmfit.errors import TrainingDivergedError
from genomic_ulmfit.net.awd_lstm import Classifier, ClassifierOutput, LanguageModel, LayerState, LMOutput
from genomic_ulmfit.net.batches import Ids, LMStream, by_length, pad
from genomic_ulmfit.net.engine import Precision, best_device, has_bf16_units
from genomic_ulmfit.progress import Progress, progress_bar

__all__ = [
    "ClassifierBatches",
    "Recipe",
    "fit_classifier",
    "fit_language_model",
    "gradual_stages",
]

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


def fit_language_model(
    model: LanguageModel, train: LMStream, valid: LMStream | None, *, epochs: int, recipe: Recipe
) -> list[dict[str, float]]:
    """Train a language model in place.

    Parameters
    ----------
    model : LanguageModel
        Changed in place; in evaluation mode on the CPU afterwards.
    train, valid : LMStream
        What it learns from, and what its loss is reported on.
    epochs : int
        Iterations of `train`.
    recipe : Recipe
        How.

    Returns
    -------
    list of dict
        For each epoch ``train_loss`` and, with `valid`, ``valid_loss``: cross entropy in nats a k-mer.

    Raises
    ------
    TrainingDivergedError
        If the loss is no longer a number.
    """
    with _learner(model, train, valid, recipe, _LanguageModelSteps) as (learner, steps):
        rate = _rate(learner, recipe)
        with progress_bar("language model", epochs * len(train), unit="steps", show=recipe.progress) as bar:
            return _one_cycle(learner, steps, epochs, rate, recipe, bar)


def fit_classifier(
    model: Classifier,
    train: ClassifierBatches,
    valid: ClassifierBatches | None,
    *,
    stages: Sequence[tuple[int, int]],
    recipe: Recipe,
) -> list[dict[str, float]]:
    """Train a classifier in place, stage by stage.

    Parameters
    ----------
    model : Classifier
        Changed in place; in evaluation mode on the CPU afterwards.
    train, valid : ClassifierBatches
        What it learns from, and what its loss is reported on.
    stages : sequence of (n_groups, epochs)
        How many layer groups, counted from the head, learn in each stage, and for how long.
    recipe : Recipe
        How.

    Returns
    -------
    list of dict
        For each epoch ``train_loss`` and, with `valid`, ``valid_loss``: cross entropy in nats a record.

    Raises
    ------
    TrainingDivergedError
        If the loss is no longer a number.
    """
    total = sum(epochs for _, epochs in stages) * len(train)
    history: list[dict[str, float]] = []
    with (
        _learner(model, train, valid, recipe, _ClassifierSteps) as (learner, steps),
        progress_bar("classifier", total, unit="steps", show=recipe.progress) as bar,
    ):
        for n_groups, epochs in stages:
            learner.freeze_to(-n_groups)
            history += _one_cycle(learner, steps, epochs, _rate(learner, recipe), recipe, bar)
    return history


def gradual_stages(n_groups: int, epochs: int) -> list[tuple[int, int]]:
    """Plan gradual unfreezing: an epoch for the head, one with each layer group more, the rest with all of them.

    Less than half of the epochs leave layers frozen.

    Examples
    --------
    >>> gradual_stages(4, 7)
    [(1, 1), (2, 1), (3, 1), (4, 4)]
    >>> gradual_stages(4, 4)
    [(1, 1), (4, 3)]
    """
    frozen = min(n_groups - 1, (epochs - 1) // 2)
    return [(i + 1, 1) for i in range(frozen)] + [(n_groups, epochs - frozen)]


class ClassifierBatches:
    """Right-padded batches of labelled records, dealt anew for each epoch.

    Parameters
    ----------
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.
    labels : int array, shape (n_records,)
        Class index of each record.
    batch_size : int
        Records a batch.
    seed : int, optional
        Of the order; the given order, by length, if not given.
    """

    def __init__(self, rows: Sequence[Ids], labels: NDArray[np.int64], *, batch_size: int, seed: int | None) -> None:
        self.rows, self.labels, self.batch_size = rows, labels, batch_size
        self.rng = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self._deal(None))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield ids (batch, time), lengths (batch,) and class indices (batch,), all int64."""
        for batch in self._deal(self.rng):
            yield *pad([self.rows[i] for i in batch]), torch.from_numpy(self.labels[batch])

    def _deal(self, rng: np.random.Generator | None) -> list[list[int]]:
        batches = by_length([len(row) for row in self.rows], self.batch_size, rng=rng)
        lonely = [batch for batch in batches if len(batch) == 1]
        if lonely and len(batches) > 1:  # batch norm learns nothing from one record
            batches = [batch for batch in batches if len(batch) > 1] or [[]]
            batches[-1] = batches[-1] + [i for batch in lonely for i in batch]
        return batches


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
def _learner(
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
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
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


def _rate(learner: Any, recipe: Recipe) -> float | slice:
    """Return the peak rate, or the slice of rates from the lowest layer group to the highest."""
    peak = _suggested_rate(learner) if recipe.lr == "auto" else recipe.lr
    if not recipe.discriminative:
        return peak
    n_groups = len(learner.model.net.layer_groups())
    return slice(peak / _RATE_RATIO ** (n_groups - 1), peak)


def _suggested_rate(learner: Any) -> float:
    import fastai.callback.schedule  # noqa: F401 (adds lr_find and fit_one_cycle to Learner)

    return float(learner.lr_find(show_plot=False).valley)


def _one_cycle(
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


class _Steps:
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
        self.valid_sum[:] = 0

    def after_validate(self) -> None:
        if self.valid_sum[1]:
            self.valid_losses.append(float(self.valid_sum[0] / self.valid_sum[1]))

    def after_batch(self) -> None:
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


class _LanguageModelSteps(_Steps):
    """Carries the state from step to step, and from nothing where a row starts a record."""

    state: list[LayerState] | None = None
    output: LMOutput

    def before_train(self) -> None:
        self.state = None

    def before_validate(self) -> None:
        super().before_validate()
        self.state = None

    def before_batch(self) -> None:
        ids, reset = self.learn.xb
        self.learn.xb = (ids, self._carried(reset))

    def after_pred(self) -> None:
        self.output = self.learn.pred
        self.state = [(h.detach(), c.detach()) for h, c in self.output.state]
        self.learn.pred = self.output.logits

    def after_loss(self) -> None:
        if self.training:
            (targets,) = self.learn.yb
            self.regularise(self.output.raw, self.output.dropped, targets >= 0)

    def _carried(self, reset: Tensor) -> list[LayerState] | None:
        if self.state is None or self.state[0][0].shape[1] != len(reset):
            return None
        keep = (~reset)[None, :, None]
        return [(h * keep, c * keep) for h, c in self.state]

    @staticmethod
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


class _ClassifierSteps(_Steps):
    """Regularises the last layer's output."""

    output: ClassifierOutput

    def after_pred(self) -> None:
        self.output = self.learn.pred
        self.learn.pred = self.output.logits

    def after_loss(self) -> None:
        if self.training:
            self.regularise(self.output.raw, self.output.raw, self.output.mask)

    @staticmethod
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels)
