"""Metrics are those of scikit-learn, and say where they say nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from genomic_ulmfit.datasets.metrics import METRICS, jsonable, metrics, resampled

CLASSES = 3
SCORES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9])  # few of them: many tie


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
    if 0 < truth.sum() < len(truth):
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, calls))
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, p))
        assert found["pr_auc"] == pytest.approx(sk.average_precision_score(truth, p))


@given(st.lists(st.tuples(st.integers(0, CLASSES - 1), *[SCORES] * CLASSES), min_size=6, max_size=40))
def test_metrics_of_several_classes_equal_sklearn_s(rows):
    truth, scores = np.array([t for t, *_ in rows]), np.array([row for _, *row in rows])
    found, calls, present = metrics(truth, scores), scores.argmax(axis=1), sorted(set(truth.tolist()))
    means = {"labels": present, "average": "macro", "zero_division": 0}
    assert found["precision"] == pytest.approx(sk.precision_score(truth, calls, **means))
    assert found["recall"] == pytest.approx(sk.recall_score(truth, calls, **means))
    if len(present) > 1:
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, calls))
        areas = [sk.roc_auc_score(truth == c, scores[:, c]) for c in present]
        assert found["roc_auc"] == pytest.approx(np.mean(areas))
        areas = [sk.average_precision_score(truth == c, scores[:, c]) for c in present]
        assert found["pr_auc"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("at_once", [1, 10**6])
def test_intervals_are_percentiles_of_the_metrics_of_each_draw(n_classes, at_once, monkeypatch):
    monkeypatch.setattr("genomic_ulmfit.datasets.metrics._WEIGHTS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(n_classes, size=12), rng.integers(8, size=(12, n_classes)) / 8
    drawn = [rng.integers(12, size=size) for size in (12, 12, 9, 15, 12)]  # groups are of different sizes
    drawn.append(np.flatnonzero(truth == 1))  # one class alone: some metrics are undefined
    each = [metrics(truth[chosen], scores[chosen]) for chosen in drawn]
    assert np.isnan(each[-1]["roc_auc"]) and np.isfinite(each[0]["roc_auc"])
    found = resampled(truth, scores, iter(drawn))
    for name in METRICS:
        low, high = np.nanpercentile([values[name] for values in each], [2.5, 97.5])
        assert found[name] == pytest.approx((low, high))


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
