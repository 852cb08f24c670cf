"""Nets with known answers, for the verbs that call a classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, ClassifierOutput
from genomic_ulmfit.net.kmers import KmerVocab

_SMALLEST = AWDLSTMConfig(n_embedding=1, n_hidden=1, n_layers=1, n_head=1)


class _Toy(Classifier):
    """A classifier of "background" and "x" whose logit of "x" is `score`, and of "background" 0."""

    def __init__(self, vocab: KmerVocab, window: int | None = None, anchor: int | None = None) -> None:
        super().__init__(vocab, _SMALLEST, ["background", "x"], window=window, anchor=anchor)

    def forward(self, ids: Tensor, lengths: Tensor) -> ClassifierOutput:
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        score = self.score(ids, mask).float()
        return ClassifierOutput(torch.stack([torch.zeros_like(score), score], dim=1), score[:, None], mask)

    def score(self, ids: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError


class CountGC(_Toy):
    """The log-odds of "x" are the number of G and C."""

    def __init__(self, window: int | None = None, anchor: int | None = None) -> None:
        super().__init__(KmerVocab(k=1), window, anchor)

    def score(self, ids: Tensor, mask: Tensor) -> Tensor:
        return (((ids == 3) | (ids == 4)) & mask).sum(dim=1)  # A C G T are 2 3 4 5


class MotifAt(_Toy):
    """The log-odds of "x" are +5 where a k-mer stands at an offset, else -5."""

    def __init__(self, motif: str, offset: int, window: int, *, stride: int = 1) -> None:
        super().__init__(KmerVocab(k=len(motif), stride=stride), window, anchor=offset)
        self.index, self.motif_id = offset // stride, int(self.vocab.encode(motif)[0])

    def score(self, ids: Tensor, mask: Tensor) -> Tensor:
        return (ids[:, self.index] == self.motif_id) * 10.0 - 5.0
