"""Oracle: torch's own LSTM layer and its autograd."""

import dataclasses
import sys

import pytest
import torch
from torch import nn

from genomic_ulmfit.net import lstm as module
from genomic_ulmfit.net import memory
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, LanguageModel
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.lstm import Weights, lstm, weight_mask

BATCH, TIME = 3, 7


def weights_of(layer: nn.LSTM) -> Weights:
    return Weights(layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)


@pytest.fixture(params=[(5, 7), (40, 32), (64, 33)], ids=lambda sizes: "{} to {}".format(*sizes))
def layer(request):
    torch.manual_seed(0)
    return nn.LSTM(*request.param, batch_first=True)


def given(layer: nn.LSTM) -> list[torch.Tensor]:
    """Return an input and a state that want gradients."""
    x = torch.randn(BATCH, TIME, layer.input_size)
    state = torch.randn(2, 1, BATCH, layer.hidden_size)
    return [tensor.requires_grad_() for tensor in (x, *state.unbind())]


def results_and_gradients(run, leaves):
    """Run, and return everything that comes out and the gradients of a sum with random weights."""
    outputs, (h, c) = run()
    generator = torch.Generator().manual_seed(1)
    loss = sum((y * torch.randn(y.shape, generator=generator)).sum() for y in (outputs, h, c))
    return [outputs, h, c, *torch.autograd.grad(loss, leaves)]


def test_results_and_all_gradients_are_those_of_torch_s_layer(layer):
    x, h, c = given(layer)
    leaves, weights = [x, h, c, *layer.parameters()], weights_of(layer)
    theirs = results_and_gradients(lambda: layer(x, (h, c)), leaves)
    ours = results_and_gradients(lambda: lstm(x, (h, c), weights, dtype=torch.float32), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_gradients_in_bf16_point_where_float32_s_do(layer):
    x, h, c = given(layer)
    leaves, weights = [x, h, c, *layer.parameters()], weights_of(layer)
    exact = results_and_gradients(lambda: layer(x, (h, c)), leaves)
    ours = results_and_gradients(lambda: lstm(x, (h, c), weights), leaves)
    for a, b in zip(ours, exact, strict=True):
        assert a.dtype == torch.float32
        assert torch.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


def test_a_state_that_is_not_given_is_zero(layer):
    x, zero = given(layer)[0], torch.zeros(1, BATCH, layer.hidden_size)
    without, given_zero = (lstm(x, state, weights_of(layer))[0] for state in (None, (zero, zero)))
    assert torch.equal(without, given_zero)


def test_dropped_weights_are_as_if_they_were_zero_and_learn_nothing(layer):
    x, h, c = given(layer)
    leaves = [x, *layer.parameters()]
    torch.manual_seed(2)
    mask = weight_mask(layer.weight_hh_l0, 0.3)
    masked = {"weight_hh_l0": layer.weight_hh_l0 * mask}
    theirs = results_and_gradients(lambda: torch.func.functional_call(layer, masked, (x, (h, c))), leaves)
    torch.manual_seed(2)
    ours = results_and_gradients(lambda: lstm(x, (h, c), weights_of(layer), weight_p=0.3, dtype=torch.float32), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert not ours[3 + 2][mask == 0].any()


def test_dropped_input_features_are_as_if_they_were_zero_at_all_times(layer):
    x = given(layer)[0].detach() + 3  # no gradient is zero by chance
    x.requires_grad_()
    torch.manual_seed(4)
    outputs, _ = lstm(x, None, weights_of(layer), input_p=0.5, dtype=torch.float32)
    outputs.sum().backward()
    kept = x.grad.abs().sum(dim=1, keepdim=True) > 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(outputs, layer(x * kept * 2)[0], atol=1e-5, rtol=1e-5)


def test_the_same_seed_gives_the_same_bits(layer):
    x, h, c = given(layer)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        run = lambda: lstm(x, (h, c), weights_of(layer), input_p=0.2, weight_p=0.5)  # noqa: E731
        runs.append(results_and_gradients(run, [x, *layer.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_frozen_weights_and_inputs_get_no_gradients(layer):
    x = given(layer)[0].detach()
    layer.requires_grad_(False)
    layer.weight_hh_l0.requires_grad_()
    outputs, _ = lstm(x, None, weights_of(layer))
    outputs.sum().backward()
    assert layer.weight_hh_l0.grad.any()
    assert layer.weight_ih_l0.grad is None
    assert x.grad is None


def test_a_mask_of_weights_is_zero_or_makes_up_for_the_zeros():
    torch.manual_seed(0)
    mask = weight_mask(torch.empty(400, 301), 0.2)
    low, high = mask.unique().tolist()
    assert low == 0
    assert high == pytest.approx(1 / 0.8, abs=1e-4)
    assert mask.mean().item() == pytest.approx(1, abs=0.01)  # standard deviation .0014
    assert not torch.equal(mask, weight_mask(mask, 0.2))


def test_a_language_model_in_bf16_takes_large_layers_here_and_learns_the_same(monkeypatch):
    config = AWDLSTMConfig(n_embedding=24, n_hidden=40, n_layers=3, drop_mult=0.0)
    vocab, taken = KmerVocab(k=2), []
    torch.manual_seed(0)
    model = LanguageModel(vocab, config)
    ids = torch.randint(2, len(vocab), (4, 20))
    monkeypatch.setattr(
        "genomic_ulmfit.net.awd_lstm.lstm", lambda *args, **names: taken.append(1) or lstm(*args, **names)
    )

    def gradients(bf16: bool) -> torch.Tensor:
        state = None
        model.zero_grad()
        for block in ids.split(10, dim=1):  # carries a state
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = model(block, state)
            state = [(h.detach(), c.detach()) for h, c in output.state]
            nn.functional.cross_entropy(output.logits.float()[:, :-1].flatten(0, 1), block[:, 1:].flatten()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact, by_torch = gradients(bf16=False), gradients(bf16=True)
    assert not taken
    monkeypatch.setattr(module, "_LARGE", 0)
    ours = gradients(bf16=True)
    assert len(taken) == 2 * config.n_layers
    assert torch.cosine_similarity(ours, exact, dim=0) > 0.999
    assert torch.cosine_similarity(ours, by_torch, dim=0) > 0.999
    model.eval()
    model(ids)
    assert len(taken) == 2 * config.n_layers


def test_dropouts_reach_large_layers(monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 0)
    config = AWDLSTMConfig(n_embedding=24, n_hidden=40, n_layers=2, drop_mult=0.0)
    only_weights = dataclasses.replace(config, embedding_p=0, hidden_p=0, output_p=0, drop_mult=1.0)
    ids = torch.randint(2, 18, (4, 20))
    for settings, same in ((config, True), (only_weights, False)):
        model = LanguageModel(KmerVocab(k=2), settings)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(ids).logits, model(ids).logits) is same


def test_the_same_seed_drops_the_same_in_float32_and_bf16(monkeypatch):
    monkeypatch.setattr(module, "_LARGE", 0)
    model = LanguageModel(KmerVocab(k=2), AWDLSTMConfig(n_embedding=24, n_hidden=40, n_layers=3))
    ids, logits = torch.randint(2, 18, (4, 20)), []
    for bf16 in (False, True):
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits.append(model(ids).logits.float().flatten())
    assert torch.cosine_similarity(*logits, dim=0) > 0.999


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc/self/statm")
def test_what_is_kept_is_given_back_at_twice_what_a_step_takes(monkeypatch):
    held, given_back = [0], []
    monkeypatch.setattr(memory, "resident", lambda: held[0])
    with memory.recycled_memory() as tidy:
        monkeypatch.setattr(memory, "_set", given_back.append)
        for now, expected in ((10, 0), (19, 0), (20, 0), (21, 1), (8, 1), (20, 1), (21, 2), (15, 2), (29, 2), (31, 3)):
            held[0] = now
            tidy()
            assert len(given_back) == expected, now


def test_memory_is_recycled_only_where_the_c_library_can(monkeypatch):
    with memory.recycled_memory():
        assert torch.ones(2**24).sum() == 2**24
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with memory.recycled_memory():
        pass
