"""What a classifier's training keeps, weighs, stops and brings home, on nets of a few units."""

import numpy as np
import pytest
import torch

import genomic_ulmfit.net.classifier_training as training
from genomic_ulmfit.net.awd_lstm import AWDLSTM, AWDLSTMConfig, Classifier
from genomic_ulmfit.net.classifier_training import ClassifierBatches, fit_classifier
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.learner import Recipe

VOCAB = KmerVocab(k=1)
TINY = AWDLSTMConfig(n_embedding=6, n_hidden=8, n_layers=2, n_head=4, pool="all", drop_mult=0.5)
RECIPE = Recipe(lr=1e-2, precision="fp32", device="cpu", progress=False)
RNG = np.random.default_rng(0)


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(VOCAB, TINY, ["background", "x"])


def batches(n: int, *, seed: int | None = 0, wrong: bool = False, **options) -> ClassifierBatches:
    """Records of two classes that differ in one letter; or the same ones with the other's label each."""
    labels = np.arange(n) % 2
    rows = [RNG.choice([2, 3, 4 + label], 8 + i % 5).astype(np.uint8) for i, label in enumerate(labels)]
    return ClassifierBatches(rows, 1 - labels if wrong else labels, batch_size=8, seed=seed, **options)


def accuracy(truth, probabilities):
    return {"mcc": float((truth == probabilities.argmax(axis=1)).mean())}


@pytest.mark.parametrize("stages", [[(1, 3)], [(2, 3)], [(1, 2), (2, 2), (3, 1)]])
def test_what_is_kept_of_frozen_layers_trains_the_same_net(stages, monkeypatch):
    rows, labels = batches(30).rows, batches(30).labels
    trained = []
    for most in (2**30, 0):
        monkeypatch.setattr(training, "KEPT_BYTES", most)
        model = classifier()
        train, valid = (ClassifierBatches(rows, labels, batch_size=8, seed=seed) for seed in (0, None))
        fitted = fit_classifier(model, train, valid, stages=stages, recipe=RECIPE)
        trained.append((model.state_dict(), fitted.history[-1]["valid_loss"]))
    (kept, loss), (again, other_loss) = trained
    assert loss == pytest.approx(other_loss, abs=1e-5)
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, again[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("n_groups", "runs"), [(1, [4, 4]), (2, [4, 4 * 5])])
def test_frozen_layers_run_once_and_not_every_epoch(n_groups, runs, monkeypatch):
    seen = []
    plain = AWDLSTM.run_layer

    def counted(self, i, *inputs, **options):
        seen.append(i)
        return plain(self, i, *inputs, **options)

    monkeypatch.setattr(AWDLSTM, "run_layer", counted)
    fit_classifier(classifier(), batches(30), None, stages=[(n_groups, 5)], recipe=RECIPE)
    assert [seen.count(i) for i in range(2)] == runs


def test_layers_are_kept_only_where_they_fit_and_records_are_read_whole(monkeypatch):
    parts = [batches(30, max_backprop=12)]
    assert [training._can_be_kept(training.Thawed(classifier(), n, 12), parts, RECIPE) for n in (0, 1, 2)] == [0, 1, 1]
    parts = [batches(30, max_backprop=9)]  # of 8 to 12: the state at the cut would have to be kept too
    assert [training._can_be_kept(training.Thawed(classifier(), n, 9), parts, RECIPE) for n in (0, 1, 2)] == [0, 0, 1]
    monkeypatch.setattr(training, "KEPT_BYTES", 30 * 3 * (8 + 6) * 4 - 1)
    assert not training._can_be_kept(training.Thawed(classifier(), 2), parts, RECIPE)


def test_the_weights_of_the_best_epoch_come_out():
    model, valid = classifier(), batches(24, seed=None, wrong=True)  # the more is learnt, the worse
    fitted = fit_classifier(model, batches(24), valid, stages=[(1, 3), (3, 9)], recipe=RECIPE)
    losses = [row["valid_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + int(np.argmin(losses)) < len(losses)
    logits, labels = zip(*((model(ids, lengths).logits.detach(), known) for ids, lengths, known in valid), strict=True)
    loss = torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert loss.item() == pytest.approx(min(losses), abs=1e-5)


def test_the_best_epoch_is_that_of_the_highest_mcc_and_then_of_the_lowest_loss():
    watch = training._Watch(classifier(), None, None, lambda _: None)
    for mcc, loss in ((0.0, 0.1), (0.5, 0.9), (0.5, 0.8), (0.4, 0.2)):
        watch.epoch_ended({"train_loss": 0, "valid_loss": loss, "valid_mcc": mcc})
    assert watch.fitted.best_epoch == 3


def test_a_valid_part_that_has_told_nothing_chooses_no_epoch_and_ends_no_stage():
    watch = training._Watch(classifier(), 1, None, lambda _: None)
    stops = [
        watch.epoch_ended({"valid_loss": loss, "valid_mcc": mcc}) for loss, mcc in ((0.1, 0), (0.5, -0.2), (0.6, 0))
    ]
    assert (stops, watch.fitted.best_epoch, watch.weights) == ([False] * 3, 3, None)
    assert not watch.epoch_ended({"valid_loss": 0.9, "valid_mcc": 0.1})
    assert watch.epoch_ended({"valid_loss": 0.1, "valid_mcc": 0.0})
    assert watch.fitted.best_epoch == 4


def test_a_stage_ends_when_patience_does():
    watch = training._Watch(classifier(), 2, None, lambda _: None)
    watch.begin_stage()
    assert [watch.epoch_ended({"valid_loss": loss}) for loss in (1.0, 0.9, 0.95, 0.91)] == [False, False, False, True]
    watch.begin_stage()
    assert [watch.epoch_ended({"valid_loss": loss}) for loss in (0.95, 0.8, 0.9)] == [False, False, False]
    assert [row["stage"] for row in watch.fitted.history] == [1] * 4 + [2] * 3
    assert watch.fitted.best_epoch == 6


def test_training_goes_on_with_the_next_stage_when_patience_ends_one():
    parts = batches(24), batches(24, seed=None, wrong=True)
    fitted = fit_classifier(classifier(), *parts, stages=[(1, 60), (3, 60)], recipe=RECIPE, patience=2)
    epochs = [[row["stage"] for row in fitted.history].count(stage) for stage in (1, 2)]
    assert all(2 <= n < 60 for n in epochs)


def test_without_a_valid_part_all_epochs_are_run_and_the_last_one_comes_out():
    fitted = fit_classifier(classifier(), batches(24), None, stages=[(3, 6)], recipe=RECIPE, patience=1)
    assert (len(fitted.history), fitted.best_epoch) == (6, 6)
    assert set(fitted.history[0]) == {"stage", "epoch", "train_loss"}


def test_the_history_is_told_after_each_epoch():
    heard = []
    fit_classifier(
        classifier(),
        batches(16),
        batches(16, seed=None),
        stages=[(1, 2), (3, 1)],
        recipe=RECIPE,
        scores=accuracy,
        on_epoch=lambda fitted: heard.append((fitted.history[-1]["stage"], len(fitted.history))),
    )
    assert heard == [(1, 1), (1, 2), (2, 3)]


def test_class_weights_are_factors_of_the_loss():
    steps = training._ClassifierSteps(RECIPE)
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0, 1])
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert steps.loss(logits, labels).item() == pytest.approx(plain.mean().item())
    steps.class_weights = torch.tensor([0.5, 2.0])
    by_hand = (0.5 * plain[0] + 0.5 * plain[1] + 2 * plain[2]) / 3
    assert steps.loss(logits, labels).item() == pytest.approx(by_hand.item())


def test_a_long_record_does_not_stretch_a_batch_of_short_ones():
    rows = [np.zeros(n, np.uint8) for n in [100_000] + [1000] * 63]
    for max_backprop in (None, 3500):
        dealt = ClassifierBatches(rows, np.zeros(64, np.int64), batch_size=64, seed=0, max_backprop=max_backprop)
        shapes = sorted(tuple(ids.shape) for ids, _, _ in dealt)
        assert shapes == [(2, 100_000), (62, 1000)]


def test_long_records_come_in_batches_by_the_kmers_that_send_gradients():
    rows = [np.zeros(100_000, np.uint8)] * 64
    sizes = [len(y) for *_, y in ClassifierBatches(rows, np.zeros(64, np.int64), batch_size=64, seed=0)]
    assert sizes == [2] * 32
    cut = ClassifierBatches(rows, np.zeros(64, np.int64), batch_size=64, seed=0, max_backprop=3500)
    assert sorted(len(y) for *_, y in cut) == [10, 18, 18, 18]


@pytest.mark.parametrize("stages", [[(3, 2)], [(2, 2)], [(1, 1)]])
def test_batch_norm_knows_records_of_all_lengths_as_predictions_have_them(stages):
    labels = np.arange(60) % 2
    rows = [RNG.choice([2, 3, 4 + label], 4 + i).astype(np.uint8) for i, label in enumerate(labels)]
    model = classifier()
    fit_classifier(model, ClassifierBatches(rows, labels, batch_size=8, seed=0), None, stages=stages, recipe=RECIPE)
    first, second = (module for module in model.head if isinstance(module, torch.nn.BatchNorm1d))
    for norm in (first, second):
        alone = np.concatenate([inputs_of(norm, model, row) for row in rows])
        np.testing.assert_allclose(norm.running_mean, alone.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(norm.running_var, alone.var(axis=0, ddof=1), rtol=1e-4, atol=1e-6)


def inputs_of(norm, model, row):
    """Read one record and return what one of the head's batch norms is given."""
    found = []
    with norm.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().numpy())), torch.no_grad():
        model(torch.from_numpy(row.astype(np.int64))[None], torch.tensor([len(row)]))
    return found[0]


def test_of_many_records_those_of_some_lengths_tell_batch_norm_of_all(monkeypatch):
    monkeypatch.setattr(training, "_SETTLING_RECORDS", 20)
    rows, sizes = [np.zeros(10 + i, np.uint8) for i in range(80)], []
    model = classifier().eval()
    with model.register_forward_pre_hook(lambda _, inputs: sizes.extend(inputs[1].tolist())):
        training._settle(model.head, model, ClassifierBatches(rows, np.arange(80) % 2, batch_size=4, seed=0))
    assert (len(sizes), min(sizes), max(sizes)) == (20, 10, 77)


def test_windows_leave_batch_norm_what_training_told_it(monkeypatch):
    monkeypatch.setattr(training, "_settle", lambda *_: pytest.fail("records of like length need no settling"))
    fit_classifier(classifier(), batches(30), batches(30, seed=None), stages=[(3, 2)], recipe=RECIPE)


def test_the_lr_finder_s_curve_is_kept_for_each_stage():
    recipe = Recipe(lr="auto", precision="fp32", device="cpu", progress=False)
    fitted = fit_classifier(classifier(), batches(24), batches(8, seed=None), stages=[(1, 1), (3, 1)], recipe=recipe)
    assert len(fitted.lr_finder) == 2
    for curve in fitted.lr_finder:
        assert curve["rates"] == sorted(curve["rates"])
        assert len(curve["losses"]) == len(curve["rates"])
        assert curve["rates"][0] < curve["chosen"] < curve["rates"][-1]
    assert len(fitted.history) == 2  # the finder's epochs are not among them
