"""Splits tile the genome; parts are told by place."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.counts import class_counts
from genomic_ulmfit.datasets.homology import KmerSet, homology_groups
from genomic_ulmfit.datasets.splits import assign, split_genome, split_records
from genomic_ulmfit.errors import DatasetError, OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.intervals import Interval

YEAST = dict(
    zip(
        [f"chr{n}" for n in range(1, 17)],
        [
            230218,
            813184,
            316620,
            1531933,
            576874,
            270161,
            1090940,
            562643,
            439888,
            745751,
            666816,
            1078177,
            924431,
            784333,
            1091291,
            948066,
        ],
        strict=True,
    )
)

sizes = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 3_000_000), min_size=1)
fractions = st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)).map(
    lambda parts: tuple(share / sum(parts) for share in parts)
)


def lengths(regions):
    totals = dict.fromkeys(("train", "valid", "test"), 0)
    for region in regions:
        totals[region.name] += region.length
    return totals


def tiles(regions, chrom_sizes):
    reached = dict.fromkeys(chrom_sizes, 0)
    for region in regions:
        if region.start != reached[region.chrom] or region.length <= 0:
            return False
        reached[region.chrom] = region.end
    return reached == dict(chrom_sizes)


@given(sizes, fractions, st.sampled_from(["chromosome", "region", "none"]), st.integers(0, 5))
def test_regions_tile_every_contig(chrom_sizes, fractions, method, seed):
    try:
        regions = split_genome(chrom_sizes, method, fractions=fractions, seed=seed)
    except DatasetError as error:
        assert method == "chromosome" and "split by region" in str(error)
        return
    assert tiles(regions, chrom_sizes)
    assert regions == split_genome(chrom_sizes, method, fractions=fractions, seed=seed)
    if method == "chromosome":
        assert len(regions) == len(chrom_sizes)
        assert {region.name for region in regions} == {
            name for name, share in zip(("train", "valid", "test"), fractions, strict=True) if share
        }


@given(sizes, fractions, st.sampled_from(["chromosome", "region", "none"]), st.integers(1, 50_000))
def test_parts_of_a_contig_are_a_gap_apart_round_the_origin_too(chrom_sizes, fractions, method, gap):
    try:
        tiles = split_genome(chrom_sizes, method, fractions=fractions)
        regions = split_genome(chrom_sizes, method, fractions=fractions, gap=gap)
    except DatasetError as error:
        assert "split by region" in str(error) or "leaves nothing" in str(error)
        return
    longest = max(chrom_sizes.values())
    for chrom, size in chrom_sizes.items():
        stretch, whole = ([r for r in found if r.chrom == chrom] for found in (regions, tiles))
        if size < longest and stretch == [Interval(chrom, 0, size, "train")]:
            assert method != "chromosome" or whole == stretch
            continue
        assert [r.name for r in stretch] == [r.name for r in whole]
        for tile, region in zip(whole, stretch, strict=True):
            assert tile.start <= region.start < region.end <= tile.end
            assert tile == region or tile.name != "test"
        around = stretch[1:] + [stretch[0]._replace(start=stretch[0].start + size)]
        for one, other in zip(stretch, around, strict=True):
            assert other.start - one.end == (gap if one.name != other.name else 0)


def test_a_contig_too_short_for_the_gaps_trains_and_the_longest_is_refused():
    regions = split_genome({"a": 100_000, "b": 14_000}, "region", gap=1500)
    assert [(r.chrom, r.name) for r in regions] == [("a", "train"), ("a", "valid"), ("a", "test"), ("b", "train")]
    assert regions[-1] == Interval("b", 0, 14_000, "train")
    with pytest.raises(DatasetError, match=r"valid region a:.*shorter gap or window"):
        split_genome({"a": 14_000, "b": 13_000}, "region", gap=1500)


def test_a_gap_is_taken_from_train_before_valid_and_never_from_test():
    regions = split_genome({"a": 1000, "b": 800}, test=Interval("a", 600, 700), gap=20)
    assert [tuple(r[:4]) for r in regions] == [
        ("a", 0, 480, "train"),
        ("a", 500, 580, "valid"),
        ("a", 600, 700, "test"),
        ("a", 720, 1000, "train"),
        ("b", 0, 800, "train"),
    ]
    assert assign([Interval("a", 470, 490), Interval("a", 485, 495), Interval("a", 700, 719)], regions) == [None] * 3


@pytest.mark.parametrize("seed", range(5))
def test_dealt_chromosomes_come_near_the_fractions(seed):
    totals = lengths(split_genome(YEAST, seed=seed))
    shares = np.array(list(totals.values())) / sum(YEAST.values())
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.03


def test_the_seed_deals_otherwise():
    assert len({tuple(split_genome(YEAST, "chromosome", seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("chrom_sizes", "chosen"),
    [
        (YEAST, "chromosome"),
        ({"a": 2_000_000, "b": 2_000_000, "c": 1_000_000}, "region"),
        ({"a": 2_000_000, "b": 2_000_000, "c": 1_000_001}, "chromosome"),
        ({"chr": 4_641_652}, "region"),
    ],
)
def test_the_method_follows_from_the_genome_and_is_logged(chrom_sizes, chosen, caplog):
    with caplog.at_level(logging.INFO):
        assert split_genome(chrom_sizes) == split_genome(chrom_sizes, chosen)
    assert f"split by {chosen}: train" in caplog.text


def test_stretches_of_a_contig_are_train_then_valid_then_test():
    regions = split_genome({"chr": 1000, "plasmid": 99}, "region", fractions=(0.7, 0.2, 0.1))
    assert [tuple(region[:4]) for region in regions] == [
        ("chr", 0, 700, "train"),
        ("chr", 700, 900, "valid"),
        ("chr", 900, 1000, "test"),
        ("plasmid", 0, 99, "train"),
    ]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ((600, 700), [(0, 500, "train"), (500, 600, "valid"), (600, 700, "test"), (700, 1000, "train")]),
        ((0, 100), [(0, 100, "test"), (100, 200, "valid"), (200, 1000, "train")]),
        ((900, 1000), [(0, 800, "train"), (800, 900, "valid"), (900, 1000, "test")]),
    ],
)
def test_a_named_stretch_is_held_out_and_valid_lies_next_to_it(test, expected):
    regions = split_genome({"a": 1000, "b": 800}, test=Interval("a", *test))
    assert [(r.start, r.end, r.name) for r in regions if r.chrom == "a"] == expected
    assert [r[:4] for r in regions if r.chrom == "b"] == [("b", 0, 800, "train")]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "homologous"}, DatasetError, "is not one of chromosome, region, none"),
        ({"method": "chromosome"}, DatasetError, "needs as many contigs"),
        ({"fractions": (0.8, 0.1, 0.2)}, DatasetError, "add up to 1"),
        ({"fractions": (0.0, 0.5, 0.5)}, DatasetError, "add up to 1"),
        ({"fractions": (0.8, 0.2)}, DatasetError, "add up to 1"),
        ({"test": Interval("b", 0, 10)}, UnknownChromosomeError, "'b'"),
        ({"test": Interval("a", 900, 1001)}, OutOfRangeError, "1000 bp"),
        ({"test": Interval("a", 50, 960)}, DatasetError, "leaves 50 bp"),
        ({"gap": -1}, DatasetError, "can't be negative"),
        ({"gap": 100}, DatasetError, "leaves nothing of the valid region a:801-900"),
        ({"test": Interval("a", 0, 10), "method": "chromosome"}, DatasetError, "goes with the split by region"),
    ],
)
def test_what_cannot_be_split_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        split_genome({"a": 1000}, **options)


def test_an_empty_genome_is_refused():
    with pytest.raises(DatasetError, match="no sequence"):
        split_genome({})


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 300)), max_size=20))
def test_a_part_holds_an_interval_whole_or_not_at_all(places):
    regions = split_genome({"a": 1000, "b": 600}, "region")
    intervals = [Interval("ab"[start % 2], start, start + length) for start, length in places]
    for interval, name in zip(intervals, assign(intervals, regions), strict=True):
        holding = [
            r.name for r in regions if r.chrom == interval.chrom and r.start <= interval.start and interval.end <= r.end
        ]
        assert [name] == (holding or [None])


def test_neighbours_of_one_part_have_no_border_between_them():
    regions = [Interval("a", 50, 100, "train"), Interval("a", 0, 50, "train"), Interval("a", 100, 150, "test")]
    assert assign([Interval("a", 40, 60), Interval("a", 90, 110), Interval("z", 0, 1)], regions) == [
        "train",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "regions",
    [[Interval("a", 0, 50, "dev")], [Interval("a", 0, 50, "train"), Interval("a", 49, 60, "test")]],
)
def test_regions_that_are_no_split_are_refused(regions):
    with pytest.raises(DatasetError, match="region"):
        assign([], regions)


# Records --------------------------------------------------------------------------------------------------------------


def record(number, text="ACGT", **annotations):
    return SeqRecord(Seq(text), id=f"r{number}", description="a remark", annotations=annotations)


def relatives(n, seed, most=6):
    """Records in families: windows, either strand, of one stretch of random letters each."""
    rng = np.random.default_rng(seed)
    records = []
    while len(records) < n:
        stretch = Seq("".join(rng.choice(list("ACGT"), 120)))
        for at in rng.integers(0, 40, rng.integers(1, most + 1)):
            window = stretch[at : at + 80]
            text = window if rng.random() < 0.5 else window.reverse_complement()
            records.append(record(len(records), text, label="ab"[rng.random() < 0.3]))
    return [records[at] for at in rng.permutation(len(records))]


def splits(records):
    return [r.annotations["split"] for r in records]


def of(records, split):
    return [r.seq for r in records if r.annotations["split"] == split]


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_a_split_by_homology_share_no_kmer_and_come_near_the_fractions(seed):
    given_records = relatives(500, seed)
    found = split_records(given_records, seed=seed)
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not KmerSet(of(found, one)).hits(of(found, other)).any()
    for part, fraction in zip(class_counts(found).values(), (0.8, 0.1, 0.1), strict=True):
        for label, n in class_counts(given_records)["no split"].items():
            assert abs(part[label] - fraction * n) <= 3


methods = st.sampled_from(["homology", "random", "group"])


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 8)), min_size=3, max_size=40), methods, st.integers(0, 3)
)
def test_every_record_is_in_one_part_and_groups_are_whole(said, method, seed):
    texts = ["".join(np.random.default_rng(group).choice(list("ACGT"), 40)) for _, group in said]
    records = [record(i, texts[i], label=label, group=str(group)) for i, (label, group) in enumerate(said)]
    n_groups = len(records) if method == "random" else len({group for _, group in said})
    if n_groups < 3:
        with pytest.raises(DatasetError, match=f"the records make {n_groups} groups, too few for 3 parts"):
            split_records(records, method, seed=seed)
        return
    found = split_records(iter(records), method, seed=seed)
    assert [(r.id, str(r.seq), r.description) for r in found] == [(r.id, str(r.seq), r.description) for r in records]
    assert all("split" not in r.annotations for r in records)
    assert set(splits(found)) == {"train", "valid", "test"}
    assert splits(found) == splits(split_records(records, method, seed=seed))
    if method != "random":
        assert len({(r.annotations["group"], r.annotations["split"]) for r in found}) == n_groups


def test_the_largest_group_trains_and_its_share_is_told(caplog):
    family = relatives(1, 5)[0].seq
    records = [record(i, family) for i in range(30)] + relatives(30, 6, most=1)
    with caplog.at_level(logging.INFO):
        found = split_records(records, fractions=(0.4, 0.3, 0.3))
    assert set(splits(found)[:30]) == {"train"}
    assert homology_groups(r.seq for r in records).largest == 0.5
    assert "60 records are 31 groups that share 25-mers; the largest, 50.0% of them, trains" in caplog.text
    assert "50.0% of the records are one group and train: valid and test get less than asked" in caplog.text


def test_the_seed_divides_otherwise():
    records = relatives(60, 0)
    assert len({tuple(splits(split_records(records, "random", seed=seed))) for seed in range(4)}) == 4


def test_a_split_that_is_given_is_kept():
    records = [record(0, split="test", label="a"), record(1, split="train", label="b")]
    found = split_records(records, "given")
    assert splits(found) == ["test", "train"] and found[0] is not records[0]


def test_a_thousand_small_classes_are_in_all_parts_and_what_is_too_small_trains(caplog):
    records = [record(i, label=f"genus {i // 10}") for i in range(10_000)]
    counts = class_counts(split_records(records, "random"))
    assert [set(part.values()) for part in counts.values()] == [{8}, {1}, {1}]
    assert "not in all parts" not in caplog.text
    rare = [record(i, label="rare") for i in range(2)]
    counts = class_counts(split_records(rare + records[:200], "random"))
    assert [part["rare"] for part in counts.values()] == [2, 0, 0]
    assert "1 of 21 classes are not in all parts" in caplog.text


@pytest.mark.parametrize(
    ("method", "annotations", "message"),
    [
        ("by homology", {}, "split 'by homology' is not one of homology, random, group, given"),
        ("group", {}, r"record 2 \('r1'\) has no group; wanted group=NAME in its description"),
        ("given", {}, r"record 2 \('r1'\) has no split"),
        ("given", {"split": "dev"}, "record 'r1' is in split 'dev', which is not one of train, valid, test"),
    ],
)
def test_records_that_cannot_be_divided_so_are_refused(method, annotations, message):
    with pytest.raises(DatasetError, match=message):
        split_records([record(0, group="g", split="train"), record(1, **annotations)], method)


def test_records_and_fractions_that_make_no_parts_are_refused():
    with pytest.raises(DatasetError, match="0 groups"):
        split_records([])
    with pytest.raises(DatasetError, match="add up to 1"):
        split_records([record(0)], "random", fractions=(0.5, 0.1, 0.1))
    assert splits(split_records([record(0)], "random", fractions=(1.0, 0.0, 0.0))) == ["train"]
