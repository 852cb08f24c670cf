import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.net import batches
from genomic_ulmfit.net.batches import IGNORE, LMStream, by_length, known_segments, pad
from genomic_ulmfit.net.kmers import PAD, UNK, KmerVocab


def replay(stream: LMStream) -> list[list[int]]:
    """Read a pass back as the runs of k-mers each row saw between two resets."""
    runs, current = [], {}
    for ids, reset, targets in stream.one_pass():
        for row in range(len(ids)):
            seen, wanted = ids[row].tolist(), targets[row].tolist()
            n = sum(target != IGNORE for target in wanted)
            assert seen[n:] == [PAD] * (len(seen) - n)
            if n == 0:
                continue
            if reset[row]:
                current[row] = [seen[0]]
                runs.append(current[row])
            assert current[row][-1] == seen[0]  # goes on where it stopped
            current[row] += wanted[:n]
            assert seen[1:n] == wanted[: n - 1]
    return runs


segment_lists = st.lists(st.lists(st.integers(2, 65), min_size=2, max_size=90), min_size=1, max_size=8)


@given(segments=segment_lists, batch_size=st.integers(1, 5), bptt=st.integers(1, 20), shuffle=st.booleans())
def test_a_pass_reads_every_kmer_once_and_glues_nothing(segments, batch_size, bptt, shuffle):
    stream = LMStream([np.array(s, np.uint8) for s in segments], batch_size=batch_size, bptt=bptt, shuffle=shuffle)
    runs = replay(stream)
    assert sum(len(run) - 1 for run in runs) == sum(len(s) - 1 for s in segments) == stream.n_tokens
    texts = [bytes(s) for s in segments]
    assert all(any(bytes(run) in text for text in texts) for run in runs)


@given(segments=segment_lists, batch_size=st.integers(1, 5), bptt=st.integers(1, 20))
def test_a_pass_has_as_many_steps_as_are_foretold(segments, batch_size, bptt):
    segments = [np.array(s, np.uint8) for s in segments]
    stream = LMStream(segments, batch_size=batch_size, bptt=bptt, shuffle=False)
    assert len(stream) == len(list(stream.one_pass()))


def test_state_is_never_carried_across_padding():
    segments = [np.arange(2, 2 + n, dtype=np.uint8) for n in (50, 31, 12, 7)]
    stream = LMStream(segments, batch_size=3, bptt=10, seed=1)
    short = {}
    for _, reset, targets in stream.one_pass():
        for row, target in enumerate(targets.tolist()):
            assert reset[row] or not short.get(row, False)
            short[row] = IGNORE in target


def test_records_of_one_length_are_not_padded():
    stream = LMStream([np.full(148, 7, np.uint8)] * 32, batch_size=8, bptt=70)
    assert all((targets != IGNORE).all() for _, _, targets in stream.one_pass())


def test_a_budget_of_steps_goes_on_with_the_next_pass():
    segment = np.arange(2, 60, dtype=np.uint8)
    stream = LMStream([segment], batch_size=1, bptt=20, steps=7)
    assert len(list(stream)) == len(stream) == 7
    assert len(LMStream([segment], batch_size=1, bptt=20)) == 3


def test_the_same_seed_deals_the_same_batches():
    segments = [np.arange(2, 2 + n, dtype=np.uint8) for n in (50, 31, 12)]
    first, second, other = (
        [ids.tolist() for ids, _, _ in LMStream(segments, batch_size=2, bptt=9, seed=seed)] for seed in (3, 3, 4)
    )
    assert first == second != other


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="no stretch"):
        LMStream([], batch_size=2, bptt=9)


def test_segments_are_cut_at_unknown_kmers():
    vocab = KmerVocab(k=3)
    ids = vocab.encode("ACGTACNNACGTNACGNACGTT")
    assert [list(vocab.kmers(s)) for s in known_segments(ids)] == [
        ["ACG", "CGT", "GTA", "TAC"],
        ["ACG", "CGT"],
        ["ACG", "CGT", "GTT"],
    ]
    assert UNK not in np.concatenate(known_segments(ids))


@given(ids=st.lists(st.sampled_from([UNK, 5, 6]), max_size=30), chunk=st.integers(1, 7))
def test_segments_are_the_same_when_a_chromosome_is_looked_at_in_chunks(ids, chunk):
    spelt = "".join("." if i == UNK else str(i) for i in ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_CHUNK", chunk)
        found = known_segments(np.array(ids, np.uint8))
    assert ["".join(map(str, s)) for s in found] == [run for run in spelt.split(".") if len(run) > 1]


def test_pad_pads_on_the_right():
    ids, lengths = pad([np.array([5, 6, 7], np.uint8), np.array([9], np.uint8)])
    assert ids.tolist() == [[5, 6, 7], [9, PAD, PAD]]
    assert lengths.tolist() == [3, 1]


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), batch_size=st.integers(1, 7), seed=st.integers(0, 3)
)
def test_by_length_deals_each_record_once_within_its_limits(lengths, batch_size, seed):
    for rng in (None, np.random.default_rng(seed)):
        batches = by_length(lengths, batch_size, max_tokens=60, rng=rng)
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) <= batch_size
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 60
