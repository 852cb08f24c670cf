"""Every verb refuses the wrong kind of model, records and regions at once, and says what to do."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from tests.toy_models import CountGC


def verbs(*annotations: str) -> list[str]:
    """The public functions whose first argument is a model of one of these kinds."""
    functions = {name: getattr(gu, name) for name in gu.__all__ if inspect.isfunction(getattr(gu, name))}
    firsts = {name: next(iter(inspect.signature(f).parameters.values()), None) for name, f in functions.items()}
    return [name for name, first in firsts.items() if first and first.annotation in annotations]


OF_CLASSIFIERS = verbs("AnyClassifier", "Classifier")
OF_LANGUAGE_MODELS = verbs("LanguageModel", "LanguageModel | tuple[KmerVocab, AWDLSTMConfig]")


def refusal(verb: str, model: object) -> str:
    function = getattr(gu, verb)
    others = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.default is p.empty]
    given = [None for p in others if p.kind is not p.KEYWORD_ONLY]
    with pytest.raises(gu.errors.ModelKindError) as refused:
        found = function(model, *given, **{p.name: None for p in others if p.kind is p.KEYWORD_ONLY})
        list(found)  # some say it when the first is asked for
    assert isinstance(refused.value, TypeError)
    return str(refused.value)


def test_the_verbs_are_found():
    assert {"scan", "predict_proba", "saliency", "calibrate", "score_variants"} <= set(OF_CLASSIFIERS)
    assert set(OF_LANGUAGE_MODELS) == {"finetune", "surprisal", "train_classifier"}


@pytest.mark.parametrize("verb", OF_CLASSIFIERS)
def test_what_wants_a_classifier_takes_no_language_model(verb):
    said = refusal(verb, gu.LanguageModel(gu.KmerVocab(1), gu.AWDLSTMConfig(n_embedding=1, n_hidden=1)))
    assert said.startswith("wanted a classifier, got a LanguageModel; `train_classifier` makes one")


@pytest.mark.parametrize("verb", OF_LANGUAGE_MODELS)
def test_what_wants_a_language_model_takes_no_classifier(verb):
    assert refusal(verb, CountGC()).startswith("wanted a language model, got a CountGC; `pretrain` makes one")


@pytest.mark.parametrize("name", ["bacteria-small", Path("clf.safetensors")])
def test_a_name_is_no_model(name):
    assert refusal("scan", name) == f"wanted a classifier, got a {type(name).__name__}; read it with `load('{name}')`"


def test_members_are_calibrated_not_what_they_are_joined_to():
    assert refusal("calibrate", gu.Ensemble([CountGC(), CountGC()])) == (
        "wanted a single classifier, got an Ensemble; give its members one by one, before they are joined"
    )


RECORD = SeqRecord(Seq("ACGTTGCAAC"), id="r", annotations={"label": "x"})


def test_a_single_record_is_read_as_one():
    assert gu.predict_proba(CountGC(), RECORD).tolist() == gu.predict_proba(CountGC(), [RECORD]).tolist()
    (alone,), (listed,) = (gu.mutagenesis(CountGC(), records) for records in (RECORD, [RECORD]))
    np.testing.assert_array_equal(alone, listed)


@pytest.mark.parametrize("verb", ["predict_proba", "saliency", "mutagenesis", "evaluate", "calibrate"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mine.fa", "got 'mine.fa'; `read_dataset` or Bio.SeqIO reads them from a file"),
        (["ACGT"], "got a str among them; put it into a SeqRecord"),
        ([RECORD, RECORD.seq], "got a Seq among them"),
    ],
)
def test_what_are_no_records_is_said(verb, given, said):
    with pytest.raises(TypeError, match=f"wanted SeqRecords, {said}"):
        getattr(gu, verb)(CountGC(), given)


def test_regions_may_be_a_file_or_a_single_interval(tmp_path):
    (tmp_path / "regions.bed").write_text("c\t10\t30\n")
    model, genome = CountGC(window=4, anchor=2), gu.Genome({"c": "ACGTTGCAAC" * 10})
    listed, *others = (
        list(gu.scan(model, genome, step=1, regions=regions))
        for regions in ([gu.Interval("c", 10, 30)], gu.Interval("c", 10, 30), str(tmp_path / "regions.bed"))
    )
    for found in others:
        assert [block.start for block in found] == [block.start for block in listed] == [10]
        np.testing.assert_array_equal(found[0].scores, listed[0].scores)


@pytest.mark.parametrize("region", ["c:11-30", ("c", 10, 30)])
def test_what_is_no_interval_is_said(region):
    genome = gu.Genome({"c": "ACGTTGCAAC" * 10})
    with pytest.raises(TypeError, match=r"wanted an Interval, got .*; `Interval.from_region` makes one"):
        list(gu.scan(CountGC(window=4, anchor=2), genome, regions=[region]))
    with pytest.raises(TypeError, match="wanted an Interval"):
        genome.fetch(region)


@pytest.mark.parametrize("given", ["mine.gb", [RECORD, RECORD]])
def test_one_record_is_annotated_at_a_time(given):
    with pytest.raises(TypeError, match=f"wanted a SeqRecord, got a {type(given).__name__}; give the records"):
        gu.annotate(CountGC(window=4, anchor=2), given)
