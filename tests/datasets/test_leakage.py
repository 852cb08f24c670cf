"""What parts share is counted as brute force counts it."""

from __future__ import annotations

import numpy as np
import pytest
from Bio.Seq import Seq, reverse_complement
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.leakage import by_part, duplicates, label_conflicts, overlaps, shared_kmers, strangers
from genomic_ulmfit.errors import OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome


def record(text, label="a", split=None, place=None):
    annotations = {"label": label} | ({"split": split} if split else {})
    if place is not None:
        chrom, start, strand = place
        annotations |= {"chrom": chrom, "start": start, "end": start + len(text), "strand": strand}
    return SeqRecord(Seq(text), id="r", annotations=annotations)


def test_parts_without_records_are_not_there():
    records = [record("A", split="test"), record("C", split="train"), record("G")]
    assert {name: [str(r.seq) for r in found] for name, found in by_part(records).items()} == {
        "train": ["C"],
        "test": ["A"],
    }


def test_duplicates_are_counted_within_and_across():
    train = [record(text) for text in ("AACC", "AACC", "GGTT", "ACGT", "ACGA")]
    test = [record("aacc", "a"), record("TCGU", "a"), record("TTTT", "b"), record("ACGT", "b")]
    found = duplicates({"train": train, "test": test})
    assert found["within"]["train"] == {"exact": 1, "reverse_complement": 1}
    assert found["within"]["test"] == {"exact": 0, "reverse_complement": 0}
    assert found["across"] == {
        "test in train": {"exact": 2, "reverse_complement": 1, "share": {"a": 1.0, "b": 0.5}},
    }


@given(*[st.lists(st.text("AC", min_size=1, max_size=2), min_size=1, max_size=8) for _ in "ab"])
def test_duplicates_are_those_of_brute_force(ours, theirs):
    found = duplicates({"train": [record(t) for t in theirs], "test": [record(t) for t in ours]})
    alike = [t in theirs or reverse_complement(t) in theirs for t in ours]
    across = found["across"]["test in train"]
    assert across["exact"] == sum(t in theirs for t in ours)
    assert across["exact"] + across["reverse_complement"] == sum(alike)
    assert across["share"]["a"] == pytest.approx(np.mean(alike))
    assert found["within"]["test"]["exact"] == len(ours) - len(set(ours))


def test_a_sequence_with_two_labels_is_a_conflict():
    records = [record("ACC", "a"), record("acc", "b"), record("ACC", "a"), record("GGG", "a"), record("GGG", "a")]
    assert label_conflicts(records) == 1


def test_shared_kmers_are_shares_by_part_and_class():
    parts = {
        "train": [record("AACCATT")],
        "valid": [record("GAATGGTTG", "a"), record("CCATC", "b")],
        "test": [record("CCATC", "b"), record("CCNATC", "b")],
    }
    assert shared_kmers(parts, k=4) == {"valid": {"a": 1.0, "b": 1.0}, "test": {"b": 0.5}}
    assert shared_kmers(parts, k=5) == {"valid": {"a": 1.0, "b": 0.0}, "test": {"b": 0.0}}


def test_records_without_places_have_no_overlaps():
    assert overlaps({"train": [record("A")], "test": [record("A")]}) is None


places = st.lists(
    st.none() | st.tuples(st.sampled_from(["c", "d"]), st.integers(0, 30), st.sampled_from("+-.")),
    min_size=1,
    max_size=8,
)


@given(places, places)
def test_overlaps_are_those_of_brute_force(here, there):
    parts = {
        "train": [record("ACGTA", place=place) for place in here],
        "test": [record("ACG", place=place) for place in there],
    }
    found = overlaps(parts)

    def meet(a, n, b, m):
        return a and b and a[0] == b[0] and a[1] < b[1] + m and b[1] < a[1] + n

    n_placed = sum(place is not None for place in here + there)
    if not n_placed:
        assert found is None
        return
    assert found["placed"] == n_placed
    expected = [any(meet(a, 3, b, 5) for b in here) for a in there]
    assert found["across"]["test in train"]["records"] == sum(expected)
    assert found["across"]["test in train"]["share"]["a"] == pytest.approx(np.mean(expected))
    others = [any(meet(a, 5, b, 5) for j, b in enumerate(here) if j != i) for i, a in enumerate(here)]
    assert found["within"]["train"] == sum(others)


GENOME = Genome({"chr1": "ACGTTGCAACCATGGA"})


def test_sequences_are_looked_up_in_the_genome_on_their_strand_with_masks():
    records = [GENOME.fetch(Interval("chr1", 2, 8, strand=strand)) for strand in "+-"]
    masked = record("GNNN", place=("chr1", 2, "+"))
    wrong = record("GTTA", place=("chr1", 2, "+"))
    wrong.id = "wrong"
    nowhere = record("GTTA")
    assert strangers(GENOME, [*records, masked, nowhere]) == {"checked": 3, "mismatches": 0, "first": None}
    assert strangers(GENOME, [masked, wrong, wrong]) == {"checked": 3, "mismatches": 2, "first": "wrong"}


@pytest.mark.parametrize(
    ("place", "error"), [(("chr2", 2, "+"), UnknownChromosomeError), (("chr1", 14, "+"), OutOfRangeError)]
)
def test_a_place_outside_the_genome_is_refused(place, error):
    with pytest.raises(error):
        strangers(GENOME, [record("GTTA", place=place)])


def test_a_shuffled_record_lies_nowhere():
    genome = Genome({"c": "ACGTTGCAACGGTTAACC"})
    windows = [record("ACGTTG", place=("c", 0, "+")), record("TTGCAA", place=("c", 3, "+"))]
    for one in windows:
        one.annotations["strategy"] = "shuffle"
    assert strangers(genome, windows)["checked"] == 0
    assert overlaps({"train": windows[:1], "test": windows[1:]}) is None
