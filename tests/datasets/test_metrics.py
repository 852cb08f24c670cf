"""Metrics are those of scikit-learn, and say where they say nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from genomic_ulmfit.datasets.metrics import jsonable, metrics


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


def test_values_for_json_are_plain_and_undefined_ones_are_none():
    assert jsonable({"a": (1.5, float("nan")), "b": {"c": [float("inf")]}}) == {"a": [1.5, None], "b": {"c": [None]}}
