"""Classifier training: a net and labelled rows of ids in, the net trained stage by stage and its losses out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from genomic_ulmfit.errors import TrainingDivergedError
from genomic_ulmfit.net.awd_lstm import Classifier, ClassifierOutput
from genomic_ulmfit.net.batches import Ids, by_length, pad
from genomic_ulmfit.net.engine import best_device
from genomic_ulmfit.net.learner import (
    Recipe,
    Steps,
    finder_curve,
    in_precision,
    learning,
    one_cycle,
    rate_of,
    stop_fitting,
)
from genomic_ulmfit.net.thawed import Below, FromKept, Thawed
from genomic_ulmfit.progress import Progress, progress_bar

__all__ = ["ClassifierBatches", "Fitted", "fit_classifier", "gradual_stages", "least_steps"]

KEPT_BYTES = 2**30
"""Most memory for what frozen layers gave; where it would take more they run again in each epoch."""

_MOST_TOKENS = 2**16  # of those that gradients come from, a batch: 1.5 GB in the small config
_SETTLING_RECORDS = 1000
_UNLIKE = 2  # times as long: windows, and reads that differ by a few bases, are of one length
_LEAST_STEPS = 50
_LEAST_LAST_STEPS = 150

Scores = Callable[[NDArray[np.int64], NDArray[np.float32]], Mapping[str, float]]


@dataclass
class Fitted:
    """What a training was like.

    Attributes
    ----------
    history : list of dict
        For each epoch ``stage`` and ``epoch``, counted from 1, ``train_loss``, and with a valid part ``valid_loss``
        and what was asked to be scored. Losses are cross entropy in nats a record, weighted by class.
    best_epoch : int
        The epoch whose weights came out, counted from 1: the best on the valid part, or without one the last.
    lr_finder : list of dict
        For each stage the rate that the LR finder chose, and its curve; empty where the rate was given.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    lr_finder: list[dict[str, Any]] = field(default_factory=list)


def fit_classifier(
    model: Classifier,
    train: ClassifierBatches,
    valid: ClassifierBatches | None,
    *,
    stages: Sequence[tuple[int, int]],
    recipe: Recipe,
    class_weights: NDArray[np.float32] | None = None,
    patience: int | None = None,
    scores: Scores | None = None,
    on_epoch: Callable[[Fitted], None] | None = None,
) -> Fitted:
    """Train a classifier in place, stage by stage.

    With a valid part, each stage ends with the weights of the best epoch so far: the highest MCC where `scores` gives
    one, and of those the lowest loss. Loss alone would choose wrongly: a net grows too sure of itself long before its
    calls get worse, and the epoch of the lowest loss is often the first, which calls everything one class. Until an MCC
    is above 0 the valid part has told nothing: no stage ends early, and the last weights stay.

    Frozen layers run without dropout, so what they give is computed once a stage and kept, where that fits into
    `KEPT_BYTES`.

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
    class_weights : float32 array, shape (n_classes,), optional
        Factor on the loss of each class's records.
    patience : int, optional
        A stage ends after so many epochs without a better one; never before its time if not given.
    scores : callable, optional
        Given true class indices (n_valid,) and class probabilities (n_valid, n_classes), what to put into the history;
        "mcc" among it tells the best epoch.
    on_epoch : callable, optional
        Told what was reached, after each epoch.

    Returns
    -------
    Fitted

    Raises
    ------
    TrainingDivergedError
        If the loss is no longer a number.
    """
    watch = _Watch(model, patience, scores, on_epoch or (lambda _: None))
    total = sum(epochs for _, epochs in stages) * len(train)
    with progress_bar("classifier", total, unit="steps", show=recipe.progress) as bar:
        try:
            for n_groups, epochs in stages:
                _fit_stage(model, train, valid, n_groups, epochs, recipe, class_weights, watch, bar)
        except KeyboardInterrupt:
            watch.end_stage()  # what is saved then is the best so far, as it would be at the end
            raise
        except TrainingDivergedError as error:  # fastai puts its own words before an error's
            raise TrainingDivergedError(error.loss, error.step, error.kept) from None
    return watch.fitted


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


def least_steps(stages: Sequence[tuple[int, int]], steps_an_epoch: int) -> list[tuple[int, int]]:
    """Give each stage epochs enough for 50 steps, and the last one for 150.

    Examples
    --------
    >>> least_steps([(1, 1), (2, 1), (3, 4)], 2)
    [(1, 25), (2, 25), (3, 75)]
    >>> least_steps([(1, 1), (2, 1), (3, 4)], 125)
    [(1, 1), (2, 1), (3, 4)]
    """
    last = len(stages) - 1
    least = [-(-(_LEAST_LAST_STEPS if i == last else _LEAST_STEPS) // steps_an_epoch) for i in range(len(stages))]
    return [(n_groups, max(epochs, more)) for (n_groups, epochs), more in zip(stages, least, strict=True)]


class ClassifierBatches:
    """Right-padded batches of labelled records, dealt anew for each epoch.

    Parameters
    ----------
    rows : sequence of unsigned integer array, each of shape (n_kmers,)
        Ids of each record.
    labels : int array, shape (n_records,)
        Class index of each record.
    batch_size : int
        Records a batch, at most; fewer where they are long, but two at least.
    seed : int, optional
        Of the order; the given order, by length, if not given.
    max_backprop : int, optional
        Most k-mers, counted from the end of each record, that gradients come from: the others take no memory to speak
        of, and don't make a batch smaller.
    """

    def __init__(
        self,
        rows: Sequence[Ids],
        labels: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int | None,
        max_backprop: int | None = None,
    ) -> None:
        self.rows, self.labels, self.batch_size, self.max_backprop = rows, labels, batch_size, max_backprop
        self.rng = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self._deal(None))

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield ids (batch, time), lengths (batch,) and class indices (batch,), all int64."""
        for batch in self._deal(self.rng):
            yield *self.inputs(batch), torch.from_numpy(self.labels[batch])

    def inputs(self, batch: list[int]) -> tuple[Tensor, ...]:
        """Return what the net reads of some records."""
        return pad([self.rows[i] for i in batch])

    @property
    def longest(self) -> int:
        """Number of k-mers of the longest record."""
        return max(map(len, self.rows))

    def _deal(self, rng: np.random.Generator | None) -> list[list[int]]:
        lengths = [len(row) for row in self.rows]
        if self.max_backprop is not None:
            lengths = [min(length, self.max_backprop) for length in lengths]
        dealt = by_length(lengths, self.batch_size, max_tokens=_MOST_TOKENS, rng=rng)
        batches = [batch for batch in dealt if len(batch) > 1]
        lonely = [batch[0] for batch in dealt if len(batch) == 1]  # batch norm learns nothing from one record
        batches += [lonely[i : i + 2] for i in range(0, len(lonely) - 1, 2)]
        if len(lonely) % 2 == 0:
            return batches
        if not batches or len(batches[-1]) == 2:
            return [*batches[:-1], [*(batches[-1] if batches else []), lonely[-1]]]
        return [*batches[:-1], batches[-1][:-1], [batches[-1][-1], lonely[-1]]]  # a long one must not stretch a batch


class _KeptBatches(ClassifierBatches):
    """The same batches, of what frozen layers gave for each record in place of its ids."""

    def __init__(self, plain: ClassifierBatches, x: list[Tensor], features: list[Tensor]) -> None:
        self.rows, self.labels, self.batch_size, self.rng = plain.rows, plain.labels, plain.batch_size, plain.rng
        self.max_backprop, self.x, self.features = plain.max_backprop, x, features

    def inputs(self, batch: list[int]) -> tuple[Tensor, ...]:
        """Return what the layers above the cut read (batch, time, width), the features below it, and lengths."""
        x = pad_sequence([self.x[i] for i in batch], batch_first=True)
        lengths = torch.tensor([len(self.rows[i]) for i in batch])
        return x, torch.stack([self.features[i] for i in batch]), lengths


def _fit_stage(
    model: Classifier,
    train: ClassifierBatches,
    valid: ClassifierBatches | None,
    n_groups: int,
    epochs: int,
    recipe: Recipe,
    class_weights: NDArray[np.float32] | None,
    watch: _Watch,
    bar: Progress,
) -> None:
    thawed = Thawed(model, len(model.layer_groups()) - n_groups, train.max_backprop)
    net: nn.Module = thawed
    if epochs > 1 and _can_be_kept(thawed, [train, *([valid] if valid else [])], recipe):
        train = _kept(thawed, train, recipe)
        valid = valid and _kept(thawed, valid, recipe)
        net = FromKept(thawed)
    watch.begin_stage()
    with learning(net, train, valid, recipe, _ClassifierSteps) as (learner, steps):
        learner.freeze_to(-n_groups)
        steps.watch = watch
        if class_weights is not None:
            steps.class_weights = torch.from_numpy(class_weights).to(best_device(recipe.device))
        rate = rate_of(learner, recipe)
        if recipe.lr == "auto":
            watch.fitted.lr_finder.append(finder_curve(learner, rate))
        one_cycle(learner, steps, epochs, rate, recipe, bar)
    watch.end_stage()


def _can_be_kept(net: Thawed, parts: list[ClassifierBatches], recipe: Recipe) -> bool:
    """Tell whether what the frozen layers give fits into memory; kept states of long records' ends would not do."""
    if net.n_frozen == 0:
        return False
    config = net.net.config
    n_features = config.n_features([i for i in config.pooled if i < net.n_frozen])
    n_bytes = sum(4 * n_features * len(part.rows) for part in parts)
    if net.n_frozen < config.n_layers:
        if any(part.max_backprop is not None and part.longest > part.max_backprop for part in parts):
            return False
        size = 2 if in_precision(net, recipe).bf16 else 4
        n_bytes += sum(size * config.widths[net.n_frozen] * len(row) for part in parts for row in part.rows)
    return n_bytes <= KEPT_BYTES


@torch.no_grad()
def _kept(net: Thawed, plain: ClassifierBatches, recipe: Recipe) -> _KeptBatches:
    """Run the frozen layers on all records, in the precision of the training."""
    device = best_device(recipe.device)
    reader = in_precision(Below(net), recipe).eval()
    x: dict[int, Tensor] = {}
    features: dict[int, Tensor] = {}
    for batch in plain._deal(None):
        ids, lengths = plain.inputs(batch)
        outputs, pooled = (tensor.cpu() for tensor in reader(ids.to(device), lengths.to(device)))
        for i, n, output, row in zip(batch, lengths.tolist(), outputs, pooled, strict=True):
            x[i], features[i] = output[:n].clone(), row
    net.cpu()
    return _KeptBatches(plain, [x[i] for i in range(len(x))], [features[i] for i in range(len(x))])


@torch.no_grad()
def _settle(head: nn.Sequential, net: nn.Module, train: ClassifierBatches) -> None:
    """Set the moments of a head's batch norms to those that training records have in predictions.

    The moving averages of training are of other features. All records of a batch share their dropped weights, and their
    length where they have several: what differs between batches is a shift, which in training each batch takes off. In
    predictions nothing does, and divided by the deviations within batches it can be of any size.

    Some 1,000 records, of all lengths, are read with `net`, which is in evaluation mode and ends in the head.
    """
    device = next(head.parameters()).device
    read: list[Tensor] = []
    with head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].float())):
        for batch in train._deal(None)[:: max(1, len(train.rows) // _SETTLING_RECORDS)]:
            net(*(tensor.to(device) for tensor in train.inputs(batch)))
    x = torch.cat(read)
    for module in head:
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean, module.running_var = x.mean(dim=0), x.var(dim=0)
        x = module(x)


class _Watch:
    """Keeps the history and the best weights over all stages, and tells when a stage has waited long enough."""

    def __init__(
        self, model: Classifier, patience: int | None, scores: Scores | None, on_epoch: Callable[[Fitted], None]
    ) -> None:
        self.model, self.patience, self.scores, self.on_epoch = model, patience, scores, on_epoch
        self.fitted = Fitted()
        self.stage = self.waited = 0
        self.best = (0.0, -math.inf)  # MCC, and the loss turned round
        self.weights: dict[str, Tensor] | None = None

    def begin_stage(self) -> None:
        self.stage, self.waited = self.stage + 1, 0

    def end_stage(self) -> None:
        """Go back to the best weights."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)

    def epoch_ended(self, row: dict[str, float]) -> bool:
        """Take an epoch down; tell whether the stage should end."""
        history = self.fitted.history
        history.append({"stage": self.stage, "epoch": len(history) + 1, **row})
        found = (row.get("valid_mcc", 1.0), -row["valid_loss"]) if "valid_loss" in row else (0.0, 0.0)
        if found[0] > 0 and found > self.best:
            self.fitted.best_epoch, self.best, self.waited = len(history), found, 0
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        elif self.weights is None:
            self.fitted.best_epoch = len(history)
        else:
            self.waited += 1
        self.on_epoch(self.fitted)
        return self.patience is not None and self.waited >= self.patience


class _ClassifierSteps(Steps):
    """Weights the loss, regularises the last layer's output, and scores the valid part."""

    output: ClassifierOutput
    watch: _Watch
    class_weights: Tensor | None = None

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.valid_row: dict[str, float] = {}

    def before_batch(self) -> None:
        """Give back what batches of other lengths have left."""
        self.tidy()

    def after_pred(self) -> None:
        self.output = self.learn.pred
        self.learn.pred = self.output.logits

    def after_loss(self) -> None:
        if self.training and self.output.raw.requires_grad:
            self.regularise(self.output.raw, self.output.raw, self.output.mask)

    def after_batch(self) -> None:
        if self.training:
            super().after_batch()
        else:
            self.seen.append((self.learn.pred.float(), self.learn.yb[0]))

    def before_validate(self) -> None:
        """Set right what batches of like length have told the head's batch norm."""
        train = self.learn.dls.train
        if train.longest >= _UNLIKE * min(map(len, train.rows)):
            _settle(self.watch.model.head, self.learn.model, train)

    def after_validate(self) -> None:
        """Score the valid part as a whole: an MCC of batches has no mean."""
        if not self.seen:
            return
        logits, labels = (torch.cat(tensors) for tensors in zip(*self.seen, strict=True))
        self.seen = []
        # relative to the weights met: a valid part of another balance gives losses of the same size
        weight = torch.ones_like(labels) if self.class_weights is None else self.class_weights[labels]
        self.valid_row = {"valid_loss": float(self.loss(logits, labels) * len(labels) / weight.sum())}
        if self.watch.scores is not None:
            found = self.watch.scores(labels.cpu().numpy(), logits.softmax(dim=1).cpu().numpy())
            self.valid_row |= {f"valid_{name}": value for name, value in found.items()}

    def after_epoch(self) -> None:
        """Say how the epoch went; end the stage where no better one has come for long."""
        if self.bar is None:  # the LR finder's
            return
        row = {"train_loss": float(self.learn.smooth_loss), **self.valid_row}
        if self.watch.epoch_ended(row):
            stop_fitting()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        return (losses if self.class_weights is None else losses * self.class_weights[labels]).mean()
