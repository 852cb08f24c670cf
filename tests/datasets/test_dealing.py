"""Groups dealt to parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.dealing import deal
from genomic_ulmfit.errors import DatasetError


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 200), min_size=1), st.integers(0, 3))
def test_records_alone_are_dealt_within_two_of_the_fractions(sizes, seed):
    classes = [name for name, n in sizes.items() for _ in range(n)]
    if len(classes) < 3:
        return
    parts = deal(np.arange(len(classes)), classes, (0.5, 0.25, 0.25), seed=seed)
    assert parts.dtype == np.int64 and parts.shape == (len(classes),)
    counts = Counter(zip(classes, parts.tolist(), strict=True))
    for part, fraction in enumerate((0.5, 0.25, 0.25)):
        assert abs(np.sum(parts == part) - fraction * len(classes)) <= 2
        for name, n in sizes.items():
            assert abs(counts[name, part] - fraction * n) <= 2


def test_the_worth_of_a_part_by_hand():
    """Of 8 alike to halves: 4 go first to part 0; the others fill part 1 before part 0 gets more."""
    assert deal(np.array([3, 3, 3, 3, 0, 1, 2, 4]), "a" * 8, (0.5, 0.5)).tolist() == [0] * 4 + [1] * 4


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_the_largest_group_is_in_the_first_part_and_no_part_is_empty(groups):
    sizes = Counter(groups)
    if len(sizes) < 3:
        with pytest.raises(DatasetError, match="too few for 3 parts"):
            deal(np.array(groups), groups, (0.8, 0.1, 0.1))
        return
    parts = deal(np.array(groups), ["a"] * len(groups), (0.8, 0.1, 0.1))
    assert set(parts.tolist()) == {0, 1, 2}
    assert len(set(zip(groups, parts.tolist(), strict=True))) == len(sizes)
    first = Counter(group for group, part in zip(groups, parts, strict=True) if part == 0)
    assert max(first.values()) == max(sizes.values())


def test_a_part_without_a_share_gets_nothing():
    assert set(deal(np.arange(9), "a" * 9, (0.9, 0.0, 0.1)).tolist()) == {0, 2}
