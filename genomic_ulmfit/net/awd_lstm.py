"""AWD-LSTM: k-mer ids, lengths and state in, logits and state out.

The architecture is that of Merity, Keskar & Socher, "Regularizing and Optimizing LSTM Language Models" (2017,
arXiv:1708.02182); the classifier's head is that of Howard & Ruder, "Universal Language Model Fine-tuning for Text
Classification" (2018, arXiv:1801.06146). Nothing is remembered between calls: a state that is to be carried is handed
in and comes out. Batches are padded on the right, so that padding is never seen by a real k-mer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genomic_ulmfit.errors import SettingError, UnknownClassError
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.lstm import Weights, lstm, pays, weight_mask
from genomic_ulmfit.net.pooling import concat_pool

__all__ = [
    "BACKGROUND",
    "SIZES",
    "AWDLSTMConfig",
    "Classifier",
    "ClassifierOutput",
    "LMOutput",
    "LanguageModel",
    "LayerState",
]

BACKGROUND = "background"
_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")  # in the order of `Weights`

LayerState = tuple[Tensor, Tensor]
"""Hidden and cell state of one layer, each float32 (1, batch, hidden)."""


@dataclass(frozen=True)
class AWDLSTMConfig:
    """Sizes and dropout probabilities.

    The defaults are the paper's: config ``base``.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding, and of the last LSTM layer, whose output meets the tied decoder.
    n_hidden : int
        Width of the LSTM layers before the last.
    n_layers : int
        Number of LSTM layers.
    n_head : int
        Width of the classifier's hidden linear layer; 0: the head is one linear layer on the pooled outputs, as a probe
        has it.
    pool : {"last", "all"}
        Which LSTM layers the classifier pools.
    segments : int
        Into how many parts of one length it divides a record, to pool the mean output over each as well: then it can
        tell where in the record something stands. 1: the mean over the whole record alone, as in ULMFiT.
    embedding_p, weight_p, hidden_p, output_p : float
        Dropout of whole words of the embedding, of the hidden-to-hidden matrices, of the activations (input and
        between layers, one mask for all time steps), and of what goes into the decoder or the head.
    head_p : float
        Dropout before the classifier's last linear layer.
    drop_mult : float
        One factor on all of them but `head_p`.
    """

    n_embedding: int = 400
    n_hidden: int = 1150
    n_layers: int = 3
    n_head: int = 50
    pool: Literal["last", "all"] = "last"
    segments: int = 1
    embedding_p: float = 0.1
    weight_p: float = 0.5
    hidden_p: float = 0.2
    output_p: float = 0.4
    head_p: float = 0.1
    drop_mult: float = 1.0

    def __post_init__(self) -> None:
        """Check sizes and probabilities."""
        if min(self.n_embedding, self.n_hidden, self.n_layers, self.segments) < 1 or self.n_head < 0:
            raise SettingError(f"sizes of a net and segments are at least 1, and n_head at least 0, got {self}")
        if self.pool not in ("last", "all"):
            raise SettingError(f"pool is {self.pool!r}, wanted 'last' or 'all'")
        ps = (self.embedding_p, self.weight_p, self.hidden_p, self.output_p)
        if not all(0 <= p * self.drop_mult < 1 for p in ps) or not 0 <= self.head_p < 1:
            raise SettingError(f"dropout probabilities times drop_mult are in [0, 1), got {self}")

    @property
    def widths(self) -> list[int]:
        """Widths of the embedding and of each LSTM layer's output."""
        return [self.n_embedding, *[self.n_hidden] * (self.n_layers - 1), self.n_embedding]

    @property
    def pooled(self) -> range:
        """Indices of the LSTM layers that the classifier pools."""
        return range(0 if self.pool == "all" else self.n_layers - 1, self.n_layers)

    @property
    def n_pools(self) -> int:
        """Pooled features of each unit of a pooled layer: the last, the maximum, the mean, and those of segments."""
        return 3 + (self.segments if self.segments > 1 else 0)

    def n_features(self, layers: Sequence[int] | None = None) -> int:
        """Return the number of pooled features of some of the pooled layers, or of all."""
        return self.n_pools * sum(self.widths[1 + i] for i in (self.pooled if layers is None else layers))


SIZES: dict[str, AWDLSTMConfig] = {
    "small": AWDLSTMConfig(n_embedding=128, n_hidden=384, n_layers=2, pool="all", drop_mult=0.1),
    "medium": AWDLSTMConfig(n_embedding=192, n_hidden=576, n_layers=3, pool="all", drop_mult=0.1),
    "base": AWDLSTMConfig(),
}
"""Named configs: ``base`` is the paper's, ``small`` is for two cores, ``medium`` for a night on them."""


class LMOutput(NamedTuple):
    """What a language model gives.

    Attributes
    ----------
    logits : float Tensor (batch, time, vocabulary)
        Scores of the k-mer that follows each position.
    state : list of LayerState
        State after the last position.
    raw, dropped : float Tensor (batch, time, n_embedding)
        The last layer's output before and after dropout, for activation regularisation.
    """

    logits: Tensor
    state: list[LayerState]
    raw: Tensor
    dropped: Tensor


class ClassifierOutput(NamedTuple):
    """What a classifier gives.

    Attributes
    ----------
    logits : float Tensor (batch, classes)
        Scores of the classes.
    raw : float Tensor (batch, time, n_embedding)
        The last layer's output, for activation regularisation.
    mask : bool Tensor (batch, time)
        True at real k-mers.
    """

    logits: Tensor
    raw: Tensor
    mask: Tensor


def weight_dropped(
    layer: nn.Module, x: Tensor, state: LayerState | None, p: float, training: bool
) -> tuple[Tensor, LayerState]:
    """Run an LSTM layer, its hidden-to-hidden matrix dropped out anew with probability `p` in training."""
    if not training or p == 0:
        return layer(x, state)
    weight = layer.get_parameter("weight_hh_l0")
    dropped = weight * weight_mask(weight, p) if weight.device.type == "cpu" else F.dropout(weight, p)
    return torch.func.functional_call(layer, {"weight_hh_l0": dropped}, (x, state))


def _variational_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Drop features of `x` (batch, time, features) with one mask for all time steps."""
    if not training or p == 0:
        return x
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p)


def _in_bf16_on_cpu(x: Tensor) -> bool:
    """Tell whether gradients are to come from products in bf16 on the processor."""
    wanted = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.device.type == "cpu" and wanted and torch.is_grad_enabled()


class AWDLSTM(nn.Module):
    """The encoder: embedding and a stack of LSTM layers, ordinary ones outside training."""

    def __init__(self, n_ids: int, config: AWDLSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(n_ids, config.n_embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList([nn.LSTM(n_in, n_out, batch_first=True) for n_in, n_out in pairwise(config.widths)])

    def forward(self, ids: Tensor, state: Sequence[LayerState] | None = None) -> tuple[list[Tensor], list[LayerState]]:
        """Run the stack.

        Parameters
        ----------
        ids : int64 Tensor (batch, time)
            k-mer ids.
        state : sequence of LayerState, optional
            State to start from; zero if not given.

        Returns
        -------
        raw : list of float Tensor (batch, time, width)
            Each layer's output, before dropout.
        state : list of LayerState
            Each layer's state after the last time step.
        """
        x = self.embed(ids, self.training)
        raw: list[Tensor] = []
        after: list[LayerState] = []
        for i in range(len(self.layers)):
            x, layer_state = self.run_layer(i, x, None if state is None else state[i], self.training)
            raw.append(x)
            after.append(layer_state)
        return raw, after

    def embed(self, ids: Tensor, training: bool) -> Tensor:
        """Embed ids, whole words of the vocabulary dropped out in training."""
        weight = self.embedding.weight
        p = self.config.embedding_p * self.config.drop_mult
        if training and p > 0:
            weight = weight * F.dropout(weight.new_ones(weight.shape[0], 1), p)
        return F.embedding(ids, weight)

    def run_layer(self, i: int, x: Tensor, state: LayerState | None, training: bool) -> tuple[Tensor, LayerState]:
        """Run layer `i` on the output of the layer below it, which is dropped out in training."""
        hidden_p, weight_p = (p * self.config.drop_mult for p in (self.config.hidden_p, self.config.weight_p))
        layer, widths = self.layers[i], self.config.widths
        if training and _in_bf16_on_cpu(x) and pays(widths[i], widths[i + 1]):
            weights = Weights(*(layer.get_parameter(name) for name in _NAMES))
            return lstm(x, state, weights, input_p=hidden_p, weight_p=weight_p)
        return weight_dropped(layer, _variational_dropout(x, hidden_p, training), state, weight_p, training)


class LanguageModel(nn.Module):
    """Predicts the next k-mer; the decoder shares the embedding's weights.

    Parameters
    ----------
    vocab : KmerVocab
        The k-mers it reads.
    config : AWDLSTMConfig
        Sizes and dropouts.
    card : dict, optional
        What the model is and what it saw, as plain JSON values.
    """

    def __init__(self, vocab: KmerVocab, config: AWDLSTMConfig, card: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.vocab, self.config, self.card = vocab, config, dict(card or {})
        self.encoder = AWDLSTM(len(vocab), config)
        self.bias = nn.Parameter(torch.zeros(len(vocab)))

    def forward(self, ids: Tensor, state: Sequence[LayerState] | None = None) -> LMOutput:
        """Score the k-mer that follows each of `ids` (int64, batch x time)."""
        raw, after = self.encoder(ids, state)
        dropped = _variational_dropout(raw[-1], self.config.output_p * self.config.drop_mult, self.training)
        return LMOutput(F.linear(dropped, self.encoder.embedding.weight, self.bias), after, raw[-1], dropped)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters from the first layer to the last, for discriminative rates and unfreezing."""
        layers = [list(layer.parameters()) for layer in self.encoder.layers]
        return [*layers, [*self.encoder.embedding.parameters(), self.bias]]


class Classifier(nn.Module):
    """An AWD-LSTM with a pooling head.

    Parameters
    ----------
    vocab : KmerVocab
        The k-mers it reads.
    config : AWDLSTMConfig
        Sizes and dropouts.
    classes : sequence of str
        Class labels in the order of the logits; at least two.
    window : int, optional
        Length in bp of the records it learnt from, if they all had one length.
    anchor : int, optional
        0-based index in the window of the base the class is about (the TSS), if there is one.
    card : dict, optional
        What the model is and what it saw, as plain JSON values.

    Raises
    ------
    SettingError
        If there are fewer than two classes, or the anchor is outside the window.
    """

    def __init__(
        self,
        vocab: KmerVocab,
        config: AWDLSTMConfig,
        classes: Sequence[str],
        *,
        window: int | None = None,
        anchor: int | None = None,
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise SettingError(f"classes are {list(classes)}, wanted two or more different labels")
        if anchor is not None and (window is None or not 0 <= anchor < window):
            raise SettingError(f"anchor is {anchor}, wanted an index inside the window of {window} bp")
        self.vocab, self.config, self.classes = vocab, config, tuple(classes)
        self.window, self.anchor, self.card = window, anchor, dict(card or {})
        self.encoder = AWDLSTM(len(vocab), config)
        self.head = _head(config.n_features(), len(classes), config)

    def forward(self, ids: Tensor, lengths: Tensor) -> ClassifierOutput:
        """Score the classes.

        Parameters
        ----------
        ids : int64 Tensor (batch, time)
            k-mer ids, padded on the right.
        lengths : int64 Tensor (batch,)
            Number of real k-mers of each row, at least 1.
        """
        raw, _ = self.encoder(ids)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        pooled = [concat_pool(raw[i], lengths, mask, self.config.segments) for i in self.config.pooled]
        return ClassifierOutput(self.head(torch.cat(pooled, dim=1)), raw[-1], mask)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters from the first layer to the head, for discriminative rates and unfreezing.

        The embedding goes with the first LSTM layer: alone it is a handful of weights, and an epoch spent on thawing it
        teaches little.
        """
        first, *others = [list(layer.parameters()) for layer in self.encoder.layers]
        return [[*self.encoder.embedding.parameters(), *first], *others, list(self.head.parameters())]

    def target_index(self, target: str | None = None) -> int:
        """Return the index of the class that tracks and saliency speak of.

        Parameters
        ----------
        target : str, optional
            A class label. If not given: the only class that isn't called "background".

        Raises
        ------
        UnknownClassError
            If there is no such class, or there are several to choose from.
        """
        choice = [target] if target is not None else [name for name in self.classes if name != BACKGROUND]
        if len(choice) != 1 or choice[0] not in self.classes:
            raise UnknownClassError(target, self.classes)
        return self.classes.index(choice[0])


def _head(n_features: int, n_classes: int, config: AWDLSTMConfig) -> nn.Sequential:
    """Make what turns pooled outputs into logits."""
    if config.n_head == 0:
        return nn.Sequential(nn.Linear(n_features, n_classes))
    return nn.Sequential(
        nn.BatchNorm1d(n_features),
        nn.Dropout(config.output_p * config.drop_mult),
        nn.Linear(n_features, config.n_head),
        nn.ReLU(),
        nn.BatchNorm1d(config.n_head),
        nn.Dropout(config.head_p),
        nn.Linear(config.n_head, n_classes),
    )
