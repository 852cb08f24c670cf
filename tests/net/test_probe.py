"""The probe's regression is scikit-learn's own, and its layer says the same as the plain net and the engine do."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier, LanguageModel
from genomic_ulmfit.net.engine import Engine, PlainEngine, forward, softmax
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.probe import PENALTIES, fit_probe, pooled_outputs, regress, set_head

LINEAR = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=2, n_head=0, pool="all")
CPU = torch.device("cpu")


WIDTHS = [20, 20, 20, 12, 12, 12]


@pytest.fixture(scope="module")
def language_model():
    torch.manual_seed(0)
    model = LanguageModel(KmerVocab(k=2), dataclasses.replace(LINEAR, n_head=5))
    for parameter in model.encoder.parameters():
        parameter.data *= 5
    return model.eval()


def probe_of(language_model: LanguageModel, classes: str, pool: str = "all", segments: int = 1) -> Classifier:
    config = dataclasses.replace(LINEAR, pool=pool, segments=segments)
    model = Classifier(KmerVocab(k=2), config, list(classes))
    model.encoder.load_state_dict(language_model.encoder.state_dict())
    return model.eval()


def rows_of(targets: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Rows of several lengths whose k-mers hint at their class."""
    rng = np.random.default_rng(seed)
    return [rng.integers(2 + 3 * target, 11 + 3 * target, rng.integers(5, 60)).astype(np.uint8) for target in targets]


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request, language_model):
    """A probe of 2 or 3 classes, what it learnt from, and its fit."""
    targets = np.random.default_rng(1).choice(request.param, 60, p=[[0.7, 0.3], [0.6, 0.3, 0.1]][request.param - 2])
    model, rows = probe_of(language_model, "abc"[: request.param]), rows_of(targets)
    pool, segments, fit = fit_probe(language_model, rows, targets, pools=["all"], device="cpu", progress=False)
    assert (pool, segments) == ("all", 1)
    set_head(model, fit)
    return model, rows, targets, fit


def test_features_are_last_maximal_and_mean_output_of_each_layer(language_model):
    rows = rows_of(np.arange(5) % 2)
    features, widths = pooled_outputs(language_model, rows, device="cpu", progress=False)
    assert widths == WIDTHS
    assert (features.shape, features.dtype) == ((5, sum(WIDTHS)), np.float32)
    with torch.no_grad():
        raw, _ = language_model.encoder(torch.from_numpy(rows[3].astype(np.int64))[None])
    expected = torch.cat([x for layer in raw for x in (layer[0, -1], layer[0].max(dim=0).values, layer[0].mean(dim=0))])
    np.testing.assert_allclose(features[3], expected, atol=1e-6)


def test_logits_are_the_head_of_the_features(language_model):
    model, rows = probe_of(language_model, "ab"), rows_of(np.arange(5) % 2)
    engine = Engine(model, device=CPU)
    weight, bias = (x.detach().numpy() for x in model.head.parameters())
    np.testing.assert_allclose(engine.logits(rows), engine.features(rows) @ weight.T + bias, atol=1e-5)


def test_a_probe_says_what_scikit_learn_s_pipeline_says(fitted):
    model, rows, targets, fit = fitted
    features = Engine(model, device=CPU).features(rows).astype(np.float64)
    variances = [block.var(axis=0).sum() / np.mean(WIDTHS) for block in np.split(features, np.cumsum(WIDTHS)[:-1], 1)]
    scale = np.repeat(np.sqrt(variances), WIDTHS)
    theirs = make_pipeline(
        StandardScaler(with_std=False),
        FunctionTransformer(lambda x: x / scale),
        LogisticRegression(C=fit.penalty, class_weight="balanced", max_iter=5000, tol=1e-8),
    ).fit(features, targets)
    others = rows_of(targets, seed=1)
    expected = theirs.predict_proba(Engine(model, device=CPU).features(others).astype(np.float64))
    np.testing.assert_allclose(softmax(forward(model, others, device="cpu")), expected, atol=1e-5)


def test_the_plain_net_says_what_the_engine_says(fitted):
    model, rows, *_ = fitted
    plain = softmax(PlainEngine(model, CPU).logits(rows))
    np.testing.assert_allclose(softmax(Engine(model, device=CPU).logits(rows)), plain, atol=1e-5)


def test_a_probe_learns(fitted):
    model, _, targets, fit = fitted
    assert fit.penalty in PENALTIES
    calls = forward(model, rows_of(targets, seed=2), device="cpu").argmax(axis=1)
    assert np.mean([(calls == targets)[targets == c].mean() for c in set(targets)]) > 0.8


def test_of_several_pools_the_one_with_the_lower_loss_is_taken(language_model):
    targets = np.arange(30) % 2
    how = {"device": "cpu", "progress": False}
    each = [fit_probe(language_model, rows_of(targets), targets, pools=[pool], **how) for pool in ("all", "last")]
    pool, _, fit = fit_probe(language_model, rows_of(targets), targets, **how)
    assert [found.weights.shape[1] for _, _, found in each] == [sum(WIDTHS), sum(WIDTHS[-3:])]
    assert (fit.loss, pool) == min((found.loss, name) for name, _, found in each)


@pytest.mark.parametrize("pool", ["last", "all"])
def test_segments_are_taken_where_the_place_tells(language_model, pool):
    """Class 1 has in its first half what class 0 has in its second."""
    targets, rng = np.arange(40) % 2, np.random.default_rng(0)
    halves = [[rng.integers(low, low + 6, 20) for low in (2, 12)] for _ in targets]
    rows = [np.concatenate(both[:: 1 - 2 * t]).astype(np.uint8) for both, t in zip(halves, targets, strict=True)]
    how = {"pools": [pool], "device": "cpu", "progress": False}
    _, segments, fit = fit_probe(language_model, rows, targets, segments=[1, 4], **how)
    assert segments == 4
    model = probe_of(language_model, "ab", pool, segments)
    set_head(model, fit)
    np.testing.assert_array_equal(forward(model, rows, device="cpu").argmax(axis=1), targets)
    same = fit_probe(language_model, rows, targets, segments=[4], **how)[2]
    np.testing.assert_array_equal(same.weights, fit.weights)


def some(n: int, width: int, targets: np.ndarray, shift: float, seed: int = 0) -> np.ndarray:
    """Features of which each is shifted in class 1."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, width)) + shift * targets[:, None]).astype(np.float32)


def test_fewer_records_than_features_have_the_regression_of_the_features_themselves():
    targets = np.arange(40) % 3
    features = some(40, 60, targets, 0.3)
    fit = regress(features, targets, [60])
    scale = np.sqrt(features.astype(np.float64).var(axis=0).sum() / 60)
    theirs = LogisticRegression(C=fit.penalty, class_weight="balanced", max_iter=5000, tol=1e-10)
    theirs.fit(features.astype(np.float64) / scale, targets)
    np.testing.assert_allclose(fit.weights, theirs.coef_ / scale, atol=1e-5)


def test_the_same_seed_gives_the_same_fit():
    targets = np.arange(40) % 2
    first, second = (regress(some(40, 30, targets, 0.5), targets, [10, 20], seed=3) for _ in range(2))
    assert (first.penalty, first.loss) == (second.penalty, second.loss)
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_a_rare_class_is_called_too():
    """Two records in twenty are of class 1, and neither is called always."""
    targets, truth = (np.arange(20) % 10 == 0).astype(np.int64), np.arange(200) % 2
    fit = regress(some(20, 50, targets, 1), targets, [50])
    calls = (some(200, 50, truth, 1, seed=1) @ fit.weights.T + fit.bias).argmax(axis=1)
    assert calls[truth == 1].mean() > 0.5
    assert calls[truth == 0].mean() < 0.5


def test_a_block_that_hardly_moves_is_scaled_as_a_whole_and_one_that_never_does_is_no_trouble():
    """Rounding in one unit of a block that otherwise moves is not blown up, though it tells the classes apart."""
    targets = np.arange(40) % 2
    features = some(40, 6, targets, 0)
    features[:, 1], features[:, 4:] = 0.5 + 1e-6 * targets, 0.25
    fit = regress(features, targets, [4, 2])
    assert abs(fit.weights[1, 1]) < 1
    np.testing.assert_allclose(fit.weights[1, 4:], 0, atol=1e-6)


def test_blocks_count_the_same_in_whatever_unit_they_are():
    targets = np.arange(40) % 2
    features = some(40, 6, targets, 0.5)
    plain, other = (regress(features * unit, targets, [2, 4]) for unit in ([1] * 6, [1, 1, 8, 8, 8, 8]))
    np.testing.assert_allclose(plain.weights[1], other.weights[1] * [1, 1, 8, 8, 8, 8], rtol=1e-3)


def test_the_penalty_is_chosen_on_few_of_many_records(monkeypatch):
    monkeypatch.setattr("genomic_ulmfit.net.probe._MOST_TUNED", 20)
    targets = (np.arange(300) % 30 == 0).astype(np.int64)
    features = some(300, 5, targets, 3)
    fit = regress(features, targets, [5])
    assert ((features @ fit.weights.T + fit.bias).argmax(axis=1) == targets).mean() > 0.95


def test_a_linear_head_is_one_layer_and_a_negative_width_is_refused():
    model = Classifier(KmerVocab(k=2), LINEAR, ["a", "b", "c"])
    assert [name for name in model.state_dict() if name.startswith("head")] == ["head.0.weight", "head.0.bias"]
    assert tuple(model.head[0].weight.shape) == (3, 3 * 32)
    with pytest.raises(SettingError, match="n_head"):
        AWDLSTMConfig(n_head=-1)
