from __future__ import annotations

import gzip
import logging

import pandas as pd
import pytest
from Bio.Seq import Seq
from Bio.SeqFeature import (
    AfterPosition,
    BeforePosition,
    CompoundLocation,
    SeqFeature,
    SimpleLocation,
    UnknownPosition,
)
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.genome.algebra import to_bedtool, to_pyranges
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.tss import read_genes, read_tss

# Made by hand. The TSS of "one" is base 1,000 (1-based) of the "+" strand: a box of -49..+10 holds bases 951..1010,
# there being no base 0, so the box is 0-based 950..1010 and the TSS 0-based 999. "two" is base 2,000 of the "-" strand:
# its box runs from base 2,049 down to base 1,990+1, so 0-based 1989..2049, and its TSS is 0-based 1999.
EPDNEW = "chr1 950 1010 one_1 900 + 999 1010\nchr1 1989 2049 two_1 900 - 1989 2000\n"
SGA = "NC_1.1\tTSS\t    1000\t+\t1\tone_1\t2\nNC_1.1 TSS 2000 - 1 two_1 2\n"
STARTS = [("chr1", 999, 1000, "one_1", "+"), ("chr1", 1999, 2000, "two_1", "-")]

GFF3 = """\
##gff-version 3
#!comment
chr1\t.\tgene\t101\t400\t.\t+\t.\tID=g1;Name=thr%3BL%20x
chr1\t.\tmRNA\t101\t400\t.\t+\t.\tID=t1;Parent=g1;Name=t1
chr1\t.\tCDS\t301\t350\t.\t+\t0\tID=c1;Parent=t1;gene=thrL
chr1\t.\tCDS\t151\t200\t.\t+\t0\tID=c1;Parent=t1;gene=thrL
chr1\t.\tgene\t500\t900\t.\t-\t.\tID=g2
chr1\t.\tmRNA\t500\t900\t.\t-\t.\tID=t2;Parent=g2
chr1\t.\tCDS\t520\t600\t.\t-\t0\tID=c2a;Parent=t2
chr1\t.\tCDS\t700\t880\t.\t-\t0\tID=c2b;Parent=t2
chr1\t.\tTSS\t77\t77\t.\t-\t.\tID=tss1
chr1\t.\tTSS\t78\t78\t.\t.\t.\tID=no_strand
##FASTA
>chr1
ACGT
"""


def _write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _short(starts):
    return [(tss.chrom, tss.start, tss.end, tss.name, tss.strand) for tss in starts]


# BED and SGA


@pytest.mark.parametrize("name", ["x.bed", "x.bed.gz"])
@pytest.mark.parametrize("separator", [" ", "\t"])
def test_epdnew_tss_is_the_upstream_end_of_the_thick_part(tmp_path, name, separator):
    path = _write(tmp_path / name, EPDNEW.replace(" ", separator))
    assert _short(read_tss(path)) == STARTS
    assert _short(read_tss(path, format="epdnew")) == STARTS


@pytest.mark.parametrize("name", ["x.sga", "x.sga.gz"])
def test_bed_and_sga_of_the_same_tss_agree(tmp_path, name):
    sga = read_tss(_write(tmp_path / name, SGA), aliases={"NC_1.1": "chr1"})
    bed = read_tss(_write(tmp_path / "x.bed", EPDNEW))
    assert sga == [tss._replace(score=0.0) for tss in bed]


def test_format_overrides_the_guess(tmp_path, caplog):
    path = _write(tmp_path / "x.bed", EPDNEW)
    with caplog.at_level(logging.INFO):
        starts = read_tss(path, format="bed")
    assert [tss.start for tss in starts] == [950, 2048]
    assert "read as bed" in caplog.text


def test_bed_tss_is_the_first_base_along_the_strand(tmp_path, caplog):
    text = "chr1\t5\t6\ta\t0\t+\nchr1\t5\t6\tb\t0\t-\nchr1\t5\t90\tc\t0\t+\nchr1\t5\t90\td\t0\t-\n"
    with caplog.at_level(logging.INFO):
        starts = read_tss(_write(tmp_path / "x.bed", text))
    assert [(tss.start, tss.end) for tss in starts] == [(5, 6), (5, 6), (5, 6), (89, 90)]
    assert [tss.name for tss in starts] == list("abcd")
    assert "read as bed, 4 starts" in caplog.text


@pytest.mark.parametrize(
    ("text", "format", "line", "message"),
    [
        ("chr1\t5\t6\n", None, 1, "needs a strand"),
        ("chr1\t5\t6\ta\t0\t.\n", None, 1, "needs a strand"),
        ("chr1\t5\t5\ta\t0\t+\n", None, 1, "length zero"),
        (EPDNEW + "chr1\t5\t6\ta\t0\t+\n", None, 3, "name the format"),
        ("chr1\t5\t6\ta\t0\t+\n", "epdnew", 1, "columns 7 and 8"),
        ("chr1\t5\t65\ta\t0\t+\t70\t80\n", "epdnew", 1, "outside the row"),
        (SGA + "NC_1.1 TSS 0 + 1\n", None, 3, "1-based, got '0'"),
        (SGA + "NC_1.1 TSS 9 0 1\n", None, 3, "needs a strand"),
        (SGA + "NC_1.1 TSS 9\n", None, 3, "got 3 columns"),
        ("", None, None, "has no rows"),
        ("chrom\tstart\tend\n", None, None, "has no rows"),
    ],
)
def test_malformed_starts_are_refused_with_the_line(tmp_path, text, format, line, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        read_tss(_write(tmp_path / "x.txt", text), format=format)
    assert caught.value.line == line


def test_unknown_format_and_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="format must be one of"):
        read_tss(tmp_path / "x", format="gff2")
    with pytest.raises(FileNotFoundError):
        read_tss(tmp_path / "x")


@pytest.mark.parametrize("kind", [list, iter, pd.DataFrame, to_pyranges, to_bedtool])
def test_intervals_and_tables_are_read_as_bed(kind):
    rows = [Interval("chr1", 5, 90, "a", 0.0, "-"), Interval("chr1", 5, 90, "b", 0.0, "+")]
    assert set(_short(read_tss(kind(rows)))) == {("chr1", 89, 90, "a", "-"), ("chr1", 5, 6, "b", "+")}
    assert {tss.chrom for tss in read_tss(kind(rows), aliases={"chr1": "1"})} == {"1"}


@pytest.mark.parametrize("kind", [list, to_pyranges, to_bedtool])
def test_boxes_in_memory_need_the_format_named(kind, caplog):
    boxes = [Interval("chr1", 950, 1010, "one_1", 0.0, "+"), Interval("chr1", 1989, 2049, "two_1", 0.0, "-")]
    assert _short(read_tss(kind(boxes), format="epdnew")) == STARTS
    assert not caplog.records
    assert [tss.start for tss in read_tss(kind(boxes))] == [950, 2048]
    assert "pass format='epdnew'" in caplog.text
    caplog.clear()
    assert read_tss(kind(boxes), format="bed")[0].start == 950
    assert not caplog.records
    with pytest.raises(FileFormatError, match="boxes are 60 bp long"):
        read_tss([boxes[0], Interval("chr1", 5, 6, strand="+")], format="epdnew")
    with pytest.raises(ValueError, match="'bed' or 'epdnew', got format 'sga'"):
        read_tss(kind(boxes), format="sga")


def test_intervals_without_strand_are_refused():
    with pytest.raises(FileFormatError, match="needs a strand"):
        read_tss([Interval("chr1", 5, 90)])


# GFF3


@pytest.mark.parametrize("name", ["x.gff3", "x.gff3.gz"])
def test_gff3_rows_of_one_cds_give_one_start(tmp_path, name, caplog):
    path = _write(tmp_path / name, GFF3)
    assert [gene[:3] for gene in read_genes(path)] == [("chr1", 150, 350), ("chr1", 519, 880)]
    assert _short(read_tss(path)) == [("chr1", 150, 151, "thrL", "+"), ("chr1", 879, 880, "c2b", "-")]
    assert "feature='mRNA'" in caplog.text


def test_gff3_feature_types(tmp_path, caplog):
    path = _write(tmp_path / "x.gff3", GFF3)
    assert [tss.start for tss in read_tss(path, feature="gene")] == [100, 899]
    assert read_genes(path, feature="gene")[0].name == "thr;L_x"
    assert _short(read_tss(path, feature="TSS", aliases={"chr1": "1"})) == [("1", 76, 77, "tss1", "-")]
    assert "left out 1 TSS features" in caplog.text
    with pytest.raises(FileFormatError, match="has no exon features; it has 2 gene, 2 mRNA"):
        read_tss(path, feature="exon")


def test_gff3_cds_rows_without_id_belong_together_by_parent(tmp_path):
    rows = [("CDS", 10, 20, "Parent=g1"), ("CDS", 30, 40, "Parent=g1"), ("CDS", 50, 60, "Parent=g2")]
    text = "".join(f"c\t.\t{kind}\t{start}\t{end}\t.\t-\t0\t{more}\n" for kind, start, end, more in rows)
    assert [gene[1:3] for gene in read_genes(_write(tmp_path / "x.gff", text))] == [(9, 40), (49, 60)]


def test_gff3_starts_beyond_what_is_annotated_are_left_out(tmp_path, caplog):
    text = (
        "c\t.\tgene\t10\t20\t.\t+\t.\tID=a;start_range=.,10\nc\t.\tgene\t10\t20\t.\t-\t.\tID=b;start_range=.,10\n"
        "c\t.\tgene\t10\t20\t.\t-\t.\tID=c;end_range=20,.\n"
    )
    path = _write(tmp_path / "x.gff", text)
    assert [gene.name for gene in read_genes(path, feature="gene")] == ["b"]
    assert "left out 2 gene features" in caplog.text
    path.write_text(text.splitlines()[0])
    with pytest.raises(FileFormatError, match="5' end is known"):
        read_tss(path, feature="gene")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\t.\tgene\t1\t5\t.\t+\t.", "9 columns separated by tabs, got 8"),
        ("chr1\t.\tgene\t0\t5\t.\t+\t.\tID=a", "1 <= start <= end"),
        ("chr1\t.\tgene\t9\t5\t.\t+\t.\tID=a", "1 <= start <= end"),
        ("chr1\t.\tgene\tx\t5\t.\t+\t.\tID=a", "got start 'x'"),
        ("chr1\t.\tgene\t1\t5\t.\t*\t.\tID=a", "strand must be"),
        ('chr1\t.\tgene\t1\t5\t.\t+\t.\tgene_id "a";', "KEY=VALUE"),
    ],
)
def test_malformed_gff3_is_refused_with_the_line(tmp_path, row, message):
    path = _write(tmp_path / "x.gff3", f"##gff-version 3\nchr1\t.\tgene\t1\t5\t.\t+\t.\tID=a\n{row}\n")
    with pytest.raises(FileFormatError, match=message) as caught:
        read_tss(path)
    assert caught.value.line == 3


# GenBank and records


def _record(*locations, kind="CDS"):
    features = [
        SeqFeature(location, type=kind, qualifiers={"gene": [f"g{number}"]})
        for number, location in enumerate(locations)
    ]
    return SeqRecord(Seq("A" * 1000), id="chr", features=features, annotations={"molecule_type": "DNA"})


def test_joined_locations_keep_their_5_prime_end():
    plus = CompoundLocation([SimpleLocation(10, 20, 1), SimpleLocation(19, 60, 1)])
    minus = CompoundLocation([SimpleLocation(80, 90, -1), SimpleLocation(30, 40, -1)])
    record = _record(plus, minus)
    assert [gene[1:] for gene in read_genes(record)] == [(10, 60, "g0", 0.0, "+"), (30, 90, "g1", 0.0, "-")]
    assert [tss.start for tss in read_tss(record)] == [10, 89]


def test_origin_crossing_joins_keep_their_5_prime_end():
    plus = CompoundLocation([SimpleLocation(980, 1000, 1), SimpleLocation(0, 50, 1)])
    minus = CompoundLocation([SimpleLocation(0, 30, -1), SimpleLocation(990, 1000, -1)])
    assert [tss.start for tss in read_tss([_record(plus, minus)])] == [980, 29]
    assert [gene[1:3] for gene in read_genes([_record(plus, minus)])] == [(980, 1000), (0, 30)]


def test_starts_that_are_not_exact_are_left_out_and_counted(caplog):
    record = _record(
        SimpleLocation(BeforePosition(10), 20, 1),
        SimpleLocation(10, AfterPosition(20), 1),
        SimpleLocation(BeforePosition(10), 20, -1),
        SimpleLocation(10, AfterPosition(20), -1),
        SimpleLocation(10, 20),
        SimpleLocation(UnknownPosition(), 20, 1),
        SimpleLocation(UnknownPosition(), 20, -1),
        SimpleLocation(10, UnknownPosition(), 1),
    )
    assert [gene.name for gene in read_genes(record)] == ["g1", "g2"]
    assert "left out 6 CDS features" in caplog.text


def test_features_that_begin_on_another_record_are_left_out_and_counted(caplog):
    remote = SimpleLocation(10, 20, 1, ref="other")
    near = SimpleLocation(30, 40, 1)
    record = _record(remote, CompoundLocation([remote, near]), CompoundLocation([near, remote]), None)
    assert [gene[:4] for gene in read_genes(record)] == [("chr", 30, 40, "g2")]
    assert "left out 3 CDS features" in caplog.text


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_genbank_file_reads_as_its_record(tmp_path, pack):
    record = _record(
        CompoundLocation([SimpleLocation(80, 90, -1), SimpleLocation(30, 40, -1)]), SimpleLocation(5, 8, 1)
    )
    path = tmp_path / "x.dat"
    path.write_bytes(pack(record.format("genbank").encode()))
    assert read_tss(path) == read_tss(record)
    assert read_tss(path, format="genbank", aliases={"chr": "1"})[1] == Interval("1", 5, 6, "g1", 0.0, "+")
    with pytest.raises(FileFormatError, match="has no mRNA features; it has 2 CDS"):
        read_tss(path, feature="mRNA")


def test_other_things_are_refused(tmp_path):
    with pytest.raises(TypeError, match="SeqRecord"):
        read_genes([Interval("chr1", 1, 2)])
    with pytest.raises(FileFormatError, match="not from 'bed'"):
        read_genes(_write(tmp_path / "x.bed", EPDNEW))
