"""Shared k-mers and the groups they make, against the same done letter by letter."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.homology import KmerSet, canonical_kmers, homology_groups

texts = st.lists(st.text("ACGTNacgtu", max_size=60), max_size=8)


def plain(text):
    return text.upper().replace("U", "T")


def turned(text):
    return plain(text).translate(str.maketrans("ACGT", "TGCA"))[::-1]


def drawn(length, seed=0):
    return "".join(random.Random(seed).choices("ACGT", k=length))


def slow_kmers(text, k):
    text = plain(text)
    for i in range(len(text) - k + 1):
        word = text[i : i + k]
        if set(word) <= set("ACGT"):
            yield int("".join(str("ACGT".index(base)) for base in min(word, turned(word))), 4)


@given(st.lists(st.text("ACGTNUacgtu", max_size=60), max_size=4), st.sampled_from([1, 2, 5, 25, 32]))
def test_kmers_are_those_found_letter_by_letter(texts, k):
    kmers, owners = canonical_kmers(texts, k)
    slow = [(kmer, owner) for owner, text in enumerate(texts) for kmer in slow_kmers(text, k)]
    assert kmers.dtype == np.uint64
    assert list(zip(kmers.tolist(), owners.tolist(), strict=True)) == slow


@pytest.mark.parametrize("k", [0, 33])
def test_kmers_that_fit_no_64_bits_are_refused(k):
    with pytest.raises(ValueError, match="1 to 32"):
        canonical_kmers(["ACGT"], k)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_kmers_do_not_depend_on_how_many_are_worked_on_at_a_time(monkeypatch, chunk):
    sequences = [drawn(40), "", "ACG", drawn(9, 1) + "N" + drawn(9, 2)]
    whole = canonical_kmers(sequences, 4)
    monkeypatch.setattr("genomic_ulmfit.datasets.homology._CHUNK", chunk)
    for expected, found in zip(whole, canonical_kmers(sequences, 4), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@given(texts, texts, st.sampled_from([1, 3, 5, 25]))
def test_hits_are_sequences_that_share_a_kmer_with_the_set(inside, asked, k):
    kmers = KmerSet(inside, k)
    held = {kmer for text in inside for kmer in slow_kmers(text, k)}
    hits = kmers.hits(iter(asked))
    assert len(kmers) == len(held)
    assert hits.dtype == bool
    assert hits.tolist() == [not held.isdisjoint(slow_kmers(text, k)) for text in asked]


@given(st.lists(st.text("ACg", max_size=20) | st.text("A", min_size=8, max_size=20)), st.sampled_from([1, 3, 7, 8]))
def test_a_set_may_leave_simple_kmers_out(inside, k):
    held = {kmer for text in inside for kmer in slow_kmers(text, k)}
    assert len(KmerSet(inside, k, simple=False)) == sum(k < 4 or dust(kmer, k) <= 2 for kmer in held)


def dust(kmer, k):
    letters = ["ACGT"[kmer >> 2 * i & 3] for i in range(k)]
    triplets = [tuple(letters[i : i + 3]) for i in range(k - 2)]
    pairs = sum(a == b for a, b in itertools.combinations(triplets, 2))
    return pairs / (len(triplets) - 1)


def slow_groups(sequences, k, most):
    """Join by brute force; return the first of each one's group, and how many k-mers joined nothing."""
    texts = [min(plain(text), turned(text)) for text in sequences]
    places = [[next(slow_kmers(text[i : i + k], k), None) for i in range(len(text) - k + 1)] for text in texts]
    holders = Counter(
        kmer for text, held in dict(zip(texts, places, strict=True)).items() for kmer in set(held) - {None}
    )
    shared = {kmer for kmer, n in holders.items() if n > 1}
    simple = {kmer for kmer in shared if dust(kmer, k) > 2}
    frequent = {kmer for kmer in shared - simple if holders[kmer] > most}
    used = [
        {kmer for i, kmer in enumerate(held) if frequent.isdisjoint(held[max(0, i - k + 1) : i + k])} & shared - simple
        for held in places
    ]
    group = list(range(len(texts)))
    for a, b in itertools.combinations(range(len(texts)), 2):
        if used[a] & used[b] or texts[a] == texts[b]:
            group = [group[a] if g == group[b] else g for g in group]
    return [group.index(g) for g in group], {"low complexity": len(simple), "frequent": len(frequent)}


pieces = st.sampled_from(["ACGTTGC", "CAGTCA", "GGTCACTGA", "aaaaaaaa", "uacgg", "N", "C"])
made_of_pieces = st.lists(pieces, max_size=6).map("".join)


@given(st.lists(made_of_pieces | made_of_pieces.map(turned), max_size=12), st.integers(1, 4))
def test_groups_and_what_is_left_out_are_those_found_pair_by_pair(sequences, most):
    found = homology_groups(iter(sequences), k=7, most=most)
    firsts, left_out = slow_groups(sequences, 7, most)
    assert [found.groups.tolist().index(g) for g in found.groups] == firsts
    assert found.left_out == left_out and found.most == most
    numbers = list(dict.fromkeys(found.groups.tolist()))
    assert numbers == list(range(len(numbers))) and found.groups.dtype == np.int64
    assert found.largest == max(map(firsts.count, firsts), default=0) / max(1, len(firsts))


def test_relatives_of_relatives_are_one_group_on_either_strand():
    whole = drawn(100)
    sequences = [whole[:40], drawn(40, 1), turned(whole[15:60]), whole[35:]]
    assert homology_groups(sequences).groups.tolist() == [0, 1, 0, 0]
    assert homology_groups([whole[:40], whole[16:60]]).groups.tolist() == [0, 1]  # they share 24 bases


@pytest.mark.parametrize("unit", ["A", "AC", "AAG", "ACTG"])
def test_repeats_of_up_to_four_bases_join_nothing(unit):
    repeat = unit * 25
    found = homology_groups([drawn(50, 1) + repeat, repeat + drawn(50, 2)])
    assert found.groups.tolist() == [0, 1]
    assert found.left_out["low complexity"] >= 1


def test_ends_that_many_sequences_have_join_nothing_nor_do_kmers_that_overlap_them():
    """Of 600 sequences, 150 share the last base before the end as well, 37 the last two."""
    end = drawn(60)
    own = [drawn(50, seed) for seed in range(1, 601)]
    found = homology_groups([sequence + end for sequence in own] + [own[0] + "ACGT"])
    assert found.groups.tolist() == [*range(600), 0]
    assert found.most == 60 and found.left_out["low complexity"] == 0 and found.left_out["frequent"] >= 36
    assert homology_groups([sequence + end for sequence in own], most=600).largest == 1


@pytest.mark.parametrize("text", ["ACGT", "A" * 60, drawn(60), "ACGTRYN"])
def test_equal_sequences_are_never_parted(text):
    twin = text.replace("R", "y").replace("YN", "rn")[::-1].translate(str.maketrans("ACGT", "TGCA"))
    twin = text if "R" in text else twin
    found = homology_groups([text, drawn(40, 5), text.lower().replace("t", "u"), twin] * 60)
    assert found.groups.tolist() == [0, 1, 0, 0] * 60


def test_no_sequences_make_no_groups():
    found = homology_groups([])
    assert len(found.groups) == 0 and found.largest == 0 and len(found.sizes) == 0
