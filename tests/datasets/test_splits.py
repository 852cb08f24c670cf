"""Splits tile the genome; parts are told by place."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.splits import assign, split_genome
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
