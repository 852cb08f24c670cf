"""The same weights in fastai: what a user of fastai, or of the original on top of it, gets from `get_preds`.

Strings are cut into k-mers in Python, looked up in a dictionary, padded and batched by fastai, run by fastai's
AWD_LSTM in pieces of 72 and pooled by fastai's head. A head that pools all layers has no counterpart there: then an
AWD_LSTM that hands on every layer's output, side by side, is pooled by the same code. The head's linear layers are
copies of ours.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import numpy as np
import torch
from fastai.text.all import (
    AWD_LSTM,
    CrossEntropyLossFlat,
    DataLoaders,
    Learner,
    Pad_Chunk,
    PoolingLinearClassifier,
    SentenceEncoder,
    SequentialRNN,
    SortedDL,
    TensorText,
    rnn_cbs,
)
from torch import Tensor, nn

from genomic_ulmfit.net.awd_lstm import Classifier
from genomic_ulmfit.net.kmers import PAD, UNK, KmerVocab

PEER_BATCH = 64  # fastai's default, as is
_PIECE = 72


class AllLayers(AWD_LSTM):
    """fastai's AWD_LSTM, with the outputs of all layers side by side."""

    hidden: list[tuple[Tensor, Tensor]]

    def forward(self, ids: Tensor) -> Tensor:
        if ids.shape[0] != self.bs:
            self._change_hidden(ids.shape[0])
        x, outputs, states = self.encoder_dp(ids), [], []
        for rnn, state in zip(self.rnns, self.hidden, strict=True):
            x, after = rnn(x, state)
            outputs.append(x)
            states.append(after)
        self.hidden = states
        return torch.cat(outputs, dim=2)


class FastaiPeer:
    """A classifier of ours as a fastai Learner.

    Parameters
    ----------
    model : Classifier
        Its weights are copied.
    mixed : bool
        fastai's mixed precision (GPU only).
    """

    def __init__(self, model: Classifier, *, mixed: bool = False) -> None:
        self.vocab = model.vocab
        self.number = {kmer: i for i, kmer in enumerate(spelled(model.vocab)) if i > UNK}
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dls = DataLoaders(self._batches(["A" * 50]), self._batches(["A" * 50]), device=device)
        self.learner = Learner(dls, transplanted(model), loss_func=CrossEntropyLossFlat(), cbs=rnn_cbs())
        if mixed:
            self.learner.to_fp16()

    def __call__(self, strings: Sequence[str]) -> np.ndarray:
        """Return probabilities (n, classes)."""
        with self.learner.no_bar(), self.learner.no_logging():
            return self.learner.get_preds(dl=self._batches(strings))[0].float().cpu().numpy()

    def _batches(self, strings: Sequence[str]) -> SortedDL:
        rows = [(TensorText([self.number.get(kmer, UNK) for kmer in self._kmers(text)]),) for text in strings]
        lengths = [len(row[0]) for row in rows]
        pad = Pad_Chunk(pad_idx=PAD, seq_len=_PIECE)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return SortedDL(rows, res=lengths, bs=PEER_BATCH, before_batch=pad, n_inp=1, num_workers=0, device=device)

    def _kmers(self, text: str) -> list[str]:
        k, stride = self.vocab.k, self.vocab.stride
        return [text[i : i + k] for i in range(0, len(text) - k + 1, stride)]


def spelled(vocab: KmerVocab) -> list[str]:
    """Return each id's k-mer; what PAD and UNK spell doesn't matter."""
    return ["", "", *vocab.kmers(np.arange(2, len(vocab)))]


def transplanted(model: Classifier) -> SequentialRNN:
    """Put our weights into fastai's modules."""
    config = model.config
    kind = AllLayers if config.pool == "all" else AWD_LSTM
    theirs = kind(
        len(model.vocab), config.n_embedding, config.n_hidden, config.n_layers, pad_token=PAD, weight_p=0.5
    )  # with weight_p=0 it breaks
    theirs.encoder.weight.data.copy_(model.encoder.embedding.weight.data)
    for layer, ours in zip(theirs.rnns, model.encoder.layers, strict=True):
        layer.weight_hh_l0_raw.data.copy_(ours.weight_hh_l0.data)
        for name, parameter in ours.named_parameters():
            layer.module._parameters.get(name, parameter).data.copy_(parameter.data)
    widths = config.widths[1:] if config.pool == "all" else config.widths[-1:]
    pooling = PoolingLinearClassifier([3 * sum(widths), config.n_head, len(model.classes)], ps=[0.0, 0.0], bptt=_PIECE)
    pooling.layers = head_for_side_by_side(model, widths)
    return SequentialRNN(SentenceEncoder(_PIECE, theirs, pad_idx=PAD), pooling).eval()


def head_for_side_by_side(model: Classifier, widths: list[int]) -> torch.nn.Module:
    """Reorder the head's inputs: ours are last, max and mean layer by layer, fastai's are layers within each."""
    head = copy.deepcopy(model.head).eval()
    starts = [3 * start for start in accumulate(widths[:-1], initial=0)]
    order = [
        start + which * width + i
        for which in range(3)
        for start, width in zip(starts, widths, strict=True)
        for i in range(width)
    ]
    norm, linear = cast(nn.BatchNorm1d, head[0]), cast(nn.Linear, head[2])
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).data = getattr(norm, name).data[order].clone()
    linear.weight.data = linear.weight.data[:, order].clone()
    return head
