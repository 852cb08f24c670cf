"""Calls and true sites in, which call found a site out: one call matches one site, one site one call."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["match_calls"]


def match_calls(summits: Sequence[int], sites: Sequence[int], distance: int) -> NDArray[np.bool_]:
    """Match calls to sites of one strand of one chromosome, greedily from the first call on.

    Each call takes the nearest site within `distance` that no call before it took, of two as near the left one. So what
    the first calls match does not depend on those that follow.

    Parameters
    ----------
    summits : sequence of int
        0-based positions of the calls, the best call first.
    sites : sequence of int
        0-based positions of the sites, in any order.
    distance : int
        Largest distance of a match, in bp.

    Returns
    -------
    bool array, shape (n_calls,)
        Which calls have a site.

    Examples
    --------
    >>> match_calls([1000, 1030, 1060], [1010, 1100], distance=50)
    array([ True, False,  True])
    """
    places = sorted(sites)
    free = [True] * len(places)
    matched = np.zeros(len(summits), dtype=bool)
    for number, summit in enumerate(summits):
        near = range(bisect_left(places, summit - distance), bisect_right(places, summit + distance))
        best = min((i for i in near if free[i]), key=lambda i: abs(places[i] - summit), default=None)
        if best is not None:
            free[best], matched[number] = False, True
    return matched
