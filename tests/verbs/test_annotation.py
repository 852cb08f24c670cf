import copy
import gzip

import numpy as np
import pytest
import torch
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import SeqFeature, SimpleLocation
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit import annotation
from genomic_ulmfit.errors import (
    DatasetError,
    FileFormatError,
    OutOfRangeError,
    SettingError,
    UnknownChromosomeError,
    UnknownClassError,
)
from tests.toy_models import CountGC, MotifAt

MOTIF = "GATTACA"
TEXT = "A" * 120 + MOTIF + "C" * 200 + str(Seq(MOTIF).reverse_complement()) + "A" * 66 + "N" + "A" * 39


@pytest.fixture
def record():
    gene = SeqFeature(SimpleLocation(5, 50, strand=-1), type="gene", qualifiers={"gene": ["abcD"]})
    return SeqRecord(
        Seq(TEXT), id="plasmid.1", name="plasmid", features=[gene], letter_annotations={"phred": [30] * len(TEXT)}
    )


@pytest.fixture(scope="module")
def model():
    return MotifAt(MOTIF, offset=10, window=30)


def places(record) -> list[tuple[int, int, int]]:
    found = [feature.location for feature in record.features if feature.type == "regulatory"]
    return [(int(at.start), int(at.end), at.strand) for at in found]


def test_calls_become_features_on_their_strands(model, record):
    marked = gu.annotate(model, record)
    assert places(marked) == [(120, 121, 1), (333, 334, -1)]
    assert marked.features[0] == record.features[0]
    assert marked.features[1].qualifiers == {
        "regulatory_class": ["other"],  # "x" is not in INSDC's vocabulary
        "inference": [f"ab initio prediction:genomic_ulmfit:{gu.__version__}"],
        "note": ["x call"],
        "score": ["0.9933"],
    }


def test_each_letter_has_the_scores_of_a_scan(model, record):
    marked = gu.annotate(model, record)
    plus, minus = gu.scan(model, record, step=1, strands="both")
    np.testing.assert_array_equal(marked.letter_annotations["x_plus"], plus.scores)
    np.testing.assert_array_equal(marked.letter_annotations["x_minus"], minus.scores)
    assert np.isnan(marked.letter_annotations["x_plus"][[0, 9, -1]]).all()
    assert marked.letter_annotations["phred"] == [30] * len(TEXT)
    assert len(marked[100:150].letter_annotations["x_plus"]) == 50


def test_the_letters_of_a_bin_share_its_score(model, record):
    (plus, _), marked = gu.scan(model, record, step=9, strands="both"), gu.annotate(model, record, step=9)
    expected = np.repeat(plus.scores, 9)[: len(TEXT)]
    np.testing.assert_array_equal(marked.letter_annotations["x_plus"], expected)


def test_the_record_handed_in_stays_as_it_was(model, record):
    before = copy.deepcopy(record)
    marked = gu.annotate(model, record)
    marked.features[0].qualifiers["gene"][0] = "changed"
    marked.annotations["more"] = 1
    assert record.annotations == before.annotations == {}
    assert [str(feature) for feature in record.features] == [str(feature) for feature in before.features]
    assert record.letter_annotations == before.letter_annotations


@pytest.mark.parametrize("k", [1, 3])
def test_the_reverse_complement_has_the_mirrored_calls_under_its_id(k):
    torch.manual_seed(1)
    config = gu.AWDLSTMConfig(n_embedding=5, n_hidden=6, n_layers=2, n_head=4)
    net = gu.Classifier(gu.KmerVocab(k), config, ["background", "promoter"], window=31, anchor=20).eval()
    net.encoder.embedding.weight.data *= 30
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), 400))
    record = SeqRecord(Seq(text), id="chr1:999-1399(-)", annotations={"chrom": "chr1", "start": 999, "end": 1399})
    threshold = float(np.quantile(gu.annotate(net, record).letter_annotations["promoter_plus"][40:360], 0.9))
    options = {"threshold": threshold, "min_distance": 1}
    marked = gu.annotate(net, record, **options)
    turned = gu.annotate(net, record.reverse_complement(id=True, annotations=True), **options)
    assert (turned.id, turned.annotations["start"]) == (record.id, 999)
    assert len(places(marked)) > 5
    assert sorted((400 - end, 400 - start, -strand) for start, end, strand in places(turned)) == sorted(places(marked))
    mirrored = turned.letter_annotations["promoter_minus"][::-1]
    np.testing.assert_allclose(marked.letter_annotations["promoter_plus"], mirrored, atol=1e-6)
    assert marked.features[0].qualifiers["regulatory_class"] == ["promoter"]


def test_a_genbank_file_reads_back_the_same(model, record, tmp_path):
    marked = gu.annotate(model, record)
    SeqIO.write(marked, tmp_path / "marked.gb", "genbank")
    back = SeqIO.read(tmp_path / "marked.gb", "genbank")
    assert (back.id, back.seq) == (marked.id, marked.seq)
    seen = [[(f.type, f.location, dict(f.qualifiers)) for f in each.features] for each in (back, marked)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("letters", "kind"), [("ACGT" * 20, "DNA"), ("ACGU" * 20, "RNA")])
def test_a_missing_molecule_type_is_set(letters, kind):
    marked = gu.annotate(CountGC(window=10), SeqRecord(Seq(letters), id="r"))
    assert marked.annotations["molecule_type"] == kind


def test_a_molecule_type_that_is_there_stays(model, record):
    record.annotations["molecule_type"] = "ds-DNA"
    assert gu.annotate(model, record).annotations["molecule_type"] == "ds-DNA"


def test_regions_alone_are_scored(model, record):
    marked = gu.annotate(model, record, regions=[gu.Interval("plasmid.1", 300, 340)])
    assert places(marked) == [(333, 334, -1)]
    assert np.isnan(np.delete(marked.letter_annotations["x_minus"], range(300, 340))).all()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"threshold": 1.5}, SettingError),
        ({"step": 0}, SettingError),
        ({"target": "y"}, UnknownClassError),
        ({"regions": [gu.Interval("chr9", 0, 5)]}, UnknownChromosomeError),
        ({"regions": [gu.Interval("plasmid.1", 0, 5000)]}, OutOfRangeError),
    ],
)
def test_bad_options_are_refused(model, record, options, error):
    with pytest.raises(error):
        gu.annotate(model, record, **options)


@pytest.mark.parametrize("sequence", [None, Seq(None, 50), Seq("")])
def test_a_record_without_letters_is_refused(model, sequence):
    with pytest.raises(DatasetError, match="'r' has no sequence"):
        gu.annotate(model, SeqRecord(sequence, id="r"))


def test_files_of_either_format_are_annotated(model, record, tmp_path):
    record.annotations["molecule_type"] = "DNA"
    for name, kind in (("in.gbk", "genbank"), ("in.fa", "fasta")):
        SeqIO.write(
            [record, SeqRecord(Seq("ACGT" * 30), id="other", annotations=record.annotations)], tmp_path / name, kind
        )
        made = annotation.annotate_file(model, tmp_path / name, tmp_path / "out.gbk.gz")
        assert made[1:] == (2, 2)
        with gzip.open(tmp_path / "out.gbk.gz", "rt") as handle:
            first, second = SeqIO.parse(handle, "genbank")
        assert (first.id, places(first), second.features) == ("plasmid.1", [(120, 121, 1), (333, 334, -1)], [])
        assert [f.type for f in first.features].count("gene") == (kind == "genbank")
    region = [gu.Interval("plasmid.1", 0, 200)]
    assert annotation.annotate_file(model, tmp_path / "in.fa", tmp_path / "out.gb", regions=region).calls == 1


def test_wrong_files_are_refused_and_leave_nothing(model, record, tmp_path):
    with pytest.raises(FileFormatError, match=r"wanted \.gb"):
        annotation.annotate_file(model, tmp_path / "in.fa", tmp_path / "out.fa")
    (tmp_path / "in.fa").write_text(">a\nACGT\n>b\n\n")
    with pytest.raises(DatasetError, match="'b' has no sequence"):
        annotation.annotate_file(model, tmp_path / "in.fa", tmp_path / "out.gb")
    assert [path.name for path in tmp_path.iterdir()] == ["in.fa"]
