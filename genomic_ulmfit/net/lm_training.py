"""Language-model training: a model and streams of ids in, the model trained in place and its losses out."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from genomic_ulmfit.net.awd_lstm import LanguageModel, LayerState, LMOutput
from genomic_ulmfit.net.batches import LMStream
from genomic_ulmfit.net.learner import Recipe, Steps, learning, one_cycle, rate_of
from genomic_ulmfit.progress import progress_bar

__all__ = ["fit_language_model"]


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
    with learning(model, train, valid, recipe, _LanguageModelSteps) as (learner, steps):
        rate = rate_of(learner, recipe)
        with progress_bar("language model", epochs * len(train), unit="steps", show=recipe.progress) as bar:
            return one_cycle(learner, steps, epochs, rate, recipe, bar)


class _LanguageModelSteps(Steps):
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
