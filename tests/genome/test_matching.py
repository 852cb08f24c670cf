from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.genome.matching import match_calls


def _brute(summits, sites, distance):
    left, found = sorted(sites), []
    for summit in summits:
        near = sorted((abs(site - summit), site) for site in left if abs(site - summit) <= distance)
        found.append(bool(near))
        if near:
            left.remove(near[0][1])
    return found


_PLACES = st.lists(st.integers(0, 60), max_size=12)


@given(_PLACES, _PLACES, st.integers(0, 20))
def test_matches_are_those_of_a_plain_search(summits, sites, distance):
    assert match_calls(summits, sites, distance).tolist() == _brute(summits, sites, distance)


@given(_PLACES, _PLACES, st.integers(0, 20), st.integers(0, 12))
def test_later_calls_change_nothing_for_the_first(summits, sites, distance, n):
    np.testing.assert_array_equal(match_calls(summits[:n], sites, distance), match_calls(summits, sites, distance)[:n])


def test_one_site_serves_one_call_and_the_distance_is_included():
    assert match_calls([100, 100], [150], 50).tolist() == [True, False]
    assert match_calls([100], [150], 49).tolist() == [False]


def test_of_two_sites_as_near_the_left_one_is_taken():
    assert match_calls([100, 85], [90, 110], 10).tolist() == [True, False]
    assert match_calls([100, 115], [90, 110], 10).tolist() == [True, True]
