from __future__ import annotations

import gzip

import pandas as pd
import pybedtools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_ulmfit.errors import FileFormatError, OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.algebra import (
    complement,
    count_overlaps,
    intersect,
    merge,
    overlapping,
    pad,
    subtract,
    to_bedtool,
    to_pyranges,
)
from genomic_ulmfit.genome.intervals import Interval, RegionError, read_aliases, read_intervals, tile
from genomic_ulmfit.genome.sequences import Genome

SIZES = {"chr1": 100, "chr10": 80, "chr2": 60}
HLA = "HLA-A*01:01:01:01"


@st.composite
def intervals(draw, sizes=SIZES):
    chrom = draw(st.sampled_from(list(sizes)))
    start = draw(st.integers(0, sizes[chrom] - 1))
    return Interval(chrom, start, draw(st.integers(start + 1, sizes[chrom])), strand=draw(st.sampled_from("+-.")))


# Names and regions


def test_id_is_0_based_and_region_is_1_based():
    interval = Interval("chr1", 999, 1249, strand="-")
    assert (interval.length, interval.id, interval.region) == (250, "chr1:999-1249(-)", "chr1:1000-1249")
    assert Interval("chr1", 999, 1249).id == "chr1:999-1249(.)"


@given(intervals({"chr1": 10**9, HLA: 3503}))
def test_region_round_trips(interval):
    expected = interval._replace(strand=".")
    assert Interval.from_region(interval.region) == expected
    assert Interval.from_region(f"{interval.chrom}:{interval.start + 1:,}-{interval.end:,}") == expected


def test_region_without_an_end_or_coordinates_goes_to_the_chromosome_end():
    assert Interval.from_region("chr1:11-", SIZES)[:3] == ("chr1", 10, 100)
    assert Interval.from_region("chr1", SIZES)[:3] == ("chr1", 0, 100)
    assert Interval.from_region(HLA, {HLA: 3503})[:3] == (HLA, 0, 3503)
    assert Interval.from_region(f"{HLA}:5-10", {HLA: 3503})[:3] == (HLA, 4, 10)


@pytest.mark.parametrize("text", ["chr1", "chr1:5", "chr1:5-", "chr1:0-5", "chr1:9-5", "chr1:a-b", ":1-2", "", HLA])
def test_region_that_cannot_be_read_is_refused(text):
    with pytest.raises(RegionError, match="region"):
        Interval.from_region(text)


def test_region_is_checked_against_the_chromosomes():
    with pytest.raises(UnknownChromosomeError, match="'1' is not in the genome, which has 'chr1'"):
        Interval.from_region("1:5-10", SIZES)
    with pytest.raises(UnknownChromosomeError):
        Interval.from_region("chr3", SIZES)
    with pytest.raises(OutOfRangeError):
        Interval.from_region("chr1:90-101", SIZES)


def test_window_has_the_first_base_at_index_upstream():
    plus, minus = Interval("chr1", 1000, 1010, strand="+"), Interval("chr1", 1000, 1010, strand="-")
    assert (plus.first, minus.first) == (1000, 1009)
    assert plus.window(200, 50)[1:3] == (800, 1050)
    assert minus.window(200, 50)[1:3] == (960, 1210)


def test_tile_keeps_to_the_interval():
    assert [i[1:3] for i in tile(Interval("c", 10, 20), 4, 3)] == [(10, 14), (13, 17), (16, 20)]
    assert tile(Interval("c", 10, 13), 4, 1) == []
    assert tile(Interval("c", 0, 4, "n", 0.5, "-"), 4, 1) == [Interval("c", 0, 4, "n", 0.5, "-")]
    with pytest.raises(ValueError, match="at least 1"):
        tile(Interval("c", 0, 4), 4, 0)


# Reading


def _write(path, text):
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chr1\t5\t9\n", Interval("chr1", 5, 9)),
        ("chr1 5 9 name 7.5 -\n", Interval("chr1", 5, 9, "name", 7.5, "-")),
        (
            "#c\n\ntrack name=x\nbrowser position\nchr1\t5\t9\tn\t.\t+\t5\t9\t0\t1\t4,\t0,\n",
            Interval("chr1", 5, 9, "n", 0, "+"),
        ),
        ("chrom\tstart\tend\nchr1\t5\t9\n", Interval("chr1", 5, 9)),
        ("chr1\t5\t9\t\r\n", Interval("chr1", 5, 9)),
        ("chr1\t5\t9", Interval("chr1", 5, 9)),
        (f"{HLA}\t1\t100\n", Interval(HLA, 1, 100)),
        ("chr1\t9\t9\n", Interval("chr1", 9, 9)),
        ("1\t123\t30000000000\n", Interval("1", 123, 30_000_000_000)),
        ("chr1\t5\t9\t.\t0\t.\t182\t5.09\t-1\t2\n", Interval("chr1", 5, 9)),
        ("chr1\t5\t9\tname with blanks\n", Interval("chr1", 5, 9, "name with blanks")),
    ],
)
@pytest.mark.parametrize("suffix", ["bed", "bed.gz"])
def test_bed_rows(tmp_path, text, expected, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix == "bed.gz" else text.encode())
    assert read_intervals(path) == [expected]


def test_empty_bed_has_no_intervals(tmp_path):
    assert read_intervals(_write(tmp_path / "x.bed", "")) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\t5", "at least 3 columns, got 2"),
        ("chr1\tx\t9", "must be integers, got 'x' and '9'"),
        ("chr1\t5.0\t9", "must be integers"),
        ("chr1\t9\t5", "start 9 and end 5"),
        ("chr1\t-1\t5", "start -1"),
        ("chr1\t1\t5\tn\t0\t11", "strand must be"),
        ("chr1\t1\t5\tn\twhy?", "score must be a number, got 'why\\?'"),
    ],
)
def test_malformed_bed_is_refused_with_file_and_line(tmp_path, row, message):
    path = _write(tmp_path / "x.bed", f"# comment\nchr1\t1\t2\n{row}\n")
    with pytest.raises(FileFormatError, match=message) as caught:
        read_intervals(path)
    assert (caught.value.path, caught.value.line) == (str(path), 3)


def test_missing_file_and_other_things_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_intervals(tmp_path / "none.bed")
    with pytest.raises(TypeError, match="wanted an Interval"):
        read_intervals([("chr1", 1, 2)])
    with pytest.raises(TypeError, match="no column for end"):
        read_intervals(pd.DataFrame({"chrom": ["a"], "start": [1]}))
    with pytest.raises(FileFormatError, match="row 0"):
        read_intervals(pd.DataFrame({"chrom": ["a"], "start": [3], "end": [1]}))


def test_tables_and_ranges_read_back_what_they_were_made_of(tmp_path):
    expected = [Interval("chr2", 5, 9, "a", 0.5, "-"), Interval("chr2", 1, 2, "b", 0.0, "-")]
    assert read_intervals(expected) == expected
    assert read_intervals(iter(expected)) == expected
    assert read_intervals(to_pyranges(expected)) == expected
    assert read_intervals(to_pyranges(expected).df) == expected
    assert read_intervals(to_bedtool(expected)) == expected
    assert read_intervals(pd.DataFrame(expected)) == expected
    bed = _write(tmp_path / "x.bed", "chr2\t5\t9\n")
    assert read_intervals(pybedtools.BedTool(str(bed))) == [Interval("chr2", 5, 9)]
    assert read_intervals(to_pyranges([])) == read_intervals(to_bedtool([])) == []


def test_aliases_replace_names(tmp_path):
    path = _write(tmp_path / "alias.txt", "# alias\tchrom\nchr20\t20\tucsc\nNC_000020.10 20\n")
    assert read_aliases(path) == {"chr20": "20", "NC_000020.10": "20"}
    assert read_intervals([Interval("chr20", 1, 2), Interval("21", 1, 2)], aliases=path)[0].chrom == "20"
    assert read_aliases(None) == {}
    with pytest.raises(FileFormatError, match="line 1"):
        read_aliases(_write(tmp_path / "bad.txt", "chr20\n"))
    with pytest.raises(FileFormatError, match="stands for '20' and for '21'"):
        read_aliases(_write(tmp_path / "bad.txt", "chr20\t20\nchr20\t21\n"))


# Algebra


def _bedtool(found):
    return to_bedtool(found).sort()


def _plain(bedtool):
    return sorted((feature.chrom, feature.start, feature.end) for feature in bedtool)


def _bare(found):
    return sorted(interval[:3] for interval in found)


@pytest.mark.usefixtures("needs_bedtools")
@settings(max_examples=15)
@given(st.lists(intervals(), min_size=1, max_size=12), st.lists(intervals(), min_size=1, max_size=12))
def test_algebra_agrees_with_bedtools(a, b):
    assert _bare(merge(a)) == _plain(_bedtool(a).merge())
    assert _bare(subtract(a, b)) == _plain(_bedtool(a).merge().subtract(_bedtool(b)))
    genome = {chrom: (0, size) for chrom, size in SIZES.items()}
    assert _bare(complement(a, SIZES)) == _plain(_bedtool(a).sort(g=_sizes_file()).complement(g=_sizes_file()))
    assert _bare(pad(a, 7, SIZES)) == _plain(to_bedtool(a).slop(b=7, genome=genome))
    expected = [i for i, hit in zip(a, to_bedtool(a).intersect(to_bedtool(b), c=True), strict=True) if int(hit[-1])]
    assert overlapping(a, b) == expected
    expected = to_bedtool(a).intersect(_bedtool(b).merge())
    assert sorted(i[:4] for i in intersect(a, b)) == sorted((f.chrom, f.start, f.end, f.name) for f in expected)


def _sizes_file():
    return pybedtools.BedTool("\n".join(f"{c}\t{s}" for c, s in SIZES.items()), from_string=True).fn


def test_algebra_of_nothing():
    one = [Interval("chr1", 0, 5)]
    assert (
        merge([])
        == subtract([], one)
        == overlapping([], one)
        == overlapping(one, [])
        == intersect([], one)
        == intersect(one, [])
        == []
    )
    assert subtract(one, []) == one
    assert _bare(complement([], SIZES)) == sorted((chrom, 0, size) for chrom, size in SIZES.items())
    assert complement([Interval(chrom, 0, size) for chrom, size in SIZES.items()], SIZES) == []


def test_algebra_keeps_the_order_of_chromosomes():
    assert [i.chrom for i in complement([], SIZES)] == ["chr1", "chr10", "chr2"]
    assert [i.chrom for i in merge([Interval("z", 0, 1), Interval("a", 0, 1)])] == ["z", "a"]


def test_parts_keep_the_name_and_strand_of_their_interval_and_its_place_in_the_list():
    genes = [Interval("b", 0, 100, "late", 2.0, "-"), Interval("a", 0, 50, "early", 1.0, "+")]
    parts = intersect(genes, [Interval("a", 40, 90), Interval("b", 60, 70), Interval("b", 10, 20)])
    assert parts == [
        Interval("b", 10, 20, "late", 2.0, "-"),
        Interval("b", 60, 70, "late", 2.0, "-"),
        Interval("a", 40, 50, "early", 1.0, "+"),
    ]


def test_chromosomes_past_32_bits_together_are_kept_apart():
    chroms = [f"c{i}" for i in range(5)]
    whole = [Interval(chrom, 0, 1_000_000_000) for chrom in chroms]
    ends = [Interval(chrom, 999_999_990, 1_000_000_000) for chrom in chroms]
    assert [i[:3] for i in subtract(whole, ends)] == [(chrom, 0, 999_999_990) for chrom in chroms]
    assert merge(whole) == whole and overlapping(ends, ends[4:]) == ends[4:]


def test_intervals_of_length_zero_cover_nothing():
    assert merge([Interval("chr1", 5, 5)]) == []
    assert subtract([Interval("chr1", 0, 9)], [Interval("chr1", 5, 5)]) == [Interval("chr1", 0, 9)]


def test_complement_and_pad_refuse_what_is_not_in_the_genome():
    with pytest.raises(UnknownChromosomeError):
        complement([Interval("1", 0, 5)], SIZES)
    with pytest.raises(UnknownChromosomeError):
        pad([Interval("1", 0, 5)], 5, SIZES)
    with pytest.raises(OutOfRangeError):
        complement([Interval("chr1", 0, 101)], SIZES)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    bed, fasta = tmp_path / "x.bed", tmp_path / "x.fa"
    bed.write_text("chr1\t5\t9\nchr1\t2\t3\n", encoding="utf-8-sig")
    fasta.write_text(">chr1\nACGTACGTAC\n", encoding="utf-8-sig")
    assert [i.chrom for i in read_intervals(bed)] == ["chr1", "chr1"]
    assert Genome(fasta).chrom_sizes == {"chr1": 10}


def test_a_gzip_file_with_damage_inside_is_refused(tmp_path):
    rows = "".join(f"chr1\t{i}\t{i * 7919 % 104729 + 200_000}\n" for i in range(20_000))
    whole = gzip.compress(rows.encode())
    path = tmp_path / "x.bed.gz"
    for at in range(1000, len(whole) - 1000, 4000):
        path.write_bytes(whole[:at] + bytes(400) + whole[at + 400 :])
        with pytest.raises(FileFormatError):
            read_intervals(path)


def test_coordinates_of_a_table_are_integers():
    for start in (5.5, "five", float("nan"), float("inf"), None):
        frame = pd.DataFrame({"chrom": ["chr1"], "start": [start], "end": [9]})
        with pytest.raises(FileFormatError, match="row 0: start and end must be integers"):
            read_intervals(frame)
    frame = pd.DataFrame({"chrom": ["chr1", "chr1"], "start": ["5", 6.0], "end": [9, "9"]})
    assert read_intervals(frame) == [Interval("chr1", 5, 9), Interval("chr1", 6, 9)]


def test_what_starts_below_0_is_no_place_on_a_line():
    with pytest.raises(ValueError, match="chr2:-5-10 starts below 0"):
        merge([Interval("chr1", 0, 100), Interval("chr2", -5, 10)])


@given(st.lists(intervals(), max_size=6), st.lists(intervals(), max_size=6))
def test_counts_of_overlaps_are_those_of_brute_force(those, others):
    expected = [sum(i.chrom == o.chrom and i.start < o.end and o.start < i.end for o in others) for i in those]
    assert count_overlaps(those, others) == expected
