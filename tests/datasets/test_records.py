"""Labelled records to and from files."""

from __future__ import annotations

import gzip
import string

import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.datasets.records import (
    labels,
    part,
    place,
    read_dataset,
    read_records,
    require_labels,
    write_dataset,
)
from genomic_ulmfit.errors import DatasetError, FileFormatError
from genomic_ulmfit.genome.intervals import Interval, read_intervals


def record(letters="ACGT", label="promoter", record_id="r1", **annotations):
    found = {"label": label} if label is not None else {}
    return SeqRecord(Seq(letters), id=record_id, name=record_id, description="", annotations=found | annotations)


def written(tmp_path, text, name="data.fa"):
    path = tmp_path / name
    path.write_text(text)
    return path


words = st.text(st.characters(exclude_characters='"', exclude_categories=("C", "Z")), min_size=1, max_size=8)
names = st.lists(words, min_size=1, max_size=3).map(" ".join)
ids = st.text(string.ascii_letters + string.digits + "._|#=-", min_size=1, max_size=12)


@st.composite
def labelled(draw):
    letters = draw(st.text("ACGTNacgtuRY", min_size=1, max_size=90))
    annotations = {"molecule_type": "DNA", "label": draw(names)}
    for key, values in (
        ("split", st.sampled_from(["train", "valid", "test"])),
        ("group", names),
        ("anchor", st.integers(0, 99)),
    ):
        if draw(st.booleans()):
            annotations[key] = draw(values)
    record_id = draw(ids)
    if draw(st.booleans()):
        start = draw(st.integers(0, 10**9))
        interval = Interval(
            draw(ids.map(lambda name: name.lstrip("#") or "c")),
            start,
            start + len(letters),
            strand=draw(st.sampled_from("+-.")),
        )
        record_id = interval.id
        annotations |= {"chrom": interval.chrom, "start": start, "end": interval.end, "strand": interval.strand}
    return SeqRecord(Seq(letters), id=record_id, name=record_id, description="", annotations=annotations)


def contents(records):
    return [(r.id, str(r.seq), dict(r.annotations)) for r in records]


@given(st.lists(labelled(), min_size=1, max_size=5), st.sampled_from(["data.fa", "data.fasta.gz"]))
def test_a_data_set_that_was_written_is_read_back_the_same(tmp_path_factory, records, name):
    folder = tmp_path_factory.mktemp("data")
    path = write_dataset(records, folder / name)
    assert contents(read_dataset(path)) == contents(records)
    places = [place(r) for r in records if place(r) is not None]
    bed = folder / "data.bed"
    assert bed.exists() == bool(places)
    if places:
        assert read_intervals(bed) == places


def test_the_files_say_what_the_records_hold(tmp_path):
    one = record("ACGT", record_id="chr1:5-9(-)", split="test", anchor=2, chrom="chr1", start=5, end=9, strand="-")
    path = write_dataset([one, record("GG", "other thing", "plain")], tmp_path / "data.fa.gz")
    expected = '>chr1:5-9(-) label=promoter split=test anchor=2\nACGT\n>plain label="other thing"\nGG\n'
    assert gzip.decompress(path.read_bytes()).decode() == expected
    assert (tmp_path / "data.bed").read_text() == "chr1\t5\t9\tpromoter\t0\t-\n"


def test_the_same_records_make_the_same_gzipped_bytes(tmp_path):
    first = write_dataset([record()], tmp_path / "a.fa.gz").read_bytes()
    assert write_dataset([record()], tmp_path / "b.fa.gz").read_bytes() == first


def test_the_rest_of_a_description_is_kept(tmp_path):
    path = written(tmp_path, ">r1 label=a gene=thrL  group=g1 leader peptide\nACGT\n")
    found = read_dataset(path)[0]
    assert found.description == "gene=thrL leader peptide"
    assert (found.annotations["label"], found.annotations["group"]) == ("a", "g1")
    again = write_dataset([found], tmp_path / "again.fa")
    assert again.read_text().splitlines()[0] == ">r1 label=a group=g1 gene=thrL leader peptide"


def test_an_id_of_bedtools_with_a_name_before_it_says_the_place(tmp_path):
    found = read_dataset(written(tmp_path, ">lacZ::chr1:5-9(-) label=a\nACGT\n"))[0]
    assert place(found) == Interval("chr1", 5, 9, "a", strand="-")


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("column", ["sequence", "seq", "Sequence"])
def test_tables_are_read(tmp_path, separator, packed, column):
    rows = [[column, "label", "split"], ["ACGT", "1", "train"], ["GGCC", "0", ""]]
    text = "".join(separator.join(row) + "\n" for row in rows).encode()
    path = tmp_path / "data.table"
    path.write_bytes(gzip.compress(text) if packed else text)
    found = read_dataset(path)
    assert [(r.id, str(r.seq), r.annotations["label"]) for r in found] == [
        ("record_1", "ACGT", "1"),
        ("record_2", "GGCC", "0"),
    ]
    assert found[0].annotations["split"] == "train" and "split" not in found[1].annotations


def test_a_sequence_longer_than_a_csv_field_may_be_is_read(tmp_path):
    letters = "ACGT" * 50_000
    assert str(read_dataset(written(tmp_path, f"label,seq\na,{letters}\n"))[0].seq) == letters


def test_labels_that_look_like_missing_values_are_labels(tmp_path):
    assert labels(read_dataset(written(tmp_path, "seq,label\nACGT,NA\nACGT,001\n"))) == ["NA", "001"]


def test_records_come_home_as_they_went():
    given_records = [record(), record(label="b")]
    assert all(a is b for a, b in zip(given_records, read_dataset(iter(given_records)), strict=True))


def test_a_label_in_the_description_is_copied_not_written_into_the_record():
    given_record = SeqRecord(Seq("ACGT"), id="x", description="x label=a")
    assert read_dataset([given_record])[0].annotations["label"] == "a"
    assert "label" not in given_record.annotations


def test_records_without_labels_are_read_by_read_records(tmp_path):
    found = read_records(written(tmp_path, ">a\nACGT\n>b label=x\nACGT\n"))
    assert ["label" in r.annotations for r in found] == [False, True]
    assert str(read_records(written(tmp_path, "id,seq\nq,ACGT\n", "data.csv"))[0].seq) == "ACGT"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (">a\nACGT\n", "record 1 ('a') has no label"),
        (">a label=\nACGT\n", "record 1 ('a') has no label"),
        (">a label=x\nACGT\n>b label=x\n", "record 2 ('b') has an empty sequence"),
        (">a label=x split=dev\nACGT\n", "split 'dev', which is not one of train, valid, test"),
        (">a label=x\nACGE\n", "letters that stand for no nucleotide: E"),
        (">chr1:0-5(+) label=x\nACGT\n", "lies on 5 bp but has a sequence of 4"),
        (">a label=x anchor=two\nACGT\n", "anchor=two, wanted a whole number"),
        ("seq,target\nACGT,1\n", "line 1: wanted columns 'sequence' (or 'seq') and 'label', got 'seq', 'target'"),
        ("seq,label\n", "no records"),
        ("seq,label\nACGT,\n", "record 1 ('record_1') has no label"),
        ("seq,label\n,x\n", "empty sequence"),
        ("seq,label\nACGT,x\nACGT,x,train\n", "not a table"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused_by_name(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(FileFormatError) as caught:
        read_dataset(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_dataset(tmp_path / "nothing.fa")


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(label=None)],
        [record(label=3)],
        [record("")],
        [record(split="dev")],
        [record(record_id="two words")],
        [record(label='say "x"')],
        [record(label="two\nlines")],
    ],
)
def test_records_that_cannot_be_written_leave_no_file(tmp_path, records):
    with pytest.raises(DatasetError):
        write_dataset(records, tmp_path / "data.fa")
    assert not list(tmp_path.iterdir())


def test_a_bed_that_was_there_before_the_data_set_is_not_overwritten(tmp_path):
    source = written(tmp_path, "chr1\t5\t9\n", "promoters.bed")
    placed = record(chrom="chr1", start=5, end=9, strand="+")
    with pytest.raises(FileExistsError, match="in the way"):
        write_dataset([placed], tmp_path / "promoters.fa")
    assert source.read_text() == "chr1\t5\t9\n" and len(list(tmp_path.iterdir())) == 1


def test_a_data_set_is_replaced_together_with_its_bed(tmp_path):
    for label in ("a", "b"):
        write_dataset([record(label=label, chrom="chr1", start=5, end=9, strand="+")], tmp_path / "data.fa")
    assert (tmp_path / "data.bed").read_text().split()[3] == "b"
    assert len(list(tmp_path.iterdir())) == 2


def test_parts_are_told_by_split():
    records = [record(split="train"), record(), record(split="test")]
    assert part(records, "test") == [records[2]] and part(records, "valid") == []
    with pytest.raises(DatasetError, match="'dev' is not one of"):
        part(records, "dev")


def test_a_set_that_nothing_can_be_learnt_from_is_refused():
    assert require_labels([record(label="b"), record(label="a")]) == ("a", "b")
    assert require_labels([], at_least=0) == ()
    with pytest.raises(DatasetError, match="only the class 'promoter', wanted at least 2"):
        require_labels([record(), record()])
    with pytest.raises(DatasetError, match="no records"):
        require_labels([])
    with pytest.raises(DatasetError, match=r"record 2 \('r1'\) has no label"):
        require_labels([record(), record(label=None)])
