"""A probe is a classifier like any other: made, compared, saved, scanned and explained."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.cards import card_text
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.net.checkpoint import describe
from genomic_ulmfit.probing import better, train_probe

TINY = gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=2, n_head=6)
QUIET = {"progress": False, "device": "cpu"}
LETTERS = {"rich": "ACGGCT", "background": "ATTACAG", "other": "ACCA"}


@pytest.fixture(scope="module")
def language_model():
    """Random weights, large enough that outputs differ: features of anything."""
    torch.manual_seed(0)
    model = gu.LanguageModel(gu.KmerVocab(2), TINY, {"stages": [{"stage": "pretrain", "seed": 7}]})
    for parameter in model.encoder.parameters():
        parameter.data *= 4
    return model.eval()


def some(counts: dict[str, int], split: str | None = None, seed: int = 0) -> list[SeqRecord]:
    """So many records of each class, which differ in their bases; of 40 bp, their anchor at 10."""
    rng = np.random.default_rng(seed)
    place = {"anchor": 10} | ({} if split is None else {"split": split})
    return [
        SeqRecord(Seq("".join(rng.choice(list(LETTERS[label]), 40))), id="r", annotations={"label": label, **place})
        for label, n in counts.items()
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def records():
    return some({"rich": 10, "background": 10}, "train") + some({"rich": 15, "background": 15}, "valid", seed=1)


@pytest.fixture(scope="module")
def probe(language_model, records):
    return gu.train_classifier(language_model, records, method="probe", **QUIET)


def recalls(model: gu.Classifier, records: list[SeqRecord]) -> list[float]:
    calls = gu.predict_proba(model, records, device="cpu").argmax(axis=1)
    truth = np.array([model.classes.index(record.annotations["label"]) for record in records])
    return [float((calls == c)[truth == c].mean()) for c in range(len(model.classes))]


def test_a_probe_learns_from_20_labels(probe):
    assert probe.classes == ("background", "rich")
    assert (probe.window, probe.anchor, probe.training) == (40, 10, False)
    assert min(recalls(probe, some({"rich": 50, "background": 50}, seed=2))) > 0.7


def test_the_encoder_is_the_language_model_s(probe, language_model):
    ours, theirs = probe.encoder.state_dict(), language_model.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_its_card_says_how_it_was_made_and_what_it_reached(probe, language_model, records):
    pretrained, stage = probe.card["stages"]
    assert pretrained == language_model.card["stages"][0]
    assert len(language_model.card["stages"]) == 1
    assert (stage["stage"], stage["method"], stage["records"]) == ("train", "probe", 20)
    assert stage["pool"] == probe.config.pool
    assert stage["n_features"] == {"all": 3 * (12 + 8), "last": 3 * 8}[stage["pool"]]
    assert len(stage["data_sha256"]) == 64
    found = gu.evaluate(probe, [bare(record) for record in records[20:]], bootstraps=2, device="cpu")
    assert (stage["valid_mcc"], stage["valid_accuracy"]) == (pytest.approx(found.mcc), pytest.approx(found.accuracy))
    assert 0 < stage["valid_loss"] < np.log(2)
    assert "method probe" in card_text(probe)


def bare(record: SeqRecord) -> SeqRecord:
    """Return a record that says no split."""
    return SeqRecord(record.seq, id="r", annotations={"label": record.annotations["label"]})


def test_without_a_valid_part_the_card_has_no_metrics(language_model):
    probe = gu.train_classifier(language_model, some({"rich": 3, "background": 3}), method="probe", **QUIET)
    assert not any(name.startswith("valid") for name in probe.card["stages"][-1])


def test_three_classes_of_which_two_are_rare(language_model):
    probe = gu.train_classifier(
        language_model, some({"background": 30, "rich": 4, "other": 3}), method="probe", **QUIET
    )
    assert probe.classes == ("background", "other", "rich")
    assert min(recalls(probe, some({"background": 40, "rich": 40, "other": 40}, seed=3))) > 0.5


def test_the_same_seed_gives_the_same_probe(language_model, records, probe):
    again = gu.train_classifier(language_model, records, method="probe", **QUIET)
    assert describe(again) == describe(probe)
    pairs = zip(again.state_dict().values(), probe.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("pool", "n_features"), [("last", 3 * 8), ("all", 3 * (12 + 8))])
def test_the_layers_to_pool_can_be_said(language_model, records, pool, n_features):
    probe = gu.train_classifier(language_model, records, method="probe", pool=pool, **QUIET)
    assert probe.config.pool == probe.card["stages"][-1]["pool"] == pool
    assert probe.card["stages"][-1]["n_features"] == probe.head[0].in_features == n_features


def test_a_probe_is_saved_and_loaded(probe, records, tmp_path):
    back = gu.load(gu.save(probe, tmp_path / "probe.safetensors"))
    assert describe(back) == describe(probe)
    np.testing.assert_array_equal(
        gu.predict_proba(back, records, device="cpu"), gu.predict_proba(probe, records, device="cpu")
    )


def test_a_scan_gives_what_each_window_gives_alone(probe):
    text = str(some({"rich": 1}, seed=4)[0].seq) * 5
    blocks = list(gu.scan(probe, gu.Genome({"c": text}), step=5, strands="+", device="cpu"))
    starts = np.concatenate([block.starts for block in blocks]) + 2 - probe.anchor  # the anchor is the bin's middle
    windows = [SeqRecord(Seq(text[start : start + 40]), id="w") for start in starts if 0 <= start <= len(text) - 40]
    scores = np.concatenate([block.scores for block in blocks])
    expected = gu.predict_proba(probe, windows, device="cpu")[:, 1]
    np.testing.assert_allclose(scores[~np.isnan(scores)], expected, atol=1e-5)


def test_saliency_is_that_of_every_copy_read_in_full(probe, records):
    shared, full = (
        gu.saliency(probe, records[:2], lengths=(1, 5), exact=exact, device="cpu") for exact in (False, True)
    )
    for one, other in zip(shared, full, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_auto_keeps_the_better_on_the_validation_part_and_says_both_figures(language_model, records, caplog):
    caplog.set_level(logging.INFO)
    kept = gu.train_classifier(language_model, records, method="auto", epochs=1, lr=1e-9, precision="fp32", **QUIET)
    stage = kept.card["stages"][-1]
    assert stage["method"] == "probe"  # fine-tuning at that rate learns nothing
    assert stage["compared_valid_mcc"]["probe"] == stage["valid_mcc"] > stage["compared_valid_mcc"]["finetune"]
    assert "the probe is kept" in caplog.text
    assert "30 validation records decided" in caplog.text


def test_the_better_is_the_one_with_the_higher_mcc_and_a_tie_is_the_probe_s(language_model, records):
    learnt, checked = records[:20], records[20:]
    good = train_probe(language_model, learnt, checked, **QUIET)
    swapped = [relabelled(record) for record in learnt]
    bad = train_probe(language_model, swapped, checked, **QUIET)
    assert better(bad, good, checked, device="cpu") is good
    assert better(good, bad, checked, device="cpu") is good
    assert better(good, train_probe(language_model, learnt, checked, **QUIET), checked, device="cpu") is good


def relabelled(record: SeqRecord) -> SeqRecord:
    label = {"rich": "background", "background": "rich"}[record.annotations["label"]]
    return SeqRecord(record.seq, id="r", annotations={**record.annotations, "label": label})


@pytest.mark.parametrize(
    ("counts", "options", "error", "message"),
    [
        ({"rich": 4}, {"method": "probe"}, DatasetError, "only the class 'rich'"),
        ({"rich": 4, "background": 1}, {"method": "probe"}, DatasetError, "one record only of 'background'"),
        ({"rich": 4, "background": 4}, {"method": "auto"}, DatasetError, "no record says split=valid"),
        ({"rich": 4, "background": 4}, {"method": "prob"}, SettingError, "'prob'"),
        ({"rich": 4, "background": 4}, {"method": "probe", "precision": "fp8"}, SettingError, "fp8"),
    ],
)
def test_what_cannot_be_probed_is_refused(language_model, counts, options, error, message):
    with pytest.raises(error, match=message):
        gu.train_classifier(language_model, some(counts), **options, **QUIET)


@pytest.mark.parametrize("method", ["probe", "auto"])
def test_from_scratch_there_is_nothing_to_probe(records, method):
    with pytest.raises(SettingError, match="from scratch"):
        gu.train_classifier((gu.KmerVocab(2), TINY), records, method=method, **QUIET)


def test_a_label_of_the_valid_part_that_training_has_not_is_refused(language_model, records):
    with pytest.raises(DatasetError, match="'other'"):
        gu.train_classifier(language_model, records + some({"other": 2}, "valid"), method="probe", **QUIET)


def test_a_wider_head_of_the_language_model_s_config_does_not_matter(language_model, records, probe):
    other = gu.LanguageModel(language_model.vocab, dataclasses.replace(TINY, n_head=3, pool="all"))
    other.load_state_dict(language_model.state_dict())
    again = gu.train_classifier(other, records, method="probe", **QUIET)
    assert again.config == probe.config
