"""Classifiers that read from right to left, and ensembles: each verb against the slow way."""

import json

import numpy as np
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import genomic_ulmfit as gu
from genomic_ulmfit.cards import card_text
from genomic_ulmfit.cli import main
from genomic_ulmfit.errors import SequenceTooShortError, SettingError
from genomic_ulmfit.net import sharing
from genomic_ulmfit.net.checkpoint import describe
from genomic_ulmfit.net.engine import log_odds, softmax
from genomic_ulmfit.net.ensemble import mean_logits

KINDS = [(1, 1), (3, 1), (5, 2), (4, 4)]
TINY = gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=2, n_head=5, pool="all", drop_mult=0.1)
QUIET = {"progress": False, "precision": "fp32", "device": "cpu"}


def net(k=3, stride=1, direction="backward", window=None, anchor=None, seed=0, config=TINY) -> gu.Classifier:
    torch.manual_seed(seed)
    vocab = gu.KmerVocab(k, stride, direction)
    model = gu.Classifier(vocab, config, ["background", "x"], window=window, anchor=anchor)
    model.encoder.embedding.weight.data *= 10  # so that letters matter,
    model.head[-1].weight.data *= 10  # and show
    return model.eval()


def pair(**options) -> gu.Ensemble:
    return gu.Ensemble([net(3, 1, "forward", **options), net(5, 2, "backward", seed=1, **options)])


def text_of(n: int, seed: int = 0, unknown: float = 0.01) -> str:
    known = (1 - unknown) / 4
    return "".join(np.random.default_rng(seed).choice(list("ACGTN"), n, p=[known] * 4 + [unknown]))


def record(text: str, name: str = "r") -> SeqRecord:
    return SeqRecord(Seq(text), id=name)


@torch.inference_mode()
def slow(model: gu.Classifier | gu.Ensemble, text: str) -> np.ndarray:
    """Probabilities (2,) by each member's own forward pass; a backward one reads the ids of a forward one, flipped."""
    found = []
    for member in model.members if isinstance(model, gu.Ensemble) else [model]:
        ids = torch.from_numpy(gu.KmerVocab(member.vocab.k, member.vocab.stride).encode(text).astype(np.int64))
        ids = ids.flip(0) if member.vocab.direction == "backward" else ids
        found.append(member(ids[None], torch.tensor([len(ids)])).logits[0].double().softmax(0).numpy())
    return np.mean(found, axis=0)


def slow_odds(model, text: str) -> float:
    background, x = slow(model, text)
    return np.log(x / background)


MODELS = pytest.mark.parametrize("make", [net, pair], ids=["backward", "ensemble"])


@MODELS
@pytest.mark.parametrize("minus", [False, True])
def test_predictions_are_those_of_flipped_ids(make, minus):
    texts = [text_of(n, n) for n in (120, 10, 47)]
    found = gu.predict_proba(make(), [record(text) for text in texts], strands="-" if minus else "+")
    read = [str(Seq(text).reverse_complement()) if minus else text for text in texts]
    np.testing.assert_allclose(found, [slow(make(), text) for text in read], atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_direction_matters():
    texts = [record(text_of(50))]
    one, other = (gu.predict_proba(net(direction=direction), texts) for direction in ("forward", "backward"))
    assert abs(one - other).max() > 0.01


@settings(max_examples=12)
@given(
    kind=st.sampled_from(KINDS),
    window=st.integers(10, 60),
    anchor=st.none() | st.integers(0, 9),
    step=st.integers(1, 60),
    strand=st.sampled_from("+-"),
)
def test_a_scan_equals_windows_fetched_one_by_one(kind, window, anchor, step, strand):
    model = net(*kind, window=window, anchor=anchor)
    genome = gu.Genome({"chr1": text_of(400, unknown=0.005)})
    (block,) = gu.scan(model, genome, step=step, strands=strand)
    left = window // 2 if anchor is None else anchor
    for i in range(0, len(block.scores), max(1, len(block.scores) // 6)):
        start = i * step + step // 2 - (left if strand == "+" else window - 1 - left)
        text, n_kmers = "", model.vocab.n_kmers(window)
        if 0 <= start <= 400 - window:
            text = str(genome.fetch(gu.Interval("chr1", start, start + window, strand=strand)).seq)
        if not text or "N" in text[: model.vocab.span(n_kmers - 1)[1]]:
            assert np.isnan(block.scores[i])
        else:
            assert block.scores[i] == pytest.approx(gu.predict_proba(model, [record(text)])[0, 1], abs=1e-5)
            assert block.scores[i] == pytest.approx(slow(model, text)[1], abs=1e-5)


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("kind", [*KINDS, "ensemble"])
def test_windows_that_share_have_the_scores_of_whole_windows(kind, strand, monkeypatch, caplog):
    monkeypatch.setattr(sharing, "_FEWEST", 20)
    monkeypatch.setattr(sharing, "_CLOSED", {False: (1e-5,)})  # so that these short windows close
    config = gu.AWDLSTMConfig(n_embedding=8, n_hidden=9, n_layers=2, n_head=5)
    model = pair(window=120, anchor=7, config=config) if kind == "ensemble" else None
    model = model or net(*kind, window=60 * kind[1], anchor=7, config=config)
    for member in getattr(model, "members", [model]):
        member.encoder.embedding.weight.data /= 10
    letters = np.array(list(text_of(1000, unknown=0)))
    letters[[5, 300, 411]] = "N"
    genome = gu.Genome({"chr1": "".join(letters)})
    with caplog.at_level("INFO", "genomic_ulmfit"):
        (block,) = gu.scan(model, genome, step=3, strands=strand)
    assert caplog.text.count("they share their ends") == (2 if kind == "ensemble" else 1)
    (exact,) = gu.scan(model, genome, step=3, strands=strand, exact=True)
    np.testing.assert_allclose(block.scores, exact.scores, atol=1e-5)
    answered = np.flatnonzero(np.isfinite(block.scores))[::7]
    left = 7 if strand == "+" else model.window - 8
    starts = [i * 3 + 1 - left for i in answered]
    places = [gu.Interval("chr1", start, start + model.window, strand=strand) for start in starts]
    expected = gu.predict_proba(model, genome.fetch_many(places))[:, 1]
    np.testing.assert_allclose(block.scores[answered], expected, atol=1e-5)


def test_a_member_without_an_answer_leaves_a_gap():
    """With k = 4, stride = 4 a window of 10 bp ends in two bases that no k-mer covers; with k = 1 it does not."""
    members = [net(1, 1, "forward", window=10, anchor=0), net(4, 4, "backward", window=10, anchor=0)]
    genome = gu.Genome({"c": "ACGTTGCAAGTCNCATGGACTACC"})
    lone, both = (next(gu.scan(model, genome, step=1, strands="+")) for model in (members[1], gu.Ensemble(members)))
    assert np.flatnonzero(np.isfinite(lone.scores)).tolist() == [0, 1, 2, 3, 4, 13, 14]
    assert np.flatnonzero(np.isfinite(both.scores)).tolist() == [0, 1, 2, 13, 14]


@MODELS
@pytest.mark.parametrize("exact", [False, True])
def test_mutagenesis_is_the_log_odds_of_each_copy(make, exact):
    model, text = make(), text_of(40)
    (changes,) = gu.mutagenesis(model, [record(text)], exact=exact)
    expected = [
        [slow_odds(model, text[:at] + base + text[at + 1 :]) - slow_odds(model, text) for base in "ACGT"]
        for at in range(40)
    ]
    np.testing.assert_allclose(changes, expected, atol=4e-5)


@MODELS
def test_saliency_of_motifs_is_what_each_copy_in_full_loses(make):
    model, text = make(), text_of(30, 3)
    (found,) = gu.saliency(model, [record(text)], lengths=(), inserts=["TATAAT"])
    sums = np.zeros((2, 30))
    for at in range(25):
        sums[0, at : at + 6] += slow_odds(model, text) - slow_odds(model, text[:at] + "TATAAT" + text[at + 6 :])
        sums[1, at : at + 6] += 1
    assert found.log_odds == pytest.approx(slow_odds(model, text), abs=4e-5)
    np.testing.assert_allclose(found.scores, sums[0] / sums[1], atol=4e-5)


@pytest.mark.parametrize("kind", [*KINDS, "ensemble"])
def test_copies_that_share_have_the_answers_of_whole_copies(kind):
    model = pair() if kind == "ensemble" else net(*kind)
    records = [record(text_of(n, n), str(n)) for n in (120, 10, 47)]
    shared, exact = (gu.saliency(model, records, lengths=(1, 5), exact=exact) for exact in (False, True))
    for one, other in zip(shared, exact, strict=True):
        for length in ("1", "5"):
            np.testing.assert_allclose(one.curves[length], other.curves[length], atol=4e-5)


def test_the_best_window_of_a_call_is_explained():
    model, genome = pair(window=40, anchor=10), gu.Genome({"c": text_of(300, unknown=0)})
    from genomic_ulmfit.perturbation import records_at

    (seen,) = records_at(model, genome, [gu.Interval("c", 100, 101)])
    choice = [genome.fetch(gu.Interval("c", *place)) for place in ((90, 130, ".", 0, "+"), (71, 111, ".", 0, "-"))]
    assert str(seen.seq) == str(max(choice, key=lambda r: slow(model, str(r.seq))[1]).seq)


def test_the_mean_of_probabilities_is_taken_and_its_log_odds_by_hand():
    logits = [np.log(np.array([[0.9, 0.1]], np.float32)), np.log(np.array([[0.2, 0.8]], np.float32)) + 3]
    np.testing.assert_allclose(softmax(mean_logits(logits)), [[0.55, 0.45]], rtol=1e-6)
    np.testing.assert_allclose(log_odds(mean_logits(logits), 1), [np.log(0.45 / 0.55)], rtol=1e-5)
    sure = [np.array([[0, 300]], np.float32)] * 2
    np.testing.assert_allclose(log_odds(mean_logits(sure), 1), [300])  # where probabilities are 1 to the last digit


@MODELS
def test_a_file_brings_the_model_back(make, tmp_path):
    model = make(window=40, anchor=10)
    back = gu.load(gu.save(model, tmp_path / "m.safetensors"))
    assert describe(back) == describe(model)
    assert not back.training
    records = [record(text_of(40))]
    np.testing.assert_array_equal(gu.predict_proba(back, records), gu.predict_proba(model, records))
    assert (back.window, back.anchor, back.classes, back.target_index()) == (40, 10, ("background", "x"), 1)
    assert "read backward" in card_text(back)


def test_a_file_from_before_there_were_directions_reads_forward(tmp_path):
    model = net(direction="forward")
    header = describe(model) | {"format_version": 1}
    del header["vocab"]["direction"]
    save_file(dict(model.state_dict()), tmp_path / "m", metadata={"genomic_ulmfit": json.dumps(header)})
    assert gu.load(tmp_path / "m").vocab == gu.KmerVocab(3, 1, "forward")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (lambda: [net()], "1 members"),
        (lambda: [net(), gu.LanguageModel(gu.KmerVocab(), TINY)], "LanguageModel"),
        (lambda: [net(), pair()], "Ensemble"),
        (lambda: [net(window=20), net(window=30)], "window, got 20 and 30"),
        (lambda: [net(window=20, anchor=3), net(window=20)], "anchor, got 3 and None"),
        (lambda: [net(), gu.Classifier(gu.KmerVocab(), TINY, ["x", "background"])], "classes"),
    ],
)
def test_members_that_do_not_fit_are_refused(members, message):
    with pytest.raises(SettingError, match=message):
        gu.Ensemble(members())


@pytest.mark.parametrize("verb", [gu.predict_proba, gu.mutagenesis])
@pytest.mark.parametrize("text", ["", "ACGT"])
def test_a_record_too_short_for_one_member_is_named_before_anything_is_read(verb, text, monkeypatch):
    monkeypatch.setattr("genomic_ulmfit.net.engine.Engine.__init__", None)
    with pytest.raises(
        SequenceTooShortError, match=r"'short' is \d bp long, shorter than one k-mer of the model .k = 5"
    ):
        verb(pair(), [record("ACGTACGT"), record(text, "short")])


def test_a_direction_that_is_none_is_refused():
    with pytest.raises(SettingError, match="'sideways'"):
        gu.KmerVocab(direction="sideways")


def pretrained(direction: str, text: str, vocab: gu.KmerVocab) -> gu.LanguageModel:
    how = {"config": TINY, "max_steps": 5, "batch_size": 4, "bptt": 10, "valid_fraction": 0}
    return gu.pretrain(gu.Genome({"c": text}), vocab=vocab, direction=direction, **how, **QUIET)


@pytest.fixture(scope="module")
def language_models():
    """Of both directions."""
    return [pretrained(way, text_of(400, unknown=0), gu.KmerVocab(2)) for way in ("forward", "backward")]


@pytest.fixture(scope="module")
def labelled():
    letters = {"x": "ACGGCT", "background": "ATTACAG"}
    rows = [
        (name, "".join(np.random.default_rng(i).choice(list(letters[name]), 40))) for i in range(60) for name in letters
    ]
    return [SeqRecord(Seq(text), id=str(i), annotations={"label": name}) for i, (name, text) in enumerate(rows)]


def same_tensors(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_to_learn_backward_is_to_learn_the_mirrored_text(labelled):
    """With k = 1 a k-mer has no inner order: forward on the text spelt backward is the same training, bit for bit.

    The text is longer than 1 Mb, so that it has to be turned as a whole where it is read in pieces.
    """
    text, vocab = text_of(1_100_000, unknown=0), gu.KmerVocab(1)
    mirrored = [SeqRecord(r.seq[::-1], id=r.id, annotations=r.annotations) for r in labelled]
    backward, forward = pretrained("backward", text, vocab), pretrained("forward", text[::-1], vocab)
    assert same_tensors(backward, forward)
    backward, forward = gu.finetune(backward, labelled, **QUIET), gu.finetune(forward, mirrored, **QUIET)
    assert same_tensors(backward, forward)
    how = {"epochs": 1, **QUIET}
    assert same_tensors(gu.train_classifier(backward, labelled, **how), gu.train_classifier(forward, mirrored, **how))


def test_the_direction_is_the_vocabulary_s_where_none_is_given():
    backward = gu.KmerVocab(2, direction="backward")
    assert pretrained(None, text_of(200), backward).vocab == backward
    assert pretrained("forward", text_of(200), backward).vocab == gu.KmerVocab(2)


def test_what_is_derived_reads_as_its_model_and_joins_to_an_ensemble(language_models, labelled):
    classifiers = []
    for model in language_models:
        tuned = gu.finetune(model, labelled, **QUIET)
        assert tuned.vocab == model.vocab
        classifiers.append(gu.train_classifier(tuned, labelled, epochs=4, batch_size=16, lr=2e-2, **QUIET))
    assert [classifier.vocab.direction for classifier in classifiers] == ["forward", "backward"]
    both = gu.Ensemble(classifiers)
    means = np.mean([gu.predict_proba(classifier, labelled) for classifier in classifiers], axis=0)
    np.testing.assert_allclose(gu.predict_proba(both, labelled), means, atol=1e-6)
    assert gu.evaluate(both, labelled, bootstraps=5).roc_auc > 0.9


def test_the_command_line_trains_backward_and_joins(labelled, tmp_path, capsys):
    (tmp_path / "g.fa").write_text(f">c\n{text_of(3000, unknown=0)}\n")
    gu.write_dataset(labelled, tmp_path / "data.fa")
    steps = [
        "pretrain g.fa -o fwd.safetensors --k 2 --max-steps 2 --batch-size 4",
        "pretrain g.fa -o bwd.safetensors --k 2 --max-steps 2 --batch-size 4 --backward",
        "train fwd.safetensors data.fa -o clf.safetensors --epochs 1 --with bwd.safetensors",
        "scan clf.safetensors g.fa -o scores.bedgraph --step 50 --device cpu",
        "saliency clf.safetensors g.fa --regions c:101-140 -o saliency.bedgraph --lengths 5 --plot s.png",
        "info clf.safetensors",
    ]
    for step in steps:
        arguments = [str(tmp_path / word) if "." in word and "/" not in word else word for word in step.split()]
        assert main(arguments) == 0, step
    said = capsys.readouterr().out
    assert "2 classifiers as one, of background, x" in said
    assert "ensemble of 2 classifiers" in said
    assert said.count("read backward") == said.count("read forward") == 1
    assert (tmp_path / "scores.bedgraph").stat().st_size > 0
