"""The probe's regression is scikit-learn's own, and its layer says the same as the plain net and the engine do."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genomic_ulmfit.errors import SettingError
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
from genomic_ulmfit.net.engine import Engine, PlainEngine, forward, softmax
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.probe import PENALTIES, fit_probe, regress

LINEAR = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=2, n_head=0, pool="all")
CPU = torch.device("cpu")


def probe_of(classes: str, pool: str = "all") -> Classifier:
    torch.manual_seed(0)
    config = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=2, n_head=0, pool=pool)
    model = Classifier(KmerVocab(k=2), config, list(classes))
    for parameter in model.encoder.parameters():
        parameter.data *= 5
    return model.eval()


def rows_of(targets: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Rows of several lengths whose k-mers hint at their class."""
    rng = np.random.default_rng(seed)
    return [rng.integers(2 + 3 * target, 11 + 3 * target, rng.integers(5, 60)).astype(np.uint8) for target in targets]


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request):
    """A probe of 2 or 3 classes, what it learnt from, and its penalty."""
    targets = np.random.default_rng(1).choice(request.param, 60, p=[[0.7, 0.3], [0.6, 0.3, 0.1]][request.param - 2])
    model, rows = probe_of("abc"[: request.param]), rows_of(targets)
    return model, rows, targets, fit_probe(model, rows, targets, device="cpu", progress=False)


def test_features_are_last_maximal_and_mean_output_of_each_layer():
    model, rows = probe_of("ab"), rows_of(np.arange(5) % 2)
    engine = Engine(model, device=CPU)
    features = engine.features(rows, batch_size=2)
    assert (features.shape, features.dtype) == ((5, engine.n_features), np.float32)
    assert engine.n_features == 3 * (20 + 12)
    with torch.no_grad():
        raw, _ = model.encoder(torch.from_numpy(rows[3].astype(np.int64))[None])
    expected = torch.cat([x for layer in raw for x in (layer[0, -1], layer[0].max(dim=0).values, layer[0].mean(dim=0))])
    np.testing.assert_allclose(features[3], expected, atol=1e-6)


def test_logits_are_the_head_of_the_features():
    model, rows = probe_of("ab"), rows_of(np.arange(5) % 2)
    engine = Engine(model, device=CPU)
    by_hand = engine.features(rows) @ model.head[0].weight.detach().numpy().T + model.head[0].bias.detach().numpy()
    np.testing.assert_allclose(engine.logits(rows), by_hand, atol=1e-5)


def test_a_probe_says_what_scikit_learn_s_pipeline_says(fitted):
    model, rows, targets, penalty = fitted
    features = Engine(model, device=CPU).features(rows)
    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000, tol=1e-8)
    )
    theirs.fit(features.astype(np.float64), targets)
    others = rows_of(targets, seed=1)
    expected = theirs.predict_proba(Engine(model, device=CPU).features(others).astype(np.float64))
    np.testing.assert_allclose(softmax(forward(model, others, device="cpu")), expected, atol=1e-5)


def test_the_plain_net_says_what_the_engine_says(fitted):
    model, rows, *_ = fitted
    plain = softmax(PlainEngine(model, CPU).logits(rows))
    np.testing.assert_allclose(softmax(Engine(model, device=CPU).logits(rows)), plain, atol=1e-5)


def test_a_probe_learns_and_leaves_the_encoder_alone(fitted):
    model, _, targets, penalty = fitted
    assert penalty in PENALTIES
    calls = forward(model, rows_of(targets, seed=2), device="cpu").argmax(axis=1)
    assert np.mean([(calls == targets)[targets == c].mean() for c in set(targets)]) > 0.8
    fresh = probe_of("abc"[: len(model.classes)])
    pairs = zip(model.encoder.parameters(), fresh.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_same_seed_gives_the_same_fit():
    rng = np.random.default_rng(0)
    targets = np.arange(40) % 2
    features = (rng.normal(size=(40, 30)) + targets[:, None] / 2).astype(np.float32)
    first, second = (regress(features, targets, seed=3) for _ in range(2))
    assert first.penalty == second.penalty
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_a_rare_class_is_called_too():
    """One record in ten is of class 1, and neither is called always."""
    rng = np.random.default_rng(0)
    targets = (np.arange(20) % 10 == 0).astype(np.int64)
    features = (rng.normal(size=(20, 50)) + targets[:, None]).astype(np.float32)
    fit = regress(features, targets)
    others = (rng.normal(size=(200, 50)) + targets[np.arange(200) % 20, None]).astype(np.float32)
    calls = (others @ fit.weights.T + fit.bias).argmax(axis=1)
    truth = targets[np.arange(200) % 20]
    assert calls[truth == 1].mean() > 0.5
    assert calls[truth == 0].mean() < 0.5


def test_a_feature_that_hardly_moves_is_not_blown_up():
    rng = np.random.default_rng(0)
    targets = np.arange(40) % 2
    features = rng.normal(size=(40, 2)).astype(np.float32)
    features[:, 1] = 0.5 + 1e-7 * targets  # rounding, that happens to tell the classes apart
    assert abs(regress(features, targets).weights[1, 1]) < 1


def test_the_penalty_is_chosen_on_few_of_many_records(monkeypatch):
    monkeypatch.setattr("genomic_ulmfit.net.probe._MOST_TUNED", 20)
    rng = np.random.default_rng(0)
    targets = (np.arange(300) % 30 == 0).astype(np.int64)
    features = (rng.normal(size=(300, 5)) + 3 * targets[:, None]).astype(np.float32)
    fit = regress(features, targets)
    calls = (features @ fit.weights.T + fit.bias).argmax(axis=1)
    assert (calls == targets).mean() > 0.95


def test_a_linear_head_is_one_layer_and_a_negative_width_is_refused():
    model = Classifier(KmerVocab(k=2), LINEAR, ["a", "b", "c"])
    assert [name for name in model.state_dict() if name.startswith("head")] == ["head.0.weight", "head.0.bias"]
    assert tuple(model.head[0].weight.shape) == (3, 3 * 32)
    with pytest.raises(SettingError, match="n_head"):
        AWDLSTMConfig(n_head=-1)
