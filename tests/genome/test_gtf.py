from __future__ import annotations

import gzip
import logging

import pytest

from genomic_ulmfit.errors import FileFormatError
from genomic_ulmfit.genome.tss import read_genes, read_tss

# Made by hand: CDS rows out of order, a value with separators in it, two "t2" on two chromosomes, a CDS without
# transcript, and a transcript whose start was not found.
GTF = """\
#!genome-build x
chr1\t.\tgene\t101\t400\t.\t+\t.\tgene_id "g1"; gene_name "thr L"; note "a; b=c";
chr1\t.\ttranscript\t101\t400\t.\t+\t.\tgene_id "g1"; transcript_id "t1"; gene_name "thr L"; tag "basic";
chr1\t.\texon\t101\t400\t.\t+\t.\tgene_id "g1"; transcript_id "t1"; exon_number 1;
chr1\t.\tCDS\t301\t350\t.\t+\t0\tgene_id "g1"; transcript_id "t1"; gene_name "thr L";
chr1\t.\tCDS\t151\t200\t.\t+\t0\tgene_id "g1"; transcript_id "t1"; gene_name "thr L";
chr1\t.\tstop_codon\t351\t353\t.\t+\t0\tgene_id "g1"; transcript_id "t1";
chr1\t.\ttranscript\t500\t900\t.\t-\t.\tgene_id "g2"; transcript_id "t2";
chr1\t.\tCDS\t700\t880\t.\t-\t0\tgene_id "g2"; transcript_id "t2"
chr1\t.\tCDS\t520\t600\t.\t-\t0\tgene_id "g2"; transcript_id "t2"
chr1\t.\tCDS\t520\t600\t.\t-\t0\tgene_id "g3"; transcript_id "";
chr2\t.\tCDS\t10\t20\t.\t-\t0\tgene_id "g2"; transcript_id "t2";
chr2\t.\ttranscript\t10\t20\t.\t-\t.\tgene_id "g4"; transcript_id "t4"; tag "basic"; tag "mRNA_start_NF";
chr2\t.\tCDS\t10\t20\t.\t-\t0\tgene_id "g4"; transcript_id "t4"; tag "cds_start_NF"; tag "basic";
"""


def _write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["x.gtf", "x.gtf.gz"])
def test_rows_of_one_transcript_make_one_coding_sequence(tmp_path, name, caplog):
    path = _write(tmp_path / name, GTF)
    assert [(gene.chrom, gene.start, gene.end, gene.name) for gene in read_genes(path)] == [
        ("chr1", 150, 350, "thr_L"),
        ("chr1", 519, 880, "g2"),
        ("chr1", 519, 600, "g3"),
        ("chr2", 9, 20, "g2"),
    ]
    assert "left out 1 CDS features" in caplog.text
    assert "feature='transcript'" in caplog.text
    with caplog.at_level(logging.INFO):
        assert [tss.start for tss in read_tss(path)] == [150, 879, 599, 19]
    assert "read as gtf, 4 starts" in caplog.text


def test_feature_types_start_by_strand(tmp_path, caplog):
    path = _write(tmp_path / "x", GTF)
    assert [tss[:4] for tss in read_tss(path, feature="gene")] == [("chr1", 100, 101, "thr_L")]
    starts = read_tss(path, feature="transcript", aliases={"chr1": "1"})
    assert [(tss.id, tss.name) for tss in starts] == [("1:100-101(+)", "thr_L"), ("1:899-900(-)", "g2")]
    assert "left out 1 transcript features" in caplog.text
    with pytest.raises(FileFormatError, match="has no mRNA features; it has 5 CDS"):
        read_tss(path, feature="mRNA")


def test_gtf_and_gff3_of_the_same_genes_agree(tmp_path):
    ninths = {"gene": "ID={}", "mRNA": "ID={};Parent=x", "CDS": "Parent={}"}
    gff3, gtf = "##gff-version 3\n", "##gff-version 2\n"
    for kind, ninth in ninths.items():
        for name, strand in (("a", "+"), ("b", "-")):
            row = f"c\t.\t{kind}\t11\t40\t.\t{strand}\t.\t"
            gff3 += row + ninth.format(name) + "\n"
            gtf += row + f'gene_id "{name}"; transcript_id "{name}";\n'
    for feature in ninths:
        found, other = (read_genes(_write(tmp_path / "x", text), feature=feature) for text in (gff3, gtf))
        assert found == other
        assert [gene[1:4] for gene in found] == [(10, 40, "a"), (10, 40, "b")]


def test_exons_make_transcripts_where_there_are_no_rows_of_these(tmp_path):
    rows = [("exon", 11, 20, "t1"), ("exon", 31, 40, "t1"), ("CDS", 15, 20, "t1"), ("exon", 35, 60, "t2")]
    text = [
        f'c\t.\t{kind}\t{start}\t{end}\t.\t-\t.\tgene_id "g"; transcript_id "{t}";\n' for kind, start, end, t in rows
    ]
    path = _write(tmp_path / "x.gtf", "".join(text))
    assert [tss.start for tss in read_tss(path, feature="transcript")] == [39, 59]
    assert [gene[1:3] for gene in read_genes(path, feature="transcript")] == [(10, 40), (34, 60)]


@pytest.mark.parametrize("ninth", ['gene_id "a', "gene_id", 'gene_id "a"; x', 'gene_id "a" "b";', "gene_id=a"])
def test_malformed_attributes_are_refused_with_the_line(tmp_path, ninth):
    row = "chr1\t.\tgene\t1\t5\t.\t+\t.\t"
    path = _write(tmp_path / "x.gtf", f'{row}gene_id "a";\n{row}{ninth}\n')
    with pytest.raises(FileFormatError, match="a GTF attribute reads KEY") as caught:
        read_tss(path, feature="gene")
    assert caught.value.line == 2


def test_gff3_knows_the_tags_of_starts_that_were_not_found(tmp_path, caplog):
    rows = [f"c\t.\tmRNA\t1\t9\t.\t{strand}\t.\tID={strand};tag=basic,mRNA_start_NF\n" for strand in "+-"]
    path = _write(tmp_path / "x.gff3", "".join(rows) + "c\t.\tmRNA\t1\t9\t.\t+\t.\tID=c;tag=basic,mRNA_end_NF\n")
    assert [gene.name for gene in read_genes(path, feature="mRNA")] == ["c"]
    assert "left out 2 mRNA features" in caplog.text
