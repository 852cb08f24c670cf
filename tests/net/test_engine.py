import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
from genomic_ulmfit.net.engine import forward, log_odds, softmax
from genomic_ulmfit.net.kmers import KmerVocab

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


def test_no_rows_give_no_logits(model):
    assert forward(model, []).shape == (0, 3)


def test_softmax_and_log_odds_agree_with_their_definitions():
    logits = np.array([[1.0, 2.0, 0.5], [300.0, -300.0, 0.0]], dtype=np.float32)
    p = softmax(logits)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(log_odds(logits, 1)[0], np.log(p[0, 1] / (1 - p[0, 1])), rtol=1e-5)
    assert log_odds(logits, 0)[1] == pytest.approx(300)
