"""What BED rows with more columns say of a TSS: UCSC's table of EPDnew, and the summits of narrowPeak."""

from __future__ import annotations

import gzip
import logging

import pytest

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.genome.intervals import read_intervals
from genomic_ulmfit.genome.tss import read_tss

# Made by hand, in the layout of hg38's table epdNewPromoter; for the places of the TSSs see test_tss.py.
NAMES = ["chrom", "chromStart", "chromEnd", "name", "score", "strand", "thickStart", "thickEnd"]
BOXES = [
    ["chr1", "950", "1010", "one_1", "900", "+", "999", "1010"],
    ["chr1", "1989", "2049", "two_1", "900", "-", "1989", "2000"],
]
# The summit, column 10, is counted from the start on both strands; -1 says that there is none.
PEAKS = [
    "chr1 100 300 a 0 + 5.5 3 -1 50\n",
    "chr1 100 300 b 0 - 5.5 3 -1 50\n",
    "chr1 100 300 c 0 - 182 5 -1 -1\n",
    "chr1 100 300 d 0 + 120 2e2 -1 199\n",
]


def _write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
@pytest.mark.parametrize("prefix", ["", "hg38.epdNewPromoter."])
@pytest.mark.parametrize("mark", ["#", ""])
@pytest.mark.parametrize("has_bin", [False, True])
def test_ucsc_table_export_is_read_as_epdnew(tmp_path, has_bin, mark, prefix, name, caplog):
    table = [[prefix + column for column in ["bin"] * has_bin + NAMES]] + [["585"] * has_bin + row for row in BOXES]
    path = _write(tmp_path / name, mark + "".join("\t".join(row) + "\n" for row in table))
    with caplog.at_level(logging.INFO):
        assert [tss.id for tss in read_tss(path)] == ["chr1:999-1000(+)", "chr1:1999-2000(-)"]
    assert "read as epdnew, 2 starts" in caplog.text
    assert [(interval.name, interval.length) for interval in read_intervals(path)] == [("one_1", 60), ("two_1", 60)]


@pytest.mark.parametrize("name", ["x.bed", "x.bed.gz"])
def test_narrowpeak_tss_is_the_summit(tmp_path, name, caplog):
    path = _write(tmp_path / name, "track type=narrowPeak\n" + "".join(PEAKS))
    with caplog.at_level(logging.INFO):
        starts = read_tss(path)
    assert [(tss.id, tss.name) for tss in starts] == [
        ("chr1:150-151(+)", "a"),
        ("chr1:150-151(-)", "b"),
        ("chr1:299-300(+)", "d"),
    ]
    assert "left out 1 peaks without summit" in caplog.text
    assert "read as narrowpeak, 3 starts" in caplog.text
    assert [tss.start for tss in read_tss(path, format="bed")] == [100, 299, 299, 100]


@pytest.mark.parametrize(
    "row", ["chr1 100 300 a 0 + 120 150 0 7\n", "chr1 100 300 a 0 + 5.5 3 x 7\n", "chr1 100 300 a 0 + 5.5 3 -1 200\n"]
)
def test_other_rows_of_ten_columns_are_plain_bed(tmp_path, row, caplog):
    with caplog.at_level(logging.INFO):
        assert read_tss(_write(tmp_path / "x.bed", row))[0].start == 100
    assert "read as bed, 1 starts" in caplog.text


@pytest.mark.parametrize("columns", range(6, 13))
def test_bed6_to_bed12_give_the_first_base_along_the_strand(tmp_path, columns):
    row = ["chr1", "100", "300", "a", "7", "-", "100", "300", "0", "2", "50,50,", "0,150,"][:columns]
    path = _write(tmp_path / "x.bed", "\t".join(row) + "\n")
    assert [tss.id for tss in read_tss(path)] == ["chr1:299-300(-)"]


@pytest.mark.parametrize(
    ("text", "format", "line", "message"),
    [
        ("chr1 100 300\n", None, 1, "needs a strand"),
        (PEAKS[0] + "chr1 100 300 a 0 . 5.5 3 -1 50\n", None, 2, "peaks without one"),
        ("chr1 100 300 a 0 + 5.5 3 -1 200\n", "narrowpeak", 1, "inside, or -1; got '200'"),
        ("chr1 100 300 a 0 + 5.5 3\n", "narrowpeak", 1, "got 8 columns"),
        (PEAKS[2], None, None, "none of its 1 peaks has a summit"),
    ],
)
def test_rows_that_say_no_tss_are_refused(tmp_path, text, format, line, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        read_tss(_write(tmp_path / "x.bed", text), format=format)
    assert caught.value.line == line
