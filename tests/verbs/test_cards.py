"""What is said of a model."""

import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.cards import card_text
from genomic_ulmfit.datasets.metrics import METRICS
from tests.toy_models import CountGC

TEXTS = ("ACGTTGCAACGT", "GGCATTACAGCA", "TTGACCAGTACG", "CATTGGACCATA")


@pytest.fixture
def model():
    return gu.LanguageModel(gu.KmerVocab(2), gu.AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1))


def test_a_publisher_s_words_come_first(model):
    model.card = {"name": "toy", "summary": "nothing learnt", "licence": "MIT", "not_for": "anything"}
    title, empty, not_for, licence, *_ = card_text(model).splitlines()
    assert (title, empty) == ("toy: nothing learnt", "")
    assert not_for.split() == ["not", "for", "anything"]
    assert licence.split() == ["licence", "MIT"]


def test_a_card_without_a_publisher_begins_with_the_net(model):
    assert card_text(model).startswith("kind        language model")


def test_metrics_of_a_split_stand_beside_baselines_with_the_calibration_error():
    model = CountGC()
    found = dict.fromkeys(METRICS, 0.75)
    rest = {"n": 1200, "intervals": {"mcc": [0.7, None]}, "baselines": {"gc": found | {"pr_auc": None}}}
    model.card = {"evaluation": {"homology": found | rest | {"calibration_error": [0.03, 0.02, 0.05]}}}
    lines = [" ".join(line.split()) for line in card_text(model).splitlines()]
    assert f"homology split, 1,200 records{' 0.750' * 7} 0.700 to nan" in lines
    assert f"baseline gc{' 0.750' * 6} nan" in lines
    assert "expected calibration error, homology split: 0.030 (0.020 to 0.050)" in lines


def test_held_out_bits_stand_beside_rivals(model):
    model.card = {"held_out_bits_per_base": {"this model": [1.9, 1.88, 1.92], "Markov order 5": [1.95]}}
    lines = [line.split() for line in card_text(model).splitlines()]
    assert ["this", "model", "1.900", "1.880", "to", "1.920"] in lines
    assert ["Markov", "order", "5", "1.950"] in lines


def test_sequences_are_listed_with_what_was_cut_out_of_them_and_what_they_were_read_for():
    genomes = gu.Genome({"chr1": "ACGTTGCATT" * 300, "chr2": "AACCTG" * 300})
    lm = gu.pretrain(
        genomes,
        valid_genomes=[gu.Genome({"plasmid": "CATTACG" * 200})],
        exclude_similar=[gu.Genome({"other": "GATTACA" * 20})],
        config=gu.AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1),
        max_steps=1,
        batch_size=2,
        progress=False,
    )
    rows = {line.split()[0]: line.split() for line in card_text(lm).splitlines() if line.strip()}
    assert rows["chr1"][1::2] == ["3,000", "0", "training"]
    assert rows["plasmid"][1] == "1,400"
    assert rows["plasmid"][-1] == "validation"


def test_a_long_list_of_sequences_is_cut(model):
    sequences = [{"id": f"contig{i}", "bp": 10, "sha256": "0" * 64} for i in range(150)]
    model.card = {"stages": [{"stage": "pretrain", "sequences": sequences}]}
    text = card_text(model)
    assert "sequences 150 listed below" in " ".join(text.split())
    assert "contig99 " in text
    assert "contig100 " not in text
    assert text.endswith("and 50 more: --json lists all")


def test_what_is_made_of_a_published_model_has_none_of_its_words_and_figures(model):
    model.card = {
        "name": "toy",
        "summary": "no bias",
        "licence": "MIT",
        "held_out_bits_per_base": {"this model": [1.9]},
    }
    records = [SeqRecord(Seq(text), annotations={"label": name}) for text, name in zip(TEXTS, "abab", strict=True)]
    tuned = gu.finetune(model, records, progress=False)
    made = [tuned] + [
        gu.train_classifier(tuned, records, method=method, epochs=1, progress=False) for method in ("finetune", "probe")
    ]
    for derived in [*made, gu.calibrate(made[1], records)]:
        assert set(derived.card) == {"made_from", "stages"} and derived.card["made_from"] == "toy"
        assert card_text(derived).splitlines()[0].split() == ["made", "from", "toy"]
    assert [stage["stage"] for stage in made[1].card["stages"]] == ["finetune", "train"]
