import json

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

import genomic_ulmfit as gu
from genomic_ulmfit.errors import DatasetError, UnknownClassError
from genomic_ulmfit.evaluation import METRICS, metrics, table
from tests.toy_models import CountGC


def labelled(text: str, label: str, split: str | None = None) -> SeqRecord:
    annotations = {"label": label} | ({"split": split} if split else {})
    return SeqRecord(Seq(text), id=text, annotations=annotations)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=40))
def test_binary_metrics_equal_sklearn_s(rows):
    truth = np.array([t for t, _ in rows])
    p = np.array([s for _, s in rows])
    found = metrics(truth, np.column_stack([1 - p, p]))
    calls = np.column_stack([1 - p, p]).argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, calls))
    if calls.any():
        assert found["precision"] == pytest.approx(sk.precision_score(truth, calls))
    if truth.any():
        assert found["recall"] == pytest.approx(sk.recall_score(truth, calls))
    if not truth.all():
        assert found["specificity"] == pytest.approx(sk.recall_score(1 - truth, 1 - calls, zero_division=0))


def test_several_classes_are_averaged():
    truth = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
    found = metrics(truth, probabilities)
    assert found["accuracy"] == 0.75
    assert found["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["precision"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, probabilities, multi_class="ovr"))


def test_undefined_metrics_are_nan_and_null_in_json():
    found = metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert np.isnan(found["roc_auc"]) and np.isnan(found["recall"])
    assert found["accuracy"] == 1.0
    assert found["precision"] == 0.0


def test_the_test_part_is_scored_and_the_json_has_what_it_must():
    train = [labelled("GGGGAAAACC", "x", "train"), labelled("AAAATTTTCC", "background", "train")] * 10
    test = [labelled("GGGGGGGGGG", "x", "test"), labelled("AAAAAAAAAA", "background", "test")] * 3
    found = gu.evaluate(CountGC(), train + test, bootstraps=20)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["n"] == 6
    assert {"n", "baselines", *METRICS} <= set(plain)
    assert plain["recall"] == 1.0
    assert {"gc", "kmer", "pwm", "position"} == set(plain["baselines"])
    for values in plain["baselines"].values():
        assert {"accuracy", "mcc", "roc_auc"} <= set(values)
    assert plain["baselines"]["gc"]["accuracy"] == 1.0


def test_the_table_has_a_row_each():
    records = [labelled("GGGG", "x"), labelled("AAAA", "background")]
    text = table({"toy": gu.evaluate(CountGC(), records, bootstraps=5)})
    header, row = text.splitlines()
    assert header.split()[:7] == list(METRICS)
    assert row.split()[0] == "toy"


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        ([], DatasetError, "no records"),
        ([labelled("ACGT", "x", "train")], DatasetError, "split=test"),
        ([labelled("ACGT", "x"), labelled("ACGT", "z")], UnknownClassError, "'z'"),
        ([labelled("ACGT", "x")], DatasetError, "class"),
    ],
)
def test_what_cannot_be_scored_is_refused(records, error, message):
    with pytest.raises(error, match=message):
        gu.evaluate(CountGC(), records)
