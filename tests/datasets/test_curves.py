import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from genomic_ulmfit.datasets.curves import calibration, ranking_curves
from genomic_ulmfit.errors import DatasetError, SettingError


@pytest.fixture(params=["spread", "ties"])
def scored(request):
    rng = np.random.default_rng(0)
    true = rng.random(300) < 0.3
    score = rng.normal(size=300) + true
    return true, score if request.param == "spread" else score.round()


def test_curves_and_areas_are_those_of_scikit_learn(scored):
    true, score = scored
    found = ranking_curves(true, score, bootstraps=5)
    assert found.roc_auc[0] == pytest.approx(roc_auc_score(true, score))
    assert found.pr_auc[0] == pytest.approx(average_precision_score(true, score))
    rates, hits, _ = roc_curve(true, score, drop_intermediate=False)
    above = [
        np.interp(x, rates[np.append(np.diff(rates) > 0, True)], hits[np.append(np.diff(rates) > 0, True)])
        for x in found.grid
    ]
    np.testing.assert_allclose(found.true_positive_rate, above)
    precision, recall, _ = precision_recall_curve(true, score)
    first = [precision[np.flatnonzero(recall >= x - 1e-12)[-1]] for x in found.grid[1:]]
    np.testing.assert_allclose(found.precision[1:], first)
    assert (found.positives, found.negatives) == (true.sum(), (~true).sum())


def test_intervals_hold_the_figures_and_the_seed_decides_them(scored):
    found, again, other = (ranking_curves(*scored, bootstraps=200, seed=seed) for seed in (1, 1, 2))
    for area, low, high in (found.roc_auc, found.pr_auc):
        assert low < area < high
    low, high = found.true_positive_rate_interval
    assert ((low <= found.true_positive_rate + 0.02) & (found.true_positive_rate - 0.02 <= high)).all()
    assert found.roc_auc == again.roc_auc != other.roc_auc


def test_a_reliability_diagram_by_hand():
    true = np.array([True] * 8 + [False] * 2 + [True, False])
    found = calibration(true, np.array([0.9] * 10 + [0.3, 0.25]), bins=4)
    assert found.counts.tolist() == [0, 2, 0, 10]
    np.testing.assert_allclose(found.predicted, [np.nan, 0.275, np.nan, 0.9])
    np.testing.assert_allclose(found.observed, [np.nan, 0.5, np.nan, 0.8])
    assert found.error[0] == pytest.approx((2 * 0.225 + 10 * 0.1) / 12)
    np.testing.assert_allclose(found.interval[:, 3], [0.4902, 0.9433], atol=1e-4)  # Wilson's, of 8 in 10


def test_true_probabilities_have_a_small_error_and_wrong_ones_a_large_one():
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    true = rng.random(20_000) < probability
    assert calibration(true, probability, bootstraps=10).error[0] < 0.02
    error, low, high = calibration(true, 1 - probability, bootstraps=50).error
    assert low < error < high
    assert error == pytest.approx(0.5, abs=0.02)


def test_probabilities_of_0_and_1_are_in_the_first_and_the_last_bin():
    assert calibration(np.array([False, True]), np.array([0.0, 1.0]), bins=3).counts.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("compute", "arguments", "error", "said"),
    [
        (ranking_curves, {"true": [True], "score": [1.0]}, DatasetError, "both kinds"),
        (ranking_curves, {"true": [True, False], "score": [1.0, 0.0], "bootstraps": 0}, SettingError, "bootstraps"),
        (calibration, {"true": [], "probability": []}, DatasetError, "0 records"),
        (calibration, {"true": [True], "probability": [1.5]}, DatasetError, "0 to 1"),
        (calibration, {"true": [True], "probability": [0.5], "bins": 0}, SettingError, "bins"),
    ],
)
def test_what_has_no_curve_is_refused(compute, arguments, error, said):
    with pytest.raises(error, match=said):
        compute(**arguments)
