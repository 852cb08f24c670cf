"""Classifier training: a net and labelled rows of ids in, the net trained stage by stage and its losses out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.net.awd_lstm import Classifier, ClassifierOutput
from genomic_ulmfit.net.batches import Ids, by_length, pad
from genomic_ulmfit.net.learner import Recipe, Steps, learning, one_cycle, rate_of
from genomic_ulmfit.progress import progress_bar

__all__ = ["ClassifierBatches", "fit_classifier", "gradual_stages"]


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
        learning(model, train, valid, recipe, _ClassifierSteps) as (learner, steps),
        progress_bar("classifier", total, unit="steps", show=recipe.progress) as bar,
    ):
        for n_groups, epochs in stages:
            learner.freeze_to(-n_groups)
            history += one_cycle(learner, steps, epochs, rate_of(learner, recipe), recipe, bar)
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


class _ClassifierSteps(Steps):
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
