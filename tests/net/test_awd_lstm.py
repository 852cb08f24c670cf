import dataclasses

import pytest
import torch
from torch.nn import functional as F

from genomic_ulmfit.errors import UnknownClassError
from genomic_ulmfit.net.awd_lstm import (
    SIZES,
    AWDLSTMConfig,
    Classifier,
    LanguageModel,
    weight_dropped,
)
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.lstm import weight_mask

VOCAB = KmerVocab(k=2)
TINY = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=3, n_head=7)


def ids_of(rows: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, len(VOCAB), (rows, time), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def fastai_encoder():
    """fastai's AWD_LSTM of the tiny config; dropout of weights must not be 0 there."""
    from fastai.text.models.awdlstm import AWD_LSTM

    torch.manual_seed(0)
    return AWD_LSTM(len(VOCAB), TINY.n_embedding, TINY.n_hidden, TINY.n_layers, pad_token=0, weight_p=0.5).eval()


def transplant(theirs, ours) -> None:
    ours.embedding.weight.data.copy_(theirs.encoder.weight.data)
    for their_layer, our_layer in zip(theirs.rnns, ours.layers, strict=True):
        weights = dict(their_layer.module.named_parameters())
        weights["weight_hh_l0"] = their_layer.weight_hh_l0_raw
        for name, parameter in our_layer.named_parameters():
            parameter.data.copy_(weights[name].data)


def test_the_paper_s_sizes_and_dropouts_are_the_base_config():
    base = SIZES["base"]
    assert base.widths == [400, 1150, 1150, 400]
    assert (base.embedding_p, base.weight_p, base.hidden_p, base.output_p, base.drop_mult) == (0.1, 0.5, 0.2, 0.4, 1)


def test_language_model_equals_fastai_s_on_the_same_weights(fastai_encoder):
    from fastai.text.models.core import LinearDecoder, SequentialRNN

    decoder = LinearDecoder(len(VOCAB), TINY.n_embedding, output_p=0.1, tie_encoder=fastai_encoder.encoder)
    decoder.decoder.bias.data.uniform_(-1, 1)
    theirs = SequentialRNN(fastai_encoder, decoder).eval()
    theirs.reset()
    ours = LanguageModel(VOCAB, TINY).eval()
    transplant(fastai_encoder, ours.encoder)
    ours.bias.data.copy_(decoder.decoder.bias.data)
    state = None
    for block in ids_of(3, 160).split(80, dim=1):  # the carried state too
        output = ours(block, state)
        state = output.state
        torch.testing.assert_close(output.logits, theirs(block)[0], atol=1e-5, rtol=0)


def test_loss_and_gradients_in_training_equal_fastai_s():
    from fastai.text.models.awdlstm import AWD_LSTM
    from fastai.text.models.core import LinearDecoder, SequentialRNN

    sizes = (len(VOCAB), TINY.n_embedding, TINY.n_hidden, TINY.n_layers)
    off = {"hidden_p": 0.0, "input_p": 0.0, "embed_p": 0.0, "weight_p": 1e-9}  # weight_p=0 breaks it
    torch.manual_seed(0)
    encoder = AWD_LSTM(*sizes, pad_token=0, **off)
    theirs = SequentialRNN(encoder, LinearDecoder(len(VOCAB), TINY.n_embedding, 0.0, tie_encoder=encoder.encoder))
    theirs.train().reset()
    ours = LanguageModel(VOCAB, dataclasses.replace(TINY, drop_mult=0.0)).train()
    transplant(encoder, ours.encoder)
    state = None
    for block in ids_of(3, 60).split(30, dim=1):  # gradients of both blocks add up; the state is carried, not learnt
        output, (logits, raw, dropped) = ours(block, state), theirs(block)
        state = [(h.detach(), c.detach()) for h, c in output.state]
        losses = [regularised_loss(*seen, block) for seen in (output[:1] + output[2:], (logits, raw, dropped))]
        torch.testing.assert_close(*losses, atol=1e-4, rtol=0)
        for loss in losses:
            loss.backward()
    for name, gradient in gradients_by_our_names(theirs).items():
        torch.testing.assert_close(dict(ours.named_parameters())[name].grad, gradient, atol=1e-5, rtol=1e-4)


def regularised_loss(logits, raw, dropped, ids):
    """Cross entropy, activation and temporal activation regularisation."""
    entropy = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    return entropy + 2 * dropped.square().mean() + (raw[:, 1:] - raw[:, :-1]).square().mean()


def gradients_by_our_names(theirs) -> dict[str, torch.Tensor]:
    encoder, decoder = theirs
    found = {"encoder.embedding.weight": encoder.encoder.weight.grad, "bias": decoder.decoder.bias.grad}
    for i, layer in enumerate(encoder.rnns):
        of_layer = {"weight_hh_l0": layer.weight_hh_l0_raw} | dict(layer.module.named_parameters())
        found |= {f"encoder.layers.{i}.{name}": parameter.grad for name, parameter in of_layer.items()}
    return found


def test_classifier_equals_fastai_s_on_the_same_weights(fastai_encoder):
    from fastai.text.models.core import PoolingLinearClassifier, SentenceEncoder

    head = PoolingLinearClassifier([3 * TINY.n_embedding, TINY.n_head, 3], ps=[0.4, 0.1], bptt=72)
    theirs = torch.nn.Sequential(SentenceEncoder(72, fastai_encoder, pad_idx=0), head)
    ours = Classifier(VOCAB, TINY, ["background", "a", "b"])
    transplant(fastai_encoder, ours.encoder)
    for i, their_block in zip((0, 4), head.layers, strict=True):
        norm, linear = their_block[0], their_block[2]
        for parameter in (norm.weight, norm.bias):
            parameter.data.uniform_(0.5, 1.5)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 1.5)
        ours.head[i].load_state_dict(norm.state_dict())
        ours.head[i + 2].weight.data.copy_(linear.weight.data)
        ours.head[i + 2].bias.data.zero_()  # theirs has none
    theirs.eval(), ours.eval()
    ids = ids_of(4, 150)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(ids, torch.full((4,), 150)).logits, theirs(ids)[0], atol=1e-5, rtol=0, check_stride=False
        )


def test_the_decoder_is_tied():
    model = LanguageModel(VOCAB, TINY)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in model.encoder.parameters()) + len(VOCAB)
    output = model.eval()(ids_of(2, 5))
    torch.testing.assert_close(output.logits, output.raw @ model.encoder.embedding.weight.T + model.bias)


def test_evaluation_is_deterministic_and_training_is_not():
    model, ids = LanguageModel(VOCAB, TINY), ids_of(2, 9)
    assert not torch.equal(model(ids).logits, model(ids).logits)
    model.eval()
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_weight_drop_zeroes_the_stated_share_and_gradients_reach_the_rest():
    torch.manual_seed(0)
    layer = torch.nn.LSTM(10, 64, batch_first=True)
    weight_dropped(layer, torch.randn(4, 6, 10), None, 0.5, True)[0].square().sum().backward()
    zero = (layer.weight_hh_l0.grad == 0).float().mean().item()
    assert abs(zero - 0.5) < 0.03  # of 16,384 entries: five standard deviations are 0.02
    assert layer.weight_ih_l0.grad.abs().min() > 0


def test_weight_drop_scales_what_it_keeps_and_leaves_the_layer_as_it_was():
    layer, plain = torch.nn.LSTM(3, 5, batch_first=True), torch.nn.LSTM(3, 5, batch_first=True)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, 3)
    torch.manual_seed(1)
    dropped_output = weight_dropped(layer, x, None, 0.5, True)[0]
    assert torch.equal(layer.weight_hh_l0, plain.weight_hh_l0)
    torch.manual_seed(1)
    plain.weight_hh_l0.data *= weight_mask(plain.weight_hh_l0.data, 0.5)
    torch.testing.assert_close(dropped_output, plain(x)[0])


def test_embedding_dropout_drops_whole_words():
    model = LanguageModel(VOCAB, dataclasses.replace(TINY, embedding_p=0.3))
    model.encoder.embedding.weight.data.fill_(1.0)
    ids = torch.arange(len(VOCAB)).repeat(400, 1)
    embedded = torch.stack([model.encoder.embed(row, training=True) for row in ids])
    rows = embedded[..., 0]
    assert torch.equal(embedded, rows[..., None].expand_as(embedded))
    assert rows.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert abs((rows == 0).float().mean().item() - 0.3) < 0.03


def test_variational_dropout_keeps_its_mask_over_time():
    model = LanguageModel(VOCAB, dataclasses.replace(TINY, output_p=0.4))
    output = model(ids_of(50, 6))
    kept = (output.dropped != 0).float()
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert abs(kept.mean().item() - 0.6) < 0.06
    torch.testing.assert_close(output.dropped, output.raw * kept / 0.6)


def test_drop_mult_scales_all_dropouts():
    model = LanguageModel(VOCAB, dataclasses.replace(TINY, drop_mult=0.0))
    ids = ids_of(2, 9)
    assert torch.equal(model(ids).logits, model(ids).logits)
    with pytest.raises(ValueError, match="drop_mult"):
        dataclasses.replace(TINY, drop_mult=2.0)
    with pytest.raises(ValueError, match="segments are at least 1"):
        dataclasses.replace(TINY, segments=0)


@pytest.mark.parametrize("pool", ["last", "all"])
@pytest.mark.parametrize("segments", [1, 4])
def test_padding_is_never_seen(pool, segments):
    model = Classifier(VOCAB, dataclasses.replace(TINY, pool=pool, segments=segments), ["background", "x"]).eval()
    ids = ids_of(1, 9)
    padded = F.pad(ids, (0, 30))
    alone = model(ids, torch.tensor([9])).logits
    torch.testing.assert_close(model(padded, torch.tensor([9])).logits, alone, atol=1e-6, rtol=0)


def test_no_state_is_kept_between_calls():
    model, ids = LanguageModel(VOCAB, TINY).eval(), ids_of(2, 20)
    whole = model(ids).logits
    model(ids_of(2, 7, seed=1))
    first = model(ids[:, :8])
    second = model(ids[:, 8:], first.state)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, atol=1e-6, rtol=0)


def test_layer_groups_hold_each_parameter_once():
    for model in (LanguageModel(VOCAB, TINY), Classifier(VOCAB, TINY, ["background", "x"])):
        grouped = [id(p) for group in model.layer_groups() for p in group]
        assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_the_target_is_the_only_class_that_is_not_background():
    assert Classifier(VOCAB, TINY, ["background", "x"]).target_index() == 1
    three = Classifier(VOCAB, TINY, ["background", "x", "y"])
    assert three.target_index("y") == 2
    with pytest.raises(UnknownClassError, match="name one of"):
        three.target_index()
    with pytest.raises(UnknownClassError, match="'z'"):
        three.target_index("z")


@pytest.mark.parametrize(
    ("classes", "window", "anchor"),
    [(["x"], None, None), (["x", "x"], None, None), (["x", "y"], 10, 10), (["x", "y"], None, 3)],
)
def test_impossible_classifiers_are_refused(classes, window, anchor):
    with pytest.raises(ValueError, match="wanted"):
        Classifier(VOCAB, TINY, classes, window=window, anchor=anchor)


def test_the_sizes_have_the_parameters_that_the_docs_name():
    counts = {
        name: sum(p.numel() for p in LanguageModel(KmerVocab(3), config).parameters()) for name, config in SIZES.items()
    }
    assert counts == {"small": 1_061_186, "medium": 5_036_994, "base": 20_238_066}
