from __future__ import annotations

import builtins
from itertools import pairwise

import numpy as np
import pybedtools
import pyBigWig
import pyranges
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_ulmfit.errors import (
    FileFormatError,
    MissingDependencyError,
    OutOfRangeError,
    SettingError,
    UnknownChromosomeError,
)
from genomic_ulmfit.genome.blocks import rescale
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.tracks import ScoreBlock, advise_bigwig, open_track, track_line, write_track

SIZES = {"chr2": 1000, "chr10": 500}


def _block(scores, start=0, step=10, end=None, chrom="chr2", strand="."):
    scores = np.array(scores, dtype=np.float32)
    return ScoreBlock(chrom, start, step, scores, start + step * len(scores) if end is None else end, strand)


@st.composite
def tracks(draw):
    """Give sorted blocks of all chromosomes, with gaps between and within them."""
    blocks = []
    for chrom, size in SIZES.items():
        position = 0
        while (start := position + draw(st.integers(0, 40))) < size and draw(st.booleans()):
            end, step = draw(st.integers(start + 1, min(size, start + 120))), draw(st.integers(1, 30))
            n_bins = -((start - end) // step)
            score = st.sampled_from([np.nan, 0.0, -0.0, 0.25, 1.0, 1 / 3, 1e-9, -2.5])
            blocks.append(_block(draw(st.lists(score, min_size=n_bins, max_size=n_bins)), start, step, end, chrom))
            position = end
    return blocks


def _bases(blocks):
    """Score of each base, NaN where there is none."""
    bases = {chrom: np.full(size, np.nan) for chrom, size in SIZES.items()}
    for block in blocks:
        for start, end, score in zip(block.starts, block.ends, block.scores, strict=True):
            bases[block.chrom][start:end] = score
    return bases


def _assert_same(rows, blocks, tolerance):
    found = {chrom: np.full(size, np.nan) for chrom, size in SIZES.items()}
    for chrom, start, end, score in rows:
        assert np.isnan(found[chrom][start:end]).all()
        found[chrom][start:end] = score
    for chrom, expected in _bases(blocks).items():
        np.testing.assert_allclose(found[chrom], expected, rtol=tolerance, atol=1e-12)


# Blocks


def test_bins_of_a_block():
    block = _block([1, 2, 3], start=5, step=10, end=27)
    assert block.starts.tolist() == [5, 15, 25]
    assert block.ends.tolist() == [15, 25, 27]
    assert (block.scores.dtype, block.starts.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("end", [5, 10, 31, 20])
def test_scores_that_do_not_fit_the_bins_are_refused(end):
    with pytest.raises(ValueError, match=r"bins|wanted"):
        _block([1, 2, 3], start=5 if end == 5 else 0, end=end)


# bedGraph


def test_bedgraph_by_hand(tmp_path):
    blocks = [_block([0.5, 0.5, np.nan, -0.0, 1 / 3], end=45), _block([1 / 3], 45, 5), _block([1], chrom="chr10")]
    path = write_track(blocks, tmp_path / "x.bedgraph")
    expected = "chr2\t0\t20\t0.5\nchr2\t30\t40\t0\nchr2\t40\t50\t0.333333\nchr10\t0\t10\t1\n"
    assert path.read_bytes() == expected.encode()


@settings(max_examples=40)
@given(tracks())
def test_bedgraph_is_sorted_without_overlap_inside_the_chromosome_and_reads_back(tmp_path_factory, blocks):
    path = write_track(blocks, tmp_path_factory.mktemp("t") / "x.bg", chrom_sizes=SIZES)
    rows = [(f.chrom, f.start, f.end, float(f.name)) for f in pybedtools.BedTool(str(path))]
    assert rows == sorted(rows, key=lambda row: (list(SIZES).index(row[0]), row[1]))
    assert all(start < end <= SIZES[chrom] for chrom, start, end, _ in rows)
    for before, after in pairwise(rows):
        assert before[0] != after[0] or before[2] < after[1] or (before[2] == after[1] and before[3] != after[3])
    _assert_same(rows, blocks, 1e-5)
    if rows:
        table = pyranges.read_bed(str(path)).df
        _assert_same(zip(table.Chromosome, table.Start, table.End, table.Name.astype(float), strict=True), blocks, 1e-5)


def test_the_cut_into_blocks_leaves_no_trace(tmp_path):
    scores = np.random.default_rng(0).random(20).round(1)
    whole = write_track([_block(scores)], tmp_path / "a.bedgraph")
    parts = write_track([_block(scores[:7]), _block(scores[7:], 70)], tmp_path / "b.bedgraph")
    again = write_track([_block(scores)], tmp_path / "c.bedgraph.gz")
    once_more = write_track([_block(scores)], tmp_path / "d.bedgraph.gz")
    assert whole.read_bytes() == parts.read_bytes()
    assert again.read_bytes() == once_more.read_bytes()


def test_intervals_count_as_blocks_of_one_bin(tmp_path):
    path = write_track([Interval("chr2", 5, 9, score=0.5), Interval("chr2", 9, 12, score=2)], tmp_path / "x.bdg")
    assert path.read_text() == "chr2\t5\t9\t0.5\nchr2\t9\t12\t2\n"


def test_what_starts_below_0_is_refused(tmp_path):
    for item in (Interval("chr2", -300, 250), Interval("chr2", -300, -250)):
        with pytest.raises(OutOfRangeError):
            write_track([item], tmp_path / "x.bed", chrom_sizes=SIZES)
    assert not list(tmp_path.iterdir())


def test_positions_past_512_mb_get_an_index_that_can_hold_them(tmp_path, capfd):
    path = tmp_path / "x.bedgraph.gz"
    write_track([_block(np.arange(3))], path)
    write_track([_block(np.arange(3), start=600_000_000, chrom="3B")], path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bedgraph.gz", "x.bedgraph.gz.csi"]
    with pysam.TabixFile(str(path), index=f"{path}.csi") as tabix:
        assert list(tabix.fetch("3B", 600_000_005, 600_000_006)) == ["3B\t600000000\t600000010\t0"]
    assert capfd.readouterr().err == ""
    write_track([_block(np.arange(3))], path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bedgraph.gz", "x.bedgraph.gz.tbi"]


def test_bgzipped_bedgraph_answers_tabix(tmp_path):
    blocks = [_block(np.arange(100)), _block(np.arange(50), chrom="chr10")]
    path = write_track(blocks, tmp_path / "x.bedgraph.gz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bedgraph.gz", "x.bedgraph.gz.tbi"]
    with pysam.TabixFile(str(path)) as tabix:
        assert list(tabix.fetch("chr10", 95, 111)) == [
            "chr10\t90\t100\t9",
            "chr10\t100\t110\t10",
            "chr10\t110\t120\t11",
        ]


def test_tracks_without_any_answer(tmp_path):
    assert write_track([_block([np.nan])], tmp_path / "x.bedgraph").read_text() == ""
    assert write_track([], tmp_path / "y.bedgraph.gz").exists()
    assert write_track([], tmp_path / "z.bed").read_text() == ""
    with pyBigWig.open(str(write_track([_block([np.nan])], tmp_path / "x.bw", chrom_sizes=SIZES))) as track:
        assert track.chroms() == SIZES


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([_block([1], 10), _block([1], 0)], "starts before 20"),
        ([_block([1, 1]), _block([1], 10, strand="-")], "one strand a file"),
        ([_block([1]), _block([1], chrom="chr10"), _block([1], 10)], "must come in one piece"),
        ([_block([np.inf])], "infinite"),
    ],
)
@pytest.mark.parametrize("name", ["x.bedgraph", "x.bedgraph.gz", "x.bw"])
def test_what_no_sorted_file_can_hold_is_refused_and_nothing_is_left(tmp_path, blocks, message, name):
    with pytest.raises(FileFormatError, match=message):
        write_track(blocks, tmp_path / name, chrom_sizes=SIZES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.bedgraph", "x.bw", "x.bed"])
def test_what_lies_outside_the_chromosomes_is_refused(tmp_path, name):
    with pytest.raises(OutOfRangeError, match="1000 bp"):
        write_track([Interval("chr2", 990, 1001)], tmp_path / name, chrom_sizes=SIZES)
    with pytest.raises(UnknownChromosomeError, match="'2' is not in"):
        write_track([Interval("2", 0, 10)], tmp_path / name, chrom_sizes=SIZES)
    assert list(tmp_path.iterdir()) == []


def test_formats_and_folders_are_refused(tmp_path):
    for name in ("x", "x.txt", "x.gz"):
        with pytest.raises(FileFormatError, match=r"wanted one of \.bedgraph"):
            write_track([], tmp_path / name)
    with pytest.raises(FileFormatError, match=r"leave \.gz away"):
        write_track([], tmp_path / "x.bw.gz")
    with pytest.raises(FileNotFoundError, match="folder"):
        write_track([], tmp_path / "none" / "x.bed")
    assert write_track([], tmp_path / "x.txt", format="bed").exists()


# BED


def test_bed_is_sorted_and_scores_are_thousandths(tmp_path):
    calls = [
        Interval("chr2", 50, 60, "b", 1.0, "-"),
        Interval("chr10", 5, 9, "c", 0.0, "+"),
        Interval("chr2", 10, 20, "a", 0.1234, "+"),
    ]
    path = write_track(calls, tmp_path / "x.bed")
    assert path.read_text() == "chr2\t10\t20\ta\t123\t+\nchr2\t50\t60\tb\t1000\t-\nchr10\t5\t9\tc\t0\t+\n"
    with pysam.TabixFile(str(write_track(calls, tmp_path / "x.bed.gz"))) as tabix:
        assert list(tabix.fetch("chr2", 55, 56)) == ["chr2\t50\t60\tb\t1000\t-"]


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_bed_scores_outside_0_to_1_are_refused(tmp_path, score):
    with pytest.raises(FileFormatError, match=r"0\.\.1"):
        write_track([Interval("chr2", 1, 2, score=score)], tmp_path / "x.bed")


def test_blocks_are_no_bed(tmp_path):
    with pytest.raises(FileFormatError, match="call peaks first"):
        write_track([_block([1])], tmp_path / "x.bed")


# bigWig


@settings(max_examples=20)
@given(tracks())
def test_bigwig_reads_back(tmp_path_factory, blocks):
    path = write_track(blocks, tmp_path_factory.mktemp("t") / "x.bw", chrom_sizes=SIZES)
    with pyBigWig.open(str(path)) as track:
        assert track.chroms() == SIZES
        rows = [(chrom, *row) for chrom in SIZES for row in track.intervals(chrom) or ()]
    _assert_same(rows, blocks, 1e-6)


def test_bigwig_needs_sizes_and_their_order(tmp_path):
    with pytest.raises(FileFormatError, match="pass chrom_sizes"):
        write_track([_block([1])], tmp_path / "x.bw")
    with pytest.raises(FileFormatError, match="chr2 comes after chr10"):
        write_track([_block([1], chrom="chr10"), _block([1])], tmp_path / "x.bw", chrom_sizes=SIZES)


def test_missing_pybigwig_says_what_to_install(tmp_path, monkeypatch):
    def without(name, *args, **kwargs):
        if name == "pyBigWig":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"genomic-ulmfit\[bigwig\]"):
        write_track([_block([1])], tmp_path / "x.bw", chrom_sizes=SIZES)


# Streams and scales


def test_one_stream_feeds_several_files_as_each_would_be_written_alone(tmp_path):
    plus, minus = [_block([0.25, 0.5]), _block([0.75], 40)], [_block([1, 1]), _block([0], 40)]
    with open_track(tmp_path / "plus.bg") as write_plus, open_track(tmp_path / "minus.bg.gz") as write_minus:
        for a, b in zip(plus, minus, strict=True):
            write_plus(a)
            write_minus(b)
    assert (tmp_path / "plus.bg").read_bytes() == write_track(plus, tmp_path / "a.bg").read_bytes()
    assert (tmp_path / "minus.bg.gz").read_bytes() == write_track(minus, tmp_path / "b.bg.gz").read_bytes()


@pytest.mark.parametrize("name", ["x.bedgraph", "x.bedgraph.gz", "x.bw"])
def test_a_stream_that_breaks_leaves_no_file(tmp_path, name):
    with pytest.raises(RuntimeError, match="power"), open_track(tmp_path / name, chrom_sizes=SIZES) as write:
        write(_block([1]))
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_holds_no_calls(tmp_path):
    with pytest.raises(FileFormatError, match="not blocks of scores"), open_track(tmp_path / "x.bed"):
        pass


def test_a_track_line_has_labels_without_quotes():
    assert track_line("a") == 'track type=bedGraph name="a" description="a" alwaysZero=on autoScale=on'
    with pytest.raises(ValueError, match="no double quote"):
        track_line('5" oven')


@pytest.mark.parametrize(
    ("name", "n_bins", "warned"), [("x.bg", 50_000_001, 1), ("x.bg", 50_000_000, 0), ("x.bw", 10**9, 0)]
)
def test_bigwig_is_advised_for_very_many_bins(caplog, name, n_bins, warned):
    advise_bigwig(name, n_bins)
    assert len(caplog.records) == warned
    assert all("bigWig" in record.getMessage() for record in caplog.records)


_P = st.floats(0, 1, width=32)


@given(st.lists(_P, min_size=1, max_size=20))
def test_scales_keep_the_order_and_are_finite(scores):
    block = _block(scores)
    for scale in ("probability", "log-odds", "-log10"):
        (scaled,) = rescale([block], scale)
        assert np.isfinite(scaled.scores).all()
        order = np.argsort(block.scores)
        assert (np.diff(scaled.scores[order]) >= 0).all()


@given(st.lists(st.floats(2**-20, 1 - 2**-20, width=32), min_size=1, max_size=20))
def test_scales_are_their_formulas(scores):
    p = np.array(scores, dtype=np.float32).astype(float)
    (odds,), (minus_log,) = rescale([_block(scores)], "log-odds"), rescale([_block(scores)], "-log10")
    np.testing.assert_allclose(odds.scores, np.log(p) - np.log1p(-p), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(minus_log.scores, -np.log10(1 - p), rtol=1e-5, atol=1e-6)


def test_no_answer_stays_none_on_every_scale():
    assert np.isnan(next(rescale([_block([np.nan])], "log-odds")).scores).all()


def test_what_is_no_probability_is_not_rescaled():
    with pytest.raises(SettingError, match=r"outside 0\.\.1"):
        list(rescale([_block([1.5])], "log-odds"))
    with pytest.raises(SettingError, match="wanted one of"):
        rescale([], "percent")
