"""RegulonDB's own files can't be kept here: these are made by hand in their two layouts, on a made-up genome."""

from __future__ import annotations

import gzip
import logging
import random

import pytest

from genomic_ulmfit.errors import FileFormatError, UnknownChromosomeError
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_tss

LETTERS = "".join(random.Random(1).choices("ACGT", k=1000))
CHROM = "NC_000913.3"


@pytest.fixture(scope="module")
def ring():
    return Genome({CHROM: LETTERS}, circular=True)


def _printed(ring, position, strand):
    """Return -60..+20 around a 1-based position, the TSS in upper case."""
    tss = Interval(CHROM, position - 1, position, strand=strand)
    text = str(ring.fetch(ring.wrap(tss.window(60, 21))).seq).lower()
    return text[:60] + text[60].upper() + text[61:]


def _older(rows):
    """Lay out (name, strand, position, sigma, sequence) as release 10.9 does."""
    lines = [f"ECK1\t{n}\t{strand}\t{at}\t{sigma}\t{text}\t[X|W|y]\tWeak\n" for n, strand, at, sigma, text in rows]
    return "# Copies and Copyright-Notice\n#\n# (1) Promoter identifier\n" + "".join(lines)


def _newer(rows):
    names = "pmId pmName strand posTSS sigmaFactor pmSequence firstGeneName distToFirstGene pmEvidence addEvidence"
    header = [f"{number}){name}" for number, name in enumerate(names.split() + ["confidenceLevel", "pmids "], 1)]
    lines = ["\t".join(("RDB1", *row, "g", "-9", "[X:W]", "", "W", "1 \n")) for row in rows]
    return "# License\n#\t# free\n## (1) pmId.\n" + "\t".join(header) + "\n" + "".join(lines)


@pytest.fixture
def rows(ring):
    return [
        ("aap", "forward", "101", "sigma70", _printed(ring, 101, "+")),
        ("bbp (cluster)", "reverse", "301", "Sigma24", _printed(ring, 301, "-")),
        ("ccp", "reverse", "", "sigma70", ""),
        ("ddp", "", "501", "", ""),
        ("eep", "forward", "0", "sigma70", "acgT"),
        ("ffp", "forward", "20", "", _printed(ring, 20, "+")),
    ]


def _write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("layout", [_older, _newer])
@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz"])
def test_both_layouts_give_the_same_starts(tmp_path, rows, layout, name, caplog):
    with caplog.at_level(logging.INFO):
        starts = read_tss(_write(tmp_path / name, layout(rows)))
    assert [(tss.chrom, tss.start, tss.end, tss.name, tss.strand) for tss in starts] == [
        (CHROM, 100, 101, "aap", "+"),
        (CHROM, 300, 301, "bbp_(cluster)", "-"),
        (CHROM, 19, 20, "ffp", "+"),
    ]
    assert "left out 3 promoters without strand or position" in caplog.text
    assert "read as regulondb, 3 starts" in caplog.text


def test_the_header_names_the_version_of_the_genome(tmp_path, rows):
    path = _write(tmp_path / "x.txt", "# Genome version: U00096.2, Refseq version: NC_000913.2; GI:1\n" + _older(rows))
    assert {tss.chrom for tss in read_tss(path)} == {"NC_000913.2"}
    assert {tss.chrom for tss in read_tss(path, aliases={"NC_000913.2": "chr"})} == {"chr"}


def test_feature_takes_one_sigma_factor(tmp_path, rows, caplog):
    path = _write(tmp_path / "x.tsv", _newer(rows))
    with caplog.at_level(logging.INFO):
        assert [tss.name for tss in read_tss(path, feature="sigma24")] == ["bbp_(cluster)"]
    assert "took 1 promoters of sigma24, of 3" in caplog.text
    with pytest.raises(
        FileFormatError, match=r"no promoter of CDS with a position; it has 1 sigma70, 1 Sigma24, 1 without"
    ):
        read_tss(path, feature="CDS")


def test_the_printed_sequence_decides(tmp_path, ring, caplog):
    rows = [
        ("TSS_1", "reverse", "300", "unknown", _printed(ring, 301, "-")),
        ("TSS_2", "reverse", "1000", "unknown", _printed(ring, 1, "-")),
        ("TSS_3", "forward", "502", "unknown", _printed(ring, 501, "+")),
        ("TSS_4", "forward", "502", "unknown", _printed(ring, 504, "+")),
        ("TSS_5", "forward", "502", "unknown", _printed(ring, 502, "+")),
    ]
    path = _write(tmp_path / "x.txt", _older(rows))
    assert [tss.start for tss in read_tss(path)] == [299, 999, 501, 501, 501]
    assert "one base low in release 10.9; pass genome" in caplog.text
    caplog.clear()
    assert [(tss.name, tss.start) for tss in read_tss(path, genome=ring)] == [
        ("TSS_1", 300),
        ("TSS_2", 0),
        ("TSS_3", 500),
        ("TSS_5", 501),
    ]
    assert "of 5 printed sequences 1 fit, 3 fit one base off and their starts are moved, 1 fit nowhere" in caplog.text


def test_sequences_past_the_ends_of_a_linear_genome_are_not_checked(tmp_path, rows, caplog):
    path = _write(tmp_path / "x.txt", _older(rows))
    with caplog.at_level(logging.INFO):
        starts = read_tss(path, genome=Genome({"chr": LETTERS}), aliases={CHROM: "chr"})
    assert [(tss.chrom, tss.start) for tss in starts] == [("chr", 100), ("chr", 300), ("chr", 19)]
    assert "1 reach past an end" in caplog.text


def test_another_genome_is_refused(tmp_path, rows):
    path = _write(tmp_path / "x.txt", _older(rows))
    with pytest.raises(FileFormatError, match="it is another genome"):
        read_tss(path, genome=Genome({CHROM: LETTERS[::-1]}, circular=True))
    with pytest.raises(UnknownChromosomeError, match=CHROM):
        read_tss(path, genome=Genome({"chr": LETTERS}))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("E\tp\tforward\t5\n", "needs 6 columns, .* got 4"),
        ("E\tp\tup\t5\ts\tacgT\n", "'forward' or 'reverse', got 'up'"),
        ("E\tp\tforward\t5.0\ts\tacgT\n", "1-based integer, got '5.0'"),
        ("E\tp\tforward\t5\ts\tacgt\n", "the TSS in upper case"),
        ("E\tp\tforward\t5\ts\tACGT\n", "the TSS in upper case"),
    ],
)
def test_malformed_rows_are_refused_with_the_line(tmp_path, row, message):
    path = _write(tmp_path / "x.txt", "# c\nE\tp\tforward\t5\ts\tacgT\n" + row)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_tss(path)
    assert caught.value.line == 3
