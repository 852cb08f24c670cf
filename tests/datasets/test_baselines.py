"""Each baseline finds what was put there for it, and nothing where nothing is."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from genomic_ulmfit.datasets.baselines import BASELINES, run_baselines
from genomic_ulmfit.errors import DatasetError


def record(letters, label):
    return SeqRecord(Seq(letters), annotations={"label": label})


def letters(rng, n, weights=(0.25, 0.25, 0.25, 0.25)):
    return "".join(rng.choice(list("ACGT"), size=n, p=weights))


def accuracy(probabilities, test, classes):
    names = np.array(classes)[probabilities.argmax(axis=1)]
    return (names == [r.annotations["label"] for r in test]).mean()


def scores(make, n=300, classes=("a", "b")):
    rng = np.random.default_rng(0)
    records = [record(make(rng, label), label) for _ in range(n) for label in classes]
    train, test = records[: len(records) // 2], records[len(records) // 2 :]
    return {name: accuracy(found, test, classes) for name, found in run_baselines(train, test).items()}


def test_noise_is_at_chance_for_every_baseline():
    found = scores(lambda rng, label: letters(rng, 40), n=600)
    assert set(found) == set(BASELINES) == {"gc", "kmer", "lookup", "pwm", "position"}
    assert all(abs(value - 0.5) < 0.1 for value in found.values())


def test_gc_content_is_found_by_gc():
    found = scores(lambda rng, label: letters(rng, 60, (0.4, 0.1, 0.1, 0.4) if label == "a" else (0.1, 0.4, 0.4, 0.1)))
    assert found["gc"] > 0.98


def test_a_word_anywhere_is_found_by_kmers_alone():
    def make(rng, label):
        text, at = letters(rng, 60), rng.integers(0, 40)
        return text[:at] + ("GATCGATCGATC" if label == "a" else "GTACGTACGTAC") + text[at + 12 :]

    found = scores(make)
    assert found["kmer"] > 0.95
    assert max(found["gc"], found["position"]) < 0.7


def test_a_start_codon_at_one_place_is_found_by_position():
    def make(rng, label):
        codon = rng.choice(["ATG", "GTG", "TTG"]) if label == "a" else letters(rng, 3)
        return letters(rng, 20) + codon + letters(rng, 20)

    found = scores(make, n=600)
    assert found["position"] > 0.93
    assert found["gc"] < 0.6


def test_position_names_the_place(caplog):
    train = [record("AAATAA", "a"), record("AAACAA", "b")]
    with caplog.at_level(logging.INFO):
        run_baselines(train, train)
    assert "3-mer at index 1 is right on 100.0 % of train" in caplog.text


def test_position_gives_the_shares_of_the_classes_with_the_prior_as_one_record():
    train = [record("AAA", "a"), record("AAA", "a"), record("AAA", "b"), record("CCC", "b")]
    found = run_baselines(train, [record(text, "a") for text in ("AAA", "CCC", "GGG", "ANA")])["position"]
    np.testing.assert_allclose(found, [[2.5 / 4, 1.5 / 4], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])


def test_pwm_is_naive_bayes_worked_out_by_hand():
    train = [record("A", "a"), record("A", "a"), record("C", "b")]
    found = run_baselines(train, [record("A", "a"), record("N", "a")])["pwm"]
    a, b = 2 / 3 * 3 / 6, 1 / 3 * 1 / 5
    np.testing.assert_allclose(found, [[a / (a + b), b / (a + b)], [2 / 3, 1 / 3]])


def pairs(rng, n, length=60):
    """Return records that overlap another of their class by 20 bp."""
    genome = {name: letters(rng, n * 40 + 20) for name in "ab"}
    return [record(genome[name][at : at + length], name) for at in range(0, n * 40, 40) for name in "ab"]


def test_records_that_overlap_others_of_their_class_are_found_by_lookup_alone():
    records = pairs(np.random.default_rng(3), 300)
    train = [r for i, r in enumerate(records) if i % 4 >= 2]
    test = [r for i, r in enumerate(records) if i % 4 < 2]
    right = {name: accuracy(found, test, ("a", "b")) for name, found in run_baselines(train, test).items()}
    assert right["lookup"] == 1.0
    assert max(right["gc"], right["kmer"], right["position"]) < 0.75


def test_lookup_does_not_mind_the_strand():
    records = pairs(np.random.default_rng(4), 10)
    flipped = [record(str(r.seq.reverse_complement()), r.annotations["label"]) for r in records]
    np.testing.assert_array_equal(run_baselines(records, flipped)["lookup"], run_baselines(records, records)["lookup"])


def test_lookup_votes_are_worked_out_by_hand():
    one, two, three = "ACGTTGCAACCATGGA", "TTGACCGATCATGCAG", "GGCATCATTACCGTAC"  # a 16-mer each
    train = [record(one, "a"), record(one, "b"), record(two + "N" + one, "b"), record(three, "a"), record(three, "a")]
    test = [record(text, "a") for text in (one, two, one + "N" + two, three, "ACGT")]
    none = [3 / 5, 2 / 5]  # every record of train finds another there: only the shares of the classes are left
    expected = [[1 / 3, 2 / 3], [0, 1], [1 / 6, 5 / 6], [1, 0], none]
    np.testing.assert_allclose(run_baselines(train, test)["lookup"], expected)


def test_lookup_takes_finding_nothing_for_what_finds_nothing_in_train():
    rng = np.random.default_rng(5)
    repeated = letters(rng, 30)
    train = [record(repeated, "a"), record(repeated, "a"), *(record(letters(rng, 30), "b") for _ in range(3))]
    found = run_baselines(train, [record(letters(rng, 30), "b")])["lookup"]
    np.testing.assert_allclose(found, [[0.4 / 4, 3.6 / 4]])


def test_many_classes_work_and_rows_are_probabilities():
    rng = np.random.default_rng(1)
    classes = ("x", "y", "z")
    weights = {"x": (0.7, 0.1, 0.1, 0.1), "y": (0.1, 0.7, 0.1, 0.1), "z": (0.1, 0.1, 0.1, 0.7)}
    records = [record(letters(rng, 50, weights[name]), name) for _ in range(50) for name in classes]
    found = run_baselines(records, records)
    for name, probabilities in found.items():
        assert probabilities.shape == (150, 3) and probabilities.dtype == np.float64
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        if name != "gc":
            assert accuracy(probabilities, records, classes) > 0.9 if name != "position" else True


def test_columns_follow_the_classes_asked_for():
    train = [record("AAAA", "a"), record("CCCC", "b")] * 5
    plain = run_baselines(train, train)
    asked = run_baselines(train, train, classes=["b", "new", "a"])
    for name in BASELINES:
        np.testing.assert_array_equal(asked[name][:, [2, 0]], plain[name])
        assert not asked[name][:, 1].any()


def test_case_and_u_make_no_difference():
    train = [record("ACGTTGCA", "a"), record("CCGTTTCA", "b")] * 3
    other = [record("acguugca", "a"), record("ccguuuca", "b")] * 3
    for name, found in run_baselines(train, other).items():
        np.testing.assert_array_equal(found, run_baselines(train, train)[name])


def test_a_test_record_alone_gets_what_it_gets_among_others():
    rng = np.random.default_rng(2)
    records = [record(letters(rng, 30), "ab"[i % 2]) for i in range(40)]
    together, alone = run_baselines(records, records), run_baselines(records, records[7:8])
    for name in BASELINES:
        np.testing.assert_allclose(alone[name][0], together[name][7])


def test_many_classes_have_a_discriminant_in_place_of_the_regression(monkeypatch):
    rng = np.random.default_rng(6)
    records = [
        record(letters(rng, 200, weights), name)
        for name, weights in (("a", (0.4, 0.1, 0.1, 0.4)), ("b", (0.1, 0.4, 0.4, 0.1)))
        for _ in range(300)
    ]
    usual = run_baselines(records[::2], records[1::2])["kmer"]
    monkeypatch.setattr("genomic_ulmfit.datasets.baselines._MANY", len(records) - 1)
    found = run_baselines(records[::2], records[1::2])["kmer"]
    assert not np.allclose(found, usual)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert accuracy(found, records[1::2], ("a", "b")) > 0.99


def test_too_many_weights_leave_out_what_needs_tables_by_position(caplog, monkeypatch):
    monkeypatch.setattr("genomic_ulmfit.datasets.baselines._MOST_WEIGHTS", 7)
    train = [record("AAAA", "a"), record("CCCC", "b")] * 3
    with caplog.at_level(logging.INFO):
        assert set(run_baselines(train, train)) == {"gc", "kmer", "lookup"}
    assert "baseline pwm is left out: 2 classes at 4 positions are too many" in caplog.text


def test_lengths_that_differ_leave_out_what_needs_one_length(caplog):
    train = [record("AAAAAA", "a"), record("CCCCC", "b")] * 3
    with caplog.at_level(logging.INFO):
        assert set(run_baselines(train, train)) == {"gc", "kmer", "lookup"}
    assert "baseline pwm is left out" in caplog.text and "baseline position is left out" in caplog.text


def test_sequences_shorter_than_a_word_or_of_unknown_bases_are_no_trouble():
    train = [record("A", "a"), record("C", "b"), record("N", "b")]
    assert all(np.isfinite(found).all() for found in run_baselines(train, train).values())


@pytest.mark.parametrize(
    ("train", "test", "classes", "message"),
    [
        ([record("A", "a")], [record("A", "a")], None, "only the class 'a'"),
        ([], [record("A", "a")], None, "no records"),
        ([record("A", "a"), record("C", "b")], [], None, "no test records"),
        ([record("A", "a"), record("C", "b")], [record("A", "a")], ["a", "c"], "class 'b', which is not one of a, c"),
    ],
)
def test_what_cannot_be_fitted_is_refused(train, test, classes, message):
    with pytest.raises(DatasetError, match=message):
        run_baselines(train, test, classes=classes)
