"""Shuffled sequences: text and a random generator in, text of the same letters out."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np

__all__ = ["dinucleotide_shuffle", "partial_shuffle"]


def dinucleotide_shuffle(text: str, rng: np.random.Generator) -> str:
    """Shuffle a sequence so that the count of every dinucleotide stays, and with it the first and the last letter.

    Letters are the points of a graph and dinucleotides its arrows: each shuffle is a path that takes every arrow once
    (Altschul and Erickson 1985, Mol Biol Evol 2:526-538), and each different sequence is as likely as any other. The
    last arrows out of each letter form a random tree, drawn as in Wilson 1996 (STOC, 296-303).

    Parameters
    ----------
    text : str
        Any letters; lower and upper case are different ones.
    rng : numpy Generator
        Where chance comes from.

    Returns
    -------
    str
        Of the same length. It equals `text` where no other order has those dinucleotides.

    Examples
    --------
    >>> dinucleotide_shuffle("ACGA", np.random.default_rng(0)), dinucleotide_shuffle("AAAA", np.random.default_rng(0))
    ('ACGA', 'AAAA')
    >>> shuffled = {dinucleotide_shuffle("ATACA", np.random.default_rng(seed)) for seed in range(20)}
    >>> sorted(shuffled)
    ['ACATA', 'ATACA']
    """
    if len(text) < 3:
        return text
    following: dict[str, list[str]] = defaultdict(list)
    for first, second in pairwise(text):
        following[first].append(second)
    for letter, last in _last_arrows(following, text[-1], rng).items():
        following[letter].remove(last)
        rng.shuffle(following[letter])
        following[letter].append(last)
    rng.shuffle(following[text[-1]])  # the path ends there whichever of its arrows is the last
    arrows = {letter: iter(letters) for letter, letters in following.items()}
    path = [text[0]]
    for _ in range(len(text) - 1):
        path.append(next(arrows[path[-1]]))
    return "".join(path)


def _last_arrows(following: dict[str, list[str]], end: str, rng: np.random.Generator) -> dict[str, str]:
    """Return an arrow out of each letter, all of which lead to the end: a tree, any of them as likely as its arrows."""
    last: dict[str, str] = {}
    joined = {end}
    for letter in following:
        at = letter
        while at not in joined:  # a later visit overwrites the arrow, which cuts loops out of the walk
            last[at] = following[at][rng.integers(len(following[at]))]
            at = last[at]
        at = letter
        while at not in joined:
            joined.add(at)
            at = last[at]
    return last


def partial_shuffle(text: str, rng: np.random.Generator, *, parts: int = 20, moved: int = 12) -> str:
    """Cut a sequence into parts of one length and shuffle some of them among one another.

    This is how DeePromoter makes negatives of promoters (Oubounyt et al. 2019, Front Genet 10:286): 8 of 20 parts stay
    where they are.

    Parameters
    ----------
    text : str
        Any letters.
    rng : numpy Generator
        Where chance comes from.
    parts : int
        How many parts; lengths differ by one at most. A text shorter than that is cut into its letters.
    moved : int
        How many of them are moved.

    Returns
    -------
    str
        Of the same length and letters, perhaps as it was.

    Raises
    ------
    ValueError
        Unless ``2 <= moved <= parts``.

    Examples
    --------
    >>> partial_shuffle("AACCGGTT", np.random.default_rng(0), parts=4, moved=2)
    'AACCTTGG'
    """
    if not 2 <= moved <= parts:
        raise ValueError(f"wanted 2 <= moved <= parts, got moved={moved}, parts={parts}")
    cuts = [len(text) * number // parts for number in range(parts + 1)]
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    chosen = np.sort(rng.choice(parts, moved, replace=False))
    for at, other in zip(chosen, rng.permutation(chosen), strict=True):
        pieces[at] = text[cuts[other] : cuts[other + 1]]
    return "".join(pieces)
