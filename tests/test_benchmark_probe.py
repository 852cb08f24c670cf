"""The benchmark of few labels: what it draws, and that its slices of features are what it says they are."""

import numpy as np
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks import probe as benchmark


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """60 records of two classes, a random language model, and its features by way of the cache."""
    torch.manual_seed(0)
    lm = gu.LanguageModel(gu.KmerVocab(2), gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=3)).eval()
    for parameter in lm.encoder.parameters():
        parameter.data *= 4
    rng, targets = np.random.default_rng(0), np.arange(60) % 2
    records = [
        SeqRecord(
            Seq("".join(rng.choice(list("ATTACAG" if target else "ACGGCT"), 40))),
            annotations={"label": "gene_start" if target else "background"},
        )
        for target in targets
    ]
    cache = tmp_path_factory.mktemp("probe") / "features.npy"
    features = benchmark.features_of(lm, records, cache)
    np.testing.assert_array_equal(benchmark.features_of(lm, [], cache), features)
    n = 3 + benchmark.SEGMENTS
    widths = [12] * 2 * n + [8] * n
    return benchmark.Lesson(lm, records, features, widths, targets, np.arange(40), np.arange(40, 60), 0)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("all_layers", {"pool": "all", "segments": 1}),
        ("last_layer", {"pool": "last", "segments": 1}),
        ("segments", {"pool": "all", "segments": benchmark.SEGMENTS}),
        ("chosen", {}),
    ],
)
def test_its_probes_are_those_that_train_classifier_makes(lesson, method, options):
    learnt, test = lesson.some(lesson.learnt), lesson.some(lesson.test)
    made = gu.train_classifier(lesson.lm, learnt, method="probe", progress=False, device="cpu", **options)
    found = getattr(lesson, f"probe_{method}")()
    np.testing.assert_allclose(found, gu.predict_proba(made, test, device="cpu"), atol=1e-4)


def test_half_of_a_draw_is_of_each_class_and_all_of_it_is_of_the_part():
    targets, among = (np.arange(100) % 10 == 0).astype(int), np.arange(50, 100)
    drawn = benchmark.draw(targets, among, 8, seed=1)
    assert sorted(targets[drawn]) == [0] * 4 + [1] * 4
    assert len(set(drawn)) == 8
    assert min(drawn) >= 50
    assert set(drawn) != set(benchmark.draw(targets, among, 8, seed=2))
    np.testing.assert_array_equal(benchmark.draw(targets, among, 0, seed=1), among)


def test_a_figure_is_kept_and_not_computed_again(lesson, tmp_path, monkeypatch):
    cell = tmp_path / "cell.json"
    first = benchmark.scored(lesson, "4-mer regression", cell)
    monkeypatch.setitem(benchmark.METHODS, "4-mer regression", None)
    assert benchmark.scored(lesson, "4-mer regression", cell) == first
