import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_ulmfit.errors import PrecisionError
from genomic_ulmfit.net import perturbed
from genomic_ulmfit.net.awd_lstm import AWDLSTMConfig, Classifier
from genomic_ulmfit.net.engine import forward, softmax
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.perturbed import Edits, forward_copies

BASES = np.frombuffer(b"ACGT", np.uint8)
KINDS = [(1, 1), (2, 1), (3, 1), (3, 3), (4, 2), (5, 2), (6, 5), (7, 4), (8, 1), (8, 8)]


def a_model(
    vocab: KmerVocab, *, pool: str = "all", segments: int = 1, forget: float = 0.0, recurrent: float = 1.0
) -> Classifier:
    """Make a net with weights as large as trained ones; bias of forget gates and recurrent weights make memory."""
    torch.manual_seed(0)
    config = AWDLSTMConfig(n_embedding=12, n_hidden=20, n_layers=2, n_head=7, pool=pool, segments=segments)
    model = Classifier(vocab, config, ["background", "x", "y"]).eval()
    model.encoder.embedding.weight.data *= 10
    for layer in model.encoder.layers:
        layer.bias_ih_l0.data.chunk(4)[1].add_(forget)
        layer.weight_hh_l0.data.mul_(recurrent)
    for module in model.head:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.1, 1)
    return model


def a_sequence(n: int, seed: int = 0, unknown: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice(np.frombuffer(b"ACGTN", np.uint8), n, p=[*[(1 - unknown) / 4] * 4, unknown])


def with_edits(vocab: KmerVocab, n: int, widths=(1, 5), seed: int = 0) -> tuple[np.ndarray, list[Edits]]:
    """Make a record's ids and, for each width, a copy for each offset."""
    sequence, rng = a_sequence(n, seed), np.random.default_rng(seed)
    edits = []
    for width in widths:
        offsets = np.arange(max(0, n - width + 1))
        edits.append(Edits.of(vocab, sequence, offsets, rng.choice(BASES, (len(offsets), width))))
    return vocab.encode(sequence.tobytes()), edits


def same_answers(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(softmax(one.record[None]), softmax(other.record[None]), atol=1e-5)
        for copies, in_full in zip(one.copies, other.copies, strict=True):
            assert copies.shape == in_full.shape
            np.testing.assert_allclose(softmax(copies), softmax(in_full), atol=1e-5)


@given(data=st.data(), k=st.integers(1, 8), n=st.integers(8, 40), width=st.integers(1, 8), seed=st.integers(0, 99))
def test_edits_are_what_encoding_the_copy_gives(data, k, n, width, seed):
    vocab = KmerVocab(k, data.draw(st.integers(1, k)))
    sequence, rng = a_sequence(n, seed), np.random.default_rng(seed)
    offsets = np.arange(n - width + 1)
    letters = rng.choice(BASES, (len(offsets), width))
    edits = Edits.of(vocab, sequence, offsets, letters)
    assert edits.ids.dtype == vocab.dtype
    for offset, bases, start, ids in zip(offsets, letters, edits.starts, edits.ids, strict=True):
        copy, patched = sequence.copy(), vocab.encode(sequence.tobytes())
        copy[offset : offset + width] = bases
        patched[start : start + len(ids)] = ids
        np.testing.assert_array_equal(patched, vocab.encode(copy.tobytes()))


@pytest.mark.parametrize(("k", "stride"), KINDS)
@pytest.mark.parametrize(("pool", "segments"), [("last", 1), ("all", 1), ("all", 11)])
def test_sharing_gives_what_every_copy_in_full_gives(k, stride, pool, segments):
    vocab = KmerVocab(k, stride)
    model = a_model(vocab, pool=pool, segments=segments)
    work = [with_edits(vocab, n, seed=n) for n in (90, 8, 31, 160, 9)]
    found = list(forward_copies(model, work, batch_size=50))
    same_answers(found, forward_copies(model, work, exact=True))
    assert found[3].shared[0].mean() > 0.3
    assert found[3].n_run[0].mean() < 0.7 * len(work[3][0])


def test_the_slow_way_is_the_ordinary_forward_pass():
    vocab = KmerVocab(3, 2)
    model = a_model(vocab)
    ids, edits = with_edits(vocab, 40)
    (found,) = forward_copies(model, [(ids, edits)], exact=True)
    np.testing.assert_allclose(found.record, forward(model, [ids])[0], atol=1e-6)
    for part, copies, n_run in zip(edits, found.copies, found.n_run, strict=True):
        rows = np.tile(ids, (len(part.starts), 1))
        for row, start, new in zip(rows, part.starts, part.ids, strict=True):
            row[start : start + len(new)] = new
        np.testing.assert_allclose(copies, forward(model, rows), atol=1e-6)
        assert (n_run == len(ids)).all()


@pytest.mark.parametrize("memory", [{"forget": 20.0}, {"recurrent": 8.0}])
def test_copies_whose_states_do_not_close_are_run_to_their_end(memory):
    vocab = KmerVocab(3, 1)
    model = a_model(vocab, **memory)
    work = [with_edits(vocab, 120)]
    (found,) = forward_copies(model, work)
    same_answers([found], forward_copies(model, work, exact=True))
    for part, n_run, shared in zip(work[0][1], found.n_run, found.shared, strict=True):
        to_the_end = (n_run > 0) & ~shared
        assert to_the_end.sum() > 0.95 * (n_run > 0).sum()
        left = len(work[0][0]) - part.starts[to_the_end]
        assert (n_run[to_the_end] >= left - part.ids.shape[1]).all()


def test_cells_that_differ_but_will_never_show_it_are_no_reason_to_go_on():
    """Counters that are full, and that nothing empties."""
    vocab = KmerVocab(2, 1)
    model = a_model(vocab, forget=40.0)
    for layer in model.encoder.layers:
        for gate, bias in zip((0, 2), (20.0, 20.0), strict=True):  # always in, and always upwards
            layer.bias_ih_l0.data.chunk(4)[gate].add_(bias)
        layer.weight_ih_l0.data.chunk(4)[2].mul_(3)
    work = [with_edits(vocab, 150)]
    (found,) = forward_copies(model, work)
    same_answers([found], forward_copies(model, work, exact=True))
    assert found.shared[0].mean() > 0.5


def test_sharing_is_given_up_where_it_is_wrong(monkeypatch, caplog):
    vocab = KmerVocab(3, 1)
    model, work = a_model(vocab, forget=20.0), [with_edits(vocab, n, seed=n) for n in (60, 90)]
    monkeypatch.setitem(perturbed._CLOSED, False, (1e9, 1e8))  # any state counts as the record's
    monkeypatch.setattr(perturbed, "_KEPT_FLOATS", 1)
    caplog.set_level("INFO")
    found = list(forward_copies(model, work))
    assert caplog.text.count("run again") == 2
    same_answers(found, forward_copies(model, work, exact=True))


def test_copies_that_differ_in_no_kmer_are_the_record():
    vocab = KmerVocab(4, 3)
    sequence = np.frombuffer(b"ACGTACGTACGTAC", np.uint8)
    edits = Edits.of(vocab, sequence, np.array([0, 13, 5]), np.array([[65], [71], [71]], np.uint8))
    (found,) = forward_copies(a_model(vocab), [(vocab.encode(sequence.tobytes()), [edits])])
    np.testing.assert_array_equal(found.copies[0][:2], np.tile(found.record, (2, 1)))  # the last base is in no k-mer
    assert found.n_run[0].tolist()[:2] == [0, 0]
    assert not np.array_equal(found.copies[0][2], found.record)


def test_neither_batch_nor_group_changes_an_answer(monkeypatch):
    vocab = KmerVocab(2, 1)
    model, work = a_model(vocab), [with_edits(vocab, n, seed=n) for n in (60, 33, 8, 71)]
    together = list(forward_copies(model, work))
    same_answers(forward_copies(model, work, batch_size=7), together)
    monkeypatch.setattr(perturbed, "_KEPT_FLOATS", 1)  # each record alone
    same_answers(forward_copies(model, iter(work)), together)
    monkeypatch.setattr(perturbed, "_IDS_AT_ONCE", 500)
    same_answers(forward_copies(model, work, exact=True), together)


def test_threads_do_not_change_an_answer():
    vocab = KmerVocab(2, 1)
    model, work = a_model(vocab), [with_edits(vocab, n, seed=n) for n in (60, 9)]
    alone = list(forward_copies(model, work))
    torch.set_num_threads(3)
    try:
        same_answers(forward_copies(model, work), alone)
    finally:
        torch.set_num_threads(1)


def test_reduced_precision_is_near_and_refused_where_it_is_not(monkeypatch):
    vocab = KmerVocab(3, 1)
    model, work = a_model(vocab), [with_edits(vocab, 90)]
    (exact,), (found,) = (list(forward_copies(model, work, precision=p)) for p in ("fp32", "bf16"))
    for copies, reduced in zip(exact.copies, found.copies, strict=True):
        assert 0 < np.abs(softmax(copies) - softmax(reduced)).max() < 0.02
    assert found.shared[0].any()
    monkeypatch.setattr("genomic_ulmfit.net.engine._MOST_DRIFT", 0.0)
    with pytest.raises(PrecisionError):
        list(forward_copies(model, work, precision="bf16"))


def test_work_is_read_a_part_at_a_time(monkeypatch):
    vocab = KmerVocab(2, 1)
    read = []

    def work():
        for n in (20, 21, 22):
            read.append(n)
            yield with_edits(vocab, n)

    monkeypatch.setattr(perturbed, "_KEPT_FLOATS", 1)
    next(forward_copies(a_model(vocab), work()))
    assert read == [20, 21]


def test_no_work_and_no_copies_are_no_trouble():
    vocab = KmerVocab(2, 1)
    assert list(forward_copies(a_model(vocab), [])) == []
    for exact in (False, True):
        (found,) = forward_copies(a_model(vocab), [with_edits(vocab, 4, widths=(5,))], exact=exact)
        assert found.copies[0].shape == (0, 3)
        (found,) = forward_copies(a_model(vocab), [(vocab.encode("ACGT"), [])], exact=exact)
        assert found.copies == []


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(8, 70), min_size=1, max_size=4),
    forget=st.sampled_from([0.0, 2.0, 20.0]),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_any_records_any_memory_any_batch(lengths, forget, batch_size, seed):
    vocab = KmerVocab(3, 2)
    model = a_model(vocab, forget=forget)
    work = [with_edits(vocab, n, widths=(1 + seed % 8,), seed=seed + n) for n in lengths]
    same_answers(forward_copies(model, work, batch_size=batch_size), forward_copies(model, work, exact=True))


def test_a_model_goes_home_as_it_came():
    vocab = KmerVocab(2, 1)
    model = a_model(vocab).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    list(forward_copies(model, [with_edits(vocab, 30)]))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
