"""The network that the published promoter sets came with, rebuilt to see what their figures are on our splits.

One layer of convolution, as CNNProm has it (Umarov & Solovyev 2017, doi:10.1371/journal.pone.0171410). Its weights and
splits were not published; here are one width of filter and one schedule for all sets.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import letters

FILTERS, WIDTH, POOL, HIDDEN = 100, 15, 2, 128
BATCH, EPOCHS, LR, DROPOUT = 16, 30, 1e-3, 0.5


def one_hot(records: Sequence[SeqRecord]) -> Tensor:
    """Return records of one length as float32 (n, 4, length), zero at N."""
    texts = np.array([list(str(letters(record)).upper()) for record in records])
    return torch.from_numpy((texts[:, None, :] == np.array(list("ACGT"))[:, None]).astype(np.float32))


def network(length: int, n_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(4, FILTERS, WIDTH),
        nn.ReLU(),
        nn.MaxPool1d(POOL),
        nn.Flatten(),
        nn.Dropout(DROPOUT),
        nn.Linear(FILTERS * ((length - WIDTH + 1) // POOL), HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, n_classes),
    )


def fit_convolution(
    train: Sequence[SeqRecord],
    targets: NDArray[np.int64],
    valid: Sequence[SeqRecord],
    truth: NDArray[np.int64],
    n_classes: int,
    seed: int,
) -> nn.Sequential:
    """Train on records of one length and return the epoch of the highest MCC on the valid part."""
    x, y = one_hot(train), torch.from_numpy(targets)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = network(x.shape[2], n_classes)
        optimizer = torch.optim.Adam(net.parameters(), LR)
        best, kept = -np.inf, net
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(net.train()(x[batch]), y[batch]).backward()
                optimizer.step()
            mcc = metrics(truth, probabilities(net, valid))["mcc"]
            if mcc > best:
                best, kept = mcc, copy.deepcopy(net)
    return kept


@torch.inference_mode()
def probabilities(net: nn.Sequential, records: Sequence[SeqRecord]) -> NDArray[np.float32]:
    """Return class probabilities (n, n_classes)."""
    return net.eval()(one_hot(records)).softmax(dim=1).numpy()
