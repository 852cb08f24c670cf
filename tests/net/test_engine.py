import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_ulmfit.errors import PrecisionError, SettingError
from genomic_ulmfit.net import engine
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
from genomic_ulmfit.net.engine import PlainEngine, forward, has_bf16_units, log_odds, make_engine, softmax
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.workers import in_order
from tests.toy_models import CountGC

TINY = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=2, pool="all")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Classifier(KmerVocab(k=2), TINY, ["background", "x", "y"])
    for module in model.head:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
    return model


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 80), min_size=1, max_size=20), batch_size=st.integers(1, 9), seed=st.integers(0, 9)
)
def test_an_answer_does_not_depend_on_its_neighbours(model, lengths, batch_size, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(2, 18, n).astype(np.uint8) for n in lengths]
    together = forward(model, rows, batch_size=batch_size)
    alone = np.concatenate([forward(model, [row]) for row in rows])
    order = rng.permutation(len(rows))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(forward(model, [rows[i] for i in order])[np.argsort(order)], alone, atol=1e-5)


def test_a_model_goes_home_as_it_came(model):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forward(model, [np.array([2, 3, 4], np.uint8)])
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def random_classifier(n_layers, pool, seed=0, segments=1) -> Classifier:
    """A net with weights large enough that its answers differ, and batch norms that have seen something."""
    torch.manual_seed(seed)
    config = AWDLSTMConfig(n_embedding=12, n_hidden=33, n_layers=n_layers, n_head=7, pool=pool, segments=segments)
    model = Classifier(KmerVocab(k=2), config, ["background", "x"])
    for parameter in model.encoder.parameters():
        parameter.data *= 3
    for module in model.head:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.05, 0.5)
    return model.eval()


@pytest.mark.parametrize("pool", ["last", "all"])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("segments", [1, 5])
def test_the_engine_gives_what_the_plain_net_gives(n_layers, pool, segments):
    plain = random_classifier(n_layers, pool, segments=segments)
    rng = np.random.default_rng(n_layers)
    rows = [rng.integers(2, 18, n).astype(np.uint8) for n in [1, 2, 40, 3, 90, 90, 17, 1]]
    expected = softmax(PlainEngine(plain, torch.device("cpu")).logits(rows))
    assert np.ptp(expected[:, 1]) > 0.01
    np.testing.assert_allclose(softmax(forward(plain, rows, batch_size=5)), expected, atol=1e-5)


def test_a_net_with_a_forward_pass_of_its_own_is_run_by_it():
    rows = [np.array([3, 4, 2], np.uint8), np.array([2, 3], np.uint8)]
    assert isinstance(make_engine(CountGC(), rows), PlainEngine)
    np.testing.assert_array_equal(forward(CountGC(), rows), [[0, 2], [0, 1]])


def test_bf16_is_taken_where_it_stays_near_and_says_by_how_much(model, caplog, monkeypatch):
    rows = np.random.default_rng(0).integers(2, 18, (70, 30)).astype(np.uint8)
    monkeypatch.setattr(engine, "has_bf16_units", lambda device: True)
    with caplog.at_level("INFO", "genomic_ulmfit"):
        fast = make_engine(model, rows, precision="auto")
    assert fast.bf16
    assert "on the first 64 rows probabilities drift by 0.0" in caplog.text
    exact, near = softmax(forward(model, rows)), softmax(fast.logits(rows))
    assert 0 < np.abs(exact - near).max() < 0.05
    monkeypatch.setattr(engine, "has_bf16_units", lambda device: False)
    assert not make_engine(model, rows, precision="auto").bf16


@pytest.mark.parametrize(
    ("capabilities", "faster"),
    [
        ({"cpu_name": "Intel Xeon", "amx_bf16": True, "avx512_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "amx_bf16": False, "avx512_bf16": True}, False),  # AMX hidden by a hypervisor
        ({"cpu_name": "AMD EPYC", "amx_bf16": False, "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "amx_bf16": False, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_bf16_units_are_told_by_the_processors_features(capabilities, faster, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bf16_units(torch.device("cpu")) is faster


def test_bf16_that_drifts_is_refused(model, monkeypatch):
    rows = np.random.default_rng(0).integers(2, 18, (9, 30)).astype(np.uint8)
    monkeypatch.setattr(engine, "has_bf16_units", lambda device: True)
    monkeypatch.setattr(engine, "_MOST_DRIFT", 1e-9)
    assert not make_engine(model, rows, precision="auto").bf16
    with pytest.raises(PrecisionError, match="use precision 'fp32'"):
        forward(model, rows, precision="bf16")


def test_threads_change_no_answer_and_are_put_back(model):
    rng = np.random.default_rng(0)
    rows = [rng.integers(2, 18, n).astype(np.uint8) for n in rng.integers(1, 60, 70)]
    alone = forward(model, rows)
    done = []
    torch.set_num_threads(3)
    try:
        together = forward(model, rows, batch_size=9, advance=done.append)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert sum(done) == 70


def test_an_error_in_a_thread_comes_out_and_threads_are_put_back():
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            list(in_order(lambda n: 1 // n, [1, 1, 0, 1], torch.device("cpu")))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_an_unknown_precision_is_refused(model):
    with pytest.raises(SettingError, match="'int8', wanted 'fp32'"):
        forward(model, [], precision="int8")


def test_no_rows_give_no_logits(model):
    assert forward(model, []).shape == (0, 3)


def test_softmax_and_log_odds_agree_with_their_definitions():
    logits = np.array([[1.0, 2.0, 0.5], [300.0, -300.0, 0.0]], dtype=np.float32)
    p = softmax(logits)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(log_odds(logits, 1)[0], np.log(p[0, 1] / (1 - p[0, 1])), rtol=1e-5)
    assert log_odds(logits, 0)[1] == pytest.approx(300)
