"""Language-model training: a model and streams of ids in, the model trained in place and its losses out.

Everything by chance at a step follows from the seed, the step and the process, so that a training that was stopped goes
on to the same tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.errors import SettingError, TrainingDivergedError
from genomic_ulmfit.net.awd_lstm import LanguageModel, LayerState, LMOutput
from genomic_ulmfit.net.batches import IGNORE, LMStream
from genomic_ulmfit.net.learner import Recipe, Steps, learning, square_sum
from genomic_ulmfit.net.lm_run import Batches, Counts, Row, Run, Training, bits_per_base
from genomic_ulmfit.net.processes import join
from genomic_ulmfit.net.resuming import Keeper, Keeping, digest_of_tensors, torch_seed

__all__ = ["Training", "bits_per_base", "fit_language_model"]


def fit_language_model(
    model: LanguageModel,
    train: LMStream,
    valid: LMStream | None,
    *,
    epochs: int = 1,
    max_hours: float | None = None,
    recipe: Recipe,
    keeping: Keeping | None = None,
    report: Callable[[Sequence[Row]], None] | None = None,
) -> Training:
    """Train a language model in place.

    Parameters
    ----------
    model : LanguageModel
        Changed in place; in evaluation mode on the CPU afterwards.
    train, valid : LMStream
        What it learns from, and what its loss is reported on.
    epochs : int
        Iterations of `train`.
    max_hours : float, optional
        A budget of time in place of `epochs`. It is turned into a number of steps once, by trying some.
    recipe : Recipe
        How.
    keeping : Keeping, optional
        Where and how often to write a checkpoint, and whether to go on from one.
    report : callable, optional
        Called with all rows so far, in the first process, when there is a new one.

    Returns
    -------
    Training

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C or a SIGTERM, when the checkpoint is written.
    OSError
        If no checkpoint can be written where it is to be.
    ResumeError
        If the checkpoint is damaged or of another training.
    SettingError
        If `max_hours` is not above 0.
    TrainingDivergedError
        If the loss is no longer a number.
    """
    if max_hours is not None and not max_hours > 0:
        raise SettingError(f"max_hours is {max_hours}, wanted more than 0")
    settings = _settings_of(model, train, valid, recipe, keeping)
    settings |= {"max_hours": max_hours} if max_hours is not None else {"steps": epochs * len(train)}
    processes = join(recipe.device)
    keeper = Keeper(keeping or Keeping(), settings, _most_bytes(model, train))
    processes.wait()  # until all have read the checkpoint, before the first of them writes one
    if processes.first:
        keeper.clear()
    recipe = dataclasses.replace(recipe, device=str(processes.device), progress=recipe.progress and processes.first)
    batches = Batches(train, processes), Batches(valid, processes)
    with learning(model, *batches, recipe, _LanguageModelSteps) as (learner, steps):
        run = steps.owner = Run(learner, steps, *batches, keeper, processes, report if processes.first else None)
        run.begin(keeper.found)
        try:
            return run.train(recipe, epochs * len(train), None if max_hours is None else 3600 * max_hours)
        except TrainingDivergedError as error:  # fastai puts its own words before an error's
            raise TrainingDivergedError(error.loss, error.step, error.kept) from None


def _settings_of(
    model: LanguageModel, train: LMStream, valid: LMStream | None, recipe: Recipe, keeping: Keeping | None
) -> dict[str, Any]:
    """Return what must be the same when the training goes on; lr and precision may change."""
    if keeping is None or keeping.path is None:
        return {}
    config = {f"config.{name}": value for name, value in dataclasses.asdict(model.config).items()}
    vocab = {f"vocab.{name}": value for name, value in dataclasses.asdict(model.vocab).items()}
    chosen = ("discriminative", "weight_decay", "alpha", "beta", "seed")
    return {
        **config,
        **vocab,
        **{name: getattr(recipe, name) for name in chosen},
        "batch_size": train.batch_size,
        "bptt": train.bptt,
        "training data": train.digest(),
        "validation data": valid.digest() if valid is not None else None,
        "weights at the start": digest_of_tensors(model.state_dict()),
    }


def _most_bytes(model: LanguageModel, train: LMStream) -> int:
    """Return the size of a checkpoint: weights, two moments and the carried state, all float32."""
    widths = sum(model.config.widths[1:])
    return 4 * (3 * sum(p.numel() for p in model.parameters()) + 2 * train.batch_size * widths) + 2**16


class _LanguageModelSteps(Steps):
    """Carries the state from step to step, and from nothing where a row starts a record."""

    owner: Run
    output: LMOutput
    counts: Counts
    state: list[LayerState] | None = None  # of training, or of validation while it lasts

    def before_train(self) -> None:
        self.state = self.owner.carried
        self.owner.begin_stretch()

    def before_validate(self) -> None:
        self.owner.carried, self.state = self.state, None
        self.owner.begin_validation()
        super().before_validate()

    def before_batch(self) -> None:
        """Go on from the last step's state, with dropout of this step's seed: a resumed run is the same."""
        ids, reset, self.counts = self.learn.xb
        self.learn.xb = (ids, self._carried(reset))
        if self.training and not self.trying:
            torch.manual_seed(torch_seed(self.recipe.seed, self.owner.step, self.owner.processes.rank))
            self.learn.pct_train = self.owner.step / self.owner.total

    def after_pred(self) -> None:
        self.output = self.learn.pred
        self.state = [(h.detach().float(), c.detach().float()) for h, c in self.output.state]  # whatever comes next
        self.learn.pred = self.output.logits

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return this process's part of the mean over the targets of all."""
        total = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        return total / self.counts.targets

    def after_loss(self) -> None:
        """Show the loss over all processes, and add regularisation to what gradients are taken of."""
        processes = self.owner.processes
        self.learn.loss = processes.sum(self.learn.loss_grad.detach())
        if self.training:
            (targets,) = self.learn.yb
            self.regularise(self.output.raw, self.output.dropped, targets != IGNORE)
            self.learn.loss_grad = self.learn.loss_grad * processes.count  # gradients are averaged over processes

    def regularise(self, raw: Tensor, dropped: Tensor, mask: Tensor) -> None:
        """Add this process's part of both regularisations over the real k-mers of all."""
        width, padded = raw.shape[2], self.counts.padded
        size = square_sum(dropped, mask if padded else None) / (self.counts.targets * width)
        change = square_sum(raw[:, 1:] - raw[:, :-1], mask[:, 1:] if padded else None)
        change = change / (max(1, self.counts.pairs) * width)
        self.learn.loss_grad = self.learn.loss_grad + self.recipe.alpha * size + self.recipe.beta * change

    def after_batch(self) -> None:
        if not self.training:
            self.valid_sum += (self.learn.loss.item() * self.counts.targets, self.counts.targets)
            self.owner.heed_interruption()
        elif not self.trying:
            self.owner.count(self.learn.loss, self.counts, self.state)

    def after_validate(self) -> None:
        super().after_validate()
        if not self.trying:
            self.owner.end_stretch()

    def _carried(self, reset: Tensor) -> list[LayerState] | None:
        if self.state is None or self.state[0][0].shape[1] != len(reset):
            return None
        keep = (~reset)[None, :, None]
        return [(h * keep, c * keep) for h, c in self.state]
