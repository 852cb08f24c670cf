"""Chromosomes without ends: what crosses the origin is written as in GFF3, its end past the chromosome's end."""

from __future__ import annotations

import pytest
from Bio.Seq import Seq
from Bio.SeqFeature import CompoundLocation, SeqFeature, SimpleLocation
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.errors import OutOfRangeError, UnknownChromosomeError
from genomic_ulmfit.genome.algebra import linear_parts, pad
from genomic_ulmfit.genome.intervals import Interval
from genomic_ulmfit.genome.sequences import Genome
from genomic_ulmfit.genome.tss import read_genes, read_tss

LETTERS = "AACCGGTTAC"  # 10 bp
SIZES = {"ring": 10, "rod": 10}


@pytest.fixture(scope="module")
def genome():
    return Genome({"ring": LETTERS, "rod": LETTERS}, aliases={"plasmid": "ring"}, circular="plasmid")


def _circle(*locations):
    features = [SeqFeature(where, type="CDS", qualifiers={"gene": [f"g{n}"]}) for n, where in enumerate(locations)]
    return SeqRecord(Seq("A" * 1000), "ring", features=features, annotations={"topology": "circular"})


# Fetching


def test_circular_is_all_or_those_named_or_what_the_record_says(genome):
    assert genome.circular == {"ring"}
    assert Genome({"a": "AC", "b": "GT"}, circular=True).circular == {"a", "b"}
    assert Genome({"a": "AC", "b": "GT"}, circular=["b"]).circular == {"b"}
    assert Genome({"a": "AC"}).circular == Genome({"a": "AC"}, circular=False).circular == frozenset()
    assert Genome(_circle(), circular=False).circular == {"ring"}
    with pytest.raises(UnknownChromosomeError):
        Genome({"a": "AC"}, circular="b")


def test_fetch_goes_on_behind_the_origin_on_both_strands(genome):
    assert genome.sequence("ring", 7, 13) == "TACAAC"
    assert genome.sequence("plasmid", 5, 15) == LETTERS[5:] + LETTERS[:5]
    record = genome.fetch(Interval("ring", 7, 13, strand="-"))
    assert str(record.seq) == "GTTGTA"
    assert record.id == "ring:7-13(-)"
    assert (record.annotations["start"], record.annotations["end"]) == (7, 13)


@pytest.mark.parametrize("place", [("rod", 7, 13), ("ring", -1, 3), ("ring", 10, 12), ("ring", 5, 16), ("ring", 5, 5)])
def test_what_is_not_inside_is_refused(genome, place):
    with pytest.raises(OutOfRangeError):
        genome.fetch(Interval(*place))


@given(st.integers(0, 9), st.integers(0, 5), st.integers(1, 5), st.sampled_from("+-"))
def test_windows_have_the_start_at_index_upstream_wherever_it_lies(genome, at, upstream, downstream, strand):
    start = Interval("ring", at, at + 1, strand=strand)
    window = genome.wrap(start.window(upstream, downstream))
    assert 0 <= window.start < 10
    assert window.length == upstream + downstream
    assert genome.fetch(window).seq[upstream] == genome.fetch(start).seq


def test_wrap_leaves_linear_chromosomes_alone(genome):
    assert genome.wrap(Interval("rod", -3, 4)) == Interval("rod", -3, 4)
    assert genome.wrap(Interval("ring", -3, 4, "a", 1.0, "-")) == Interval("ring", 7, 14, "a", 1.0, "-")
    assert genome.wrap(Interval("ring", 12, 14)) == Interval("ring", 2, 4)
    with pytest.raises(UnknownChromosomeError):
        genome.wrap(Interval("none", 1, 2))


# Algebra


@given(st.lists(st.tuples(st.integers(-10, 9), st.integers(0, 10)), max_size=5))
def test_linear_parts_cover_the_same_bases(places):
    whole = [Interval("ring", start, start + length, "n", 1.0, "-") for start, length in places]
    parts = linear_parts(whole, SIZES)
    assert all(0 <= part.start <= part.end <= 10 and part[3:] == ("n", 1.0, "-") for part in parts)
    covered = sorted(base % 10 for interval in whole for base in range(interval.start, interval.end))
    assert sorted(base for part in parts for base in range(part.start, part.end)) == covered


def test_linear_parts_refuse_what_no_circle_holds():
    with pytest.raises(OutOfRangeError):
        linear_parts([Interval("ring", 0, 11)], SIZES)
    with pytest.raises(OutOfRangeError, match="ring:10-11"):
        linear_parts([Interval("ring", 10, 11)], SIZES)
    with pytest.raises(UnknownChromosomeError):
        linear_parts([Interval("none", 0, 1)], SIZES)


def test_pad_goes_on_behind_the_origin_of_circles_only():
    ends = [Interval("ring", 0, 2), Interval("rod", 0, 2), Interval("ring", 8, 11)]
    padded = [i.id for i in pad(ends, 1, SIZES, circular={"ring"})]
    assert padded == ["ring:9-10(.)", "ring:0-3(.)", "rod:0-3(.)", "ring:7-10(.)", "ring:0-2(.)"]
    assert [i.id for i in pad(ends[:1], 4, SIZES, circular={"ring"})] == ["ring:0-10(.)"]


# Features


def test_genbank_features_across_the_origin_are_whole():
    plus = CompoundLocation([SimpleLocation(980, 1000, 1), SimpleLocation(0, 50, 1), SimpleLocation(60, 70, 1)])
    minus = CompoundLocation([SimpleLocation(0, 30, -1), SimpleLocation(990, 1000, -1)])
    record = _circle(plus, minus, SimpleLocation(5, 9, 1))
    assert [gene[1:3] for gene in read_genes(record)] == [(980, 1070), (990, 1030), (5, 9)]
    starts = read_tss(record)
    assert [(tss.start, tss.end) for tss in starts] == [(980, 981), (29, 30), (5, 6)]
    genome = Genome(record)
    assert len(genome.fetch(read_genes(record)[1])) == 40
    assert read_genes(record, aliases={"ring": "chr"})[0].chrom == "chr"


def test_genbank_file_across_the_origin(tmp_path):
    path = tmp_path / "x.gbk"
    record = _circle(CompoundLocation([SimpleLocation(0, 30, -1), SimpleLocation(990, 1000, -1)]))
    record.annotations["molecule_type"] = "DNA"
    path.write_text(record.format("genbank"))
    assert read_genes(path) == [Interval("ring", 990, 1030, "g0", 0.0, "-")]
    assert read_tss(path) == [Interval("ring", 29, 30, "g0", 0.0, "-")]


def test_parts_out_of_order_that_do_not_meet_at_the_origin_stay_trans_spliced():
    record = _circle(CompoundLocation([SimpleLocation(900, 950, 1), SimpleLocation(100, 150, 1)]))
    assert [gene[1:3] for gene in read_genes(record)] == [(900, 950)]


@pytest.mark.parametrize("rows", [[(981, 1050)], [(981, 1000), (1, 50)], [(1, 50), (981, 1000)]])
@pytest.mark.parametrize(("strand", "first"), [("+", 980), ("-", 49)])
def test_gff3_features_across_the_origin_are_whole(tmp_path, rows, strand, first):
    path = tmp_path / "x.gff3"
    text = "##gff-version 3\nring\t.\tregion\t1\t1000\t.\t+\t.\tID=r;Is_circular=true\n"
    text += "".join(f"ring\t.\tCDS\t{start}\t{end}\t.\t{strand}\t0\tID=c\n" for start, end in rows)
    path.write_text(text)
    assert [gene[1:3] for gene in read_genes(path)] == [(980, 1050)]
    assert [tss.start for tss in read_tss(path)] == [first]
