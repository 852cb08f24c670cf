"""Records counted by part and class."""

from __future__ import annotations

from collections import Counter

import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.counts import class_counts, counts_table


def records(said):
    keys = ("label", "split")
    return [
        SeqRecord(Seq("A"), annotations={k: v for k, v in zip(keys, pair, strict=True) if v is not None})
        for pair in said
    ]


pairs = st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.sampled_from(["train", "valid", "test", None]))


@given(st.lists(pairs, max_size=30), st.integers(1, 5))
def test_every_record_is_counted_once(said, most):
    counts = class_counts(iter(records(said)))
    found = {(label, split): n for split, part in counts.items() for label, n in part.items() if n}
    assert found == Counter((label or "no label", split or "no split") for label, split in said)
    assert [*counts] == [
        name for name in ("train", "valid", "test", "no split") if any((s or "no split") == name for _, s in said)
    ]
    lines = counts_table(records(said), most=most).splitlines()
    assert len(lines) <= most + 4
    if said:
        total = next(line for line in lines if line.startswith("all "))
        assert int(total.split()[-1]) == len(said)


def test_a_few_classes_are_all_shown():
    said = [("a", "train")] * 1200 + [("b", "train")] * 3 + [("a", "test")]
    assert counts_table(records(said)).splitlines() == [
        "class  train  test    all",
        "a      1,200     1  1,201",
        "b          3     0      3",
        "all    1,203     1  1,204",
    ]


def test_the_small_ones_of_many_classes_are_summed_up():
    said = [(f"c{n:04}", "train") for n in range(1500)] + [("c0007", "train"), ("c0009", "test"), ("c0008", "test")]
    assert counts_table(records(said), most=2).splitlines() == [
        "class         train  test    all",
        "c0007             2     0      2",
        "c0008             1     1      2",
        "1,498 others  1,498     1  1,499",
        "all           1,501     2  1,503",
        "classes       1,500     2  1,500",
    ]


@pytest.mark.parametrize("most", [1, 20])
def test_no_records_make_a_table_all_the_same(most):
    assert class_counts([]) == {}
    assert counts_table([], most=most) == "class\nall"
