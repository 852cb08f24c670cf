"""Shuffles keep what they promise to keep, and every shuffle is as likely as any other."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.shuffles import dinucleotide_shuffle, partial_shuffle


def dinucleotides(text):
    return Counter(pairwise(text))


@given(st.text("ACGTNacgt", max_size=80), st.integers(0, 3))
def test_a_dinucleotide_shuffle_keeps_every_count_and_both_ends(text, seed):
    shuffled = dinucleotide_shuffle(text, np.random.default_rng(seed))
    assert dinucleotides(shuffled) == dinucleotides(text) and len(shuffled) == len(text)
    assert shuffled[:1] == text[:1] and shuffled[-1:] == text[-1:]
    assert shuffled == dinucleotide_shuffle(text, np.random.default_rng(seed))


@pytest.mark.parametrize("text", ["AACAGCA", "CATTACAT", "ACAGATACGA"])
def test_every_order_with_those_dinucleotides_comes_as_often(text):
    inner = {text[0] + "".join(order) + text[-1] for order in permutations(text[1:-1])}
    possible = {order for order in inner if dinucleotides(order) == dinucleotides(text)}
    rng, n = np.random.default_rng(0), 400 * len(possible)
    counts = Counter(dinucleotide_shuffle(text, rng) for _ in range(n))
    assert set(counts) == possible and len(possible) > 2
    chi2 = sum((counts[order] - 400) ** 2 / 400 for order in possible)
    assert chi2 < 3 * len(possible)


def test_a_long_sequence_hardly_stays_in_place():
    text = "".join(np.random.default_rng(1).choice(list("ACGT"), 1000))
    shuffled = dinucleotide_shuffle(text, np.random.default_rng(2))
    assert sum(a == b for a, b in zip(text, shuffled, strict=True)) < 400


@given(st.integers(0, 100), st.sampled_from([(20, 12), (4, 2), (7, 7)]), st.integers(0, 20))
def test_a_partial_shuffle_moves_some_parts_and_no_others(length, numbers, seed):
    parts, moved = numbers
    text = "".join(chr(0x4E00 + i) for i in range(length))  # letters that tell where they were
    shuffled = partial_shuffle(text, np.random.default_rng(seed), parts=parts, moved=moved)
    assert sorted(shuffled) == sorted(text)
    if length % parts == 0 and length:
        size = length // parts
        pieces = [text[i : i + size] for i in range(0, length, size)]
        now = [shuffled[i : i + size] for i in range(0, length, size)]
        assert sorted(now) == sorted(pieces)
        assert sum(a != b for a, b in zip(pieces, now, strict=True)) <= moved


def test_all_parts_are_moved_alike():
    text, rng = "".join(map(chr, range(200, 220))), np.random.default_rng(0)
    shuffled = [partial_shuffle(text, rng) for _ in range(2000)]
    changed = np.array([[a != b for a, b in zip(text, other, strict=True)] for other in shuffled])
    assert np.abs(changed.mean(axis=0) - 12 / 20 * 11 / 12).max() < 0.05


@pytest.mark.parametrize(("parts", "moved"), [(20, 1), (4, 5)])
def test_numbers_that_can_move_nothing_are_refused(parts, moved):
    with pytest.raises(ValueError, match="wanted 2 <= moved <= parts"):
        partial_shuffle("ACGT", np.random.default_rng(0), parts=parts, moved=moved)
