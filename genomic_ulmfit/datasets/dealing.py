"""Groups of records dealt to train, valid and test: whole groups, classes and sizes near the fractions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from genomic_ulmfit.errors import DatasetError

__all__ = ["deal"]


def deal(groups: np.ndarray, classes: Sequence[Hashable], fractions: Sequence[float], *, seed: int = 0) -> np.ndarray:
    """Deal groups to parts so that every class, and all together, come near the fractions.

    The groups come in order of size, those of one size by chance, and each goes where it lessens most the sum over
    its classes, and over all records as one more class, of ``(have - wanted)**2 / wanted``, have and wanted being
    numbers of records in that part. The largest group goes to the first part, no part is left empty, and a class that
    is too small for all parts is in the first ones.

    Parameters
    ----------
    groups : int array, shape (n,)
        Which records stay together.
    classes : sequence of n hashables
        The class of each record.
    fractions : sequence of float
        Share of each part.
    seed : int
        For the order of groups of one size.

    Returns
    -------
    int64 array, shape (n,)
        The part of each record.

    Raises
    ------
    DatasetError
        If there are fewer groups than parts.

    Examples
    --------
    >>> deal(np.array([0, 0, 0, 1, 2, 3]), "aaaaab", [0.6, 0.2, 0.2]).tolist()
    [0, 0, 0, 2, 1, 0]
    """
    members = _members(groups)
    parts = [part for part, fraction in enumerate(fractions) if fraction > 0]
    if len(members) < len(parts):
        raise DatasetError(
            f"the records make {len(members)} groups, too few for {len(parts)} parts; split them otherwise, or set the "
            "fraction of a part to 0"
        )
    wanted = {name: [fraction * n for fraction in fractions] for name, n in _tally(classes).items()}
    have = {name: [0] * len(fractions) for name in wanted}
    dealt = np.zeros(len(groups), dtype=np.int64)
    empty = parts[1:]
    for turn, group in enumerate(_by_size([len(at) for at in members], seed)):
        counts = _tally([classes[at] for at in members[group]])
        free = parts[:1] if turn == 0 else empty if len(members) - turn == len(empty) else parts
        part = min(
            free, key=lambda part: sum(_change(have[name][part], wanted[name][part], n) for name, n in counts.items())
        )
        for name, n in counts.items():
            have[name][part] += n
        empty = [other for other in empty if other != part]
        dealt[members[group]] = part
    return dealt


def _tally(classes: Sequence[Hashable]) -> dict[tuple[Hashable, ...], int]:
    """Count the records of each class, and of all under ()."""
    return {(name,): n for name, n in Counter(classes).items()} | {(): len(classes)}


def _change(have: int, wanted: float, n: int) -> float:
    return n * (n + 2 * (have - wanted)) / wanted


def _members(groups: np.ndarray) -> list[np.ndarray]:
    """Return the indices of the records of each group."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(groups) else []


def _by_size(sizes: list[int], seed: int) -> np.ndarray:
    """Return the largest first, those of one size by chance."""
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    return shuffled[np.argsort(-np.array(sizes)[shuffled], kind="stable")]
