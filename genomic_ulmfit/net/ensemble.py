"""Several classifiers as one: the probability of a class is the mean of its members' probabilities.

Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification" (2018, arXiv:1801.06146), average the
predictions of a forward and a backward classifier. A verb runs each member as if it were alone and joins their logits
with `mean_logits`; members may so differ in k, stride, direction and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.net.awd_lstm import Classifier

__all__ = ["AnyClassifier", "Ensemble", "mean_logits", "members_of"]


class Ensemble(nn.Module):
    """Classifiers of the same classes and windows, used as one.

    Parameters
    ----------
    members : sequence of Classifier
        At least two; they are held, not copied.
    card : dict, optional
        What the ensemble is, as plain JSON values; each member has a card of its own.

    Raises
    ------
    SettingError
        If there are fewer than two members, one is no `Classifier`, or they differ in classes, window or anchor.
    """

    def __init__(self, members: Sequence[Classifier], card: dict[str, Any] | None = None) -> None:
        super().__init__()
        strangers = [type(member).__name__ for member in members if not isinstance(member, Classifier)]
        if strangers or len(members) < 2:
            what = f"a {strangers[0]}" if strangers else f"{len(members)} members"
            raise SettingError(f"an ensemble is of two or more classifiers, got {what}")
        for name in ("classes", "window", "anchor"):
            first, *others = [getattr(member, name) for member in members]
            for other in others:
                if other != first:
                    raise SettingError(f"members of an ensemble agree in {name}, got {first} and {other}")
        self.classes, self.window, self.anchor = members[0].classes, members[0].window, members[0].anchor
        self.members, self.card = nn.ModuleList(members), dict(card or {})

    def target_index(self, target: str | None = None) -> int:
        """Return the index of the class that tracks and saliency speak of, as `Classifier.target_index` does."""
        return members_of(self)[0].target_index(target)


AnyClassifier = Classifier | Ensemble
"""What verbs read with."""


def members_of(model: AnyClassifier) -> list[Classifier]:
    """Return the members of an ensemble; of a classifier, itself."""
    return cast(list[Classifier], list(model.members)) if isinstance(model, Ensemble) else [model]


def mean_logits(logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return logits whose probabilities are the mean of the members' probabilities.

    Parameters
    ----------
    logits : sequence of float32 array, each of shape (n, n_classes)
        Of each member.

    Returns
    -------
    float32 array, shape (n, n_classes)
        Logarithms of the mean probabilities, never infinite; of a single member, its own logits.

    Examples
    --------
    >>> even, sure = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    >>> np.exp(mean_logits([even, sure])).round(3)
    array([[0.7, 0.3]])
    """
    if len(logits) == 1:
        return logits[0]
    shares = [x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in logits]
    return np.logaddexp.reduce(shares, axis=0) - np.log(len(shares)).astype(shares[0].dtype)
