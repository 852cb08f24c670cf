"""What is frozen is read once, what is long is read in parts, and the answer is that of the plain net."""

import dataclasses

import pytest
import torch
from torch.nn.functional import pad

from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.pooling import concat_pool
from genomic_ulmfit.net.thawed import FromKept, Thawed, read_past

VOCAB = KmerVocab(k=2)
DRY = AWDLSTMConfig(n_embedding=6, n_hidden=9, n_layers=3, n_head=5, pool="all", drop_mult=0.0, head_p=0.0)
LENGTHS = torch.tensor([30, 7, 23, 12, 23])


def classifier(config: AWDLSTMConfig = DRY) -> Classifier:
    torch.manual_seed(1)
    model = Classifier(VOCAB, config, ["background", "x"])
    model.encoder.embedding.weight.data *= 10
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    drawn = torch.randint(2, len(VOCAB), (5, 30), generator=torch.Generator().manual_seed(0))
    return drawn * (torch.arange(30) < LENGTHS[:, None])


@pytest.mark.parametrize("pool", ["last", "all"])
@pytest.mark.parametrize("max_backprop", [1, 12, 29, 30, None])
@pytest.mark.parametrize("n_frozen", [0, 1, 3])
@pytest.mark.parametrize("segments", [1, 4, 9])
def test_a_forward_pass_is_that_of_the_plain_net(ids, pool, max_backprop, n_frozen, segments):
    model = classifier(dataclasses.replace(DRY, pool=pool, segments=segments)).eval()
    with torch.no_grad():
        expected = model(ids, LENGTHS).logits
        torch.testing.assert_close(Thawed(model, n_frozen, max_backprop)(ids, LENGTHS).logits, expected)


@pytest.mark.parametrize("max_backprop", [1, 12, 29])
def test_no_more_is_read_with_gradients_than_asked_however_lengths_differ(ids, max_backprop):
    read, left, past = Thawed(classifier(), 0, max_backprop).cut(ids, LENGTHS)
    assert read.shape == (5, max_backprop) and past is not None
    assert left.tolist() == [min(n, max_backprop) for n in LENGTHS.tolist()]
    for row, whole, n, cut in zip(read, ids, LENGTHS.tolist(), left.tolist(), strict=True):
        assert row[:cut].tolist() == whole[n - cut : n].tolist()


def gradients(model: Classifier, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("segments", [1, 4])
def test_gradients_are_those_of_a_state_that_was_detached_by_hand(ids, segments):
    model, n_past = classifier(dataclasses.replace(DRY, segments=segments)).train(), (LENGTHS - 12).clamp(min=0)
    ours = gradients(model, Thawed(model, 0, 12)(ids, LENGTHS).logits[:, 1].square().sum())
    pooled = []
    for row, length, cut in zip(ids, LENGTHS.tolist(), n_past.tolist(), strict=True):  # a row at a time
        with torch.no_grad():
            early, state = model.encoder(row[None, :cut]) if cut else ([], None)
        late, _ = model.encoder(row[None, cut:length], state)
        whole = [torch.cat([e, x], dim=1) for e, x in zip(early, late, strict=True)] if cut else late
        real = torch.ones(1, length, dtype=torch.bool)
        pooled.append(torch.cat([concat_pool(x, torch.tensor([length]), real, segments) for x in whole], dim=1))
    by_hand = gradients(model, model.head(torch.cat(pooled))[:, 1].square().sum())
    for mine, theirs in zip(ours, by_hand, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_without_a_limit_gradients_are_those_of_the_plain_net_and_a_limit_changes_them(ids):
    model = classifier().train()
    plain, free, cut = (
        gradients(model, net(ids, LENGTHS).logits[:, 1].square().sum())
        for net in (model, Thawed(model, 0, 30), Thawed(model, 0, 12))
    )
    for mine, theirs in zip(free, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not torch.allclose(cut[0], plain[0], rtol=1e-2)


def test_the_past_is_read_in_stretches_of_few_kmers(ids, monkeypatch):
    model, n_past = classifier(dataclasses.replace(DRY, segments=3)).eval(), (LENGTHS - 5).clamp(min=0)
    whole = read_past(model.encoder, ids, n_past, LENGTHS)
    monkeypatch.setattr("genomic_ulmfit.net.thawed._TOKENS", 15)
    parts = read_past(model.encoder, ids, n_past, LENGTHS)
    torch.testing.assert_close(parts.pooled, whole.pooled)
    torch.testing.assert_close(parts.state, whole.state)


def test_what_is_past_is_not_dropped_out_and_sends_no_gradient(ids):
    model = classifier(dataclasses.replace(DRY, drop_mult=1.0)).train()
    first, second = (read_past(model.encoder, ids, LENGTHS - 1, LENGTHS) for _ in range(2))
    torch.testing.assert_close(first.pooled, second.pooled, atol=0, rtol=0)
    assert not any(x.requires_grad for layer in first.pooled for x in layer)


@pytest.mark.parametrize("n_frozen", [1, 2, 3])
def test_frozen_layers_give_the_same_in_training_as_in_evaluation(ids, n_frozen):
    thawed = Thawed(classifier(dataclasses.replace(DRY, drop_mult=1.0)), n_frozen)
    learning, reading = thawed.train().below(ids, LENGTHS), thawed.eval().below(ids, LENGTHS)
    torch.testing.assert_close(learning, reading, atol=0, rtol=0)
    assert not learning[1].requires_grad


@pytest.mark.parametrize("n_frozen", [1, 2, 3])
def test_layers_above_the_cut_learn_the_same_from_what_was_kept(ids, n_frozen):
    thawed = Thawed(classifier(), n_frozen).train()
    x, features = thawed.below(ids, LENGTHS)
    kept = FromKept(thawed)(pad(x, (0, 0, 0, 2 if n_frozen < 3 else 0)), features, LENGTHS)
    plain = thawed(ids, LENGTHS)
    torch.testing.assert_close(kept.logits, plain.logits)
    learning = [p for group in thawed.layer_groups()[n_frozen:] for p in group]
    ours, theirs = (torch.autograd.grad(found.logits[:, 1].square().sum(), learning) for found in (kept, plain))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_under_bf16_the_state_goes_on_in_its_own_precision(ids):
    model = classifier().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = Thawed(model, 0, 5)(ids, LENGTHS).logits
    torch.testing.assert_close(found.float(), model(ids, LENGTHS).logits.detach(), atol=0.05, rtol=0.05)
