import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.net import markov
from genomic_ulmfit.net.kmers import KmerVocab
from genomic_ulmfit.net.markov import fit_markov, markov_bits

BASES = KmerVocab(1)


def drawn(n: int, seed: int, table: np.ndarray | None = None) -> str:
    """Draw a sequence, uniform or from a chain of order 2 whose table has a row for each of the 16 contexts."""
    rng = np.random.default_rng(seed)
    if table is None:
        return "".join(rng.choice(list("ACGT"), n))
    at, chosen, edges = 0, [], table.cumsum(axis=1)
    for x in rng.random(n):
        base = int((x > edges[at]).sum())
        chosen.append("ACGT"[base])
        at = at * 4 % 16 + base
    return "".join(chosen)


def reference(texts: list[str], order: int, weights: list[float]) -> tuple[list[dict[str, float]], list[float]]:
    """Count and interpolate with dictionaries, and choose each weight by leaving out one base after the other."""
    windows = Counter(text[i - order : i + 1] for text in texts for i in range(order, len(text)))
    tables, chosen = [{"": 0.25}], []
    for m in range(order + 1):
        counts: Counter[str] = Counter()
        for window, n in windows.items():
            counts[window[order - m :]] += n
        totals: Counter[str] = Counter()
        for kmer, n in counts.items():
            totals[kmer[:-1]] += n
        lower = tables[-1] if m else dict.fromkeys("ACGT", 0.25)

        def left_out(weight, counts=counts, totals=totals, lower=lower):
            return sum(
                n * math.log((n - 1 + weight * lower[kmer[1:] or kmer]) / (totals[kmer[:-1]] - 1 + weight))
                for kmer, n in counts.items()
            )

        best = max(weights, key=left_out)
        kmers = [""]
        for _ in range(m + 1):
            kmers = [kmer + base for kmer in kmers for base in "ACGT"]
        tables.append(
            {kmer: (counts[kmer] + best * lower[kmer[1:] or kmer]) / (totals[kmer[:-1]] + best) for kmer in kmers}
        )
        chosen.append(best)
    return tables[1:], chosen


def test_by_hand(monkeypatch):
    monkeypatch.setattr(markov, "_WEIGHTS", np.array([1.0]))
    model = fit_markov([BASES.encode("AACA")], BASES, order=1)  # after A: A, C; after C: A
    p = [(2 + 1 / 4) / 4, (1 + 1 / 4) / 4, 1 / 16, 1 / 16]
    np.testing.assert_allclose(model.tables[0], p, rtol=1e-6)
    np.testing.assert_allclose(model.tables[1][:4], [(1 + p[0]) / 3, (1 + p[1]) / 3, p[2] / 3, p[3] / 3], rtol=1e-6)
    np.testing.assert_allclose(model.tables[1][4:8], [(1 + p[0]) / 2, p[1] / 2, p[2] / 2, p[3] / 2], rtol=1e-6)
    np.testing.assert_allclose(model.tables[1][8:], p * 2, rtol=1e-6)  # never seen: what order 0 says
    expected = -math.log2((1 + p[1]) / 3) - math.log2(p[0] / 2 + 1 / 2)  # C after A and A after C, not the first A
    assert model.bits_per_base([BASES.encode("ACA")], BASES) == pytest.approx(expected / 2, rel=1e-6)


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 1), (5, 2), (4, 4)])
def test_tables_and_weights_are_those_of_dictionaries(k, stride):
    vocab = KmerVocab(k, stride)
    texts = [drawn(k + 40 * stride, 1), "ACGGT" * 4 * stride + "C" * (k % stride), drawn(k + 7 * stride, 2)]
    texts = [vocab.decode(vocab.encode(text)) for text in texts]  # whole k-mers
    model = fit_markov([vocab.encode(text) for text in texts], vocab, order=3)
    tables, weights = reference(texts, 3, markov._WEIGHTS.tolist())
    assert list(model.weights) == weights
    for table, expected in zip(model.tables, tables, strict=True):
        np.testing.assert_allclose(table, list(expected.values()), rtol=1e-5)


def test_uniform_sequence_costs_two_bits():
    train, valid = (BASES.encode(drawn(n, n)) for n in (100_000, 20_000))
    for bits in markov_bits([train], [valid], BASES, orders=(0, 3, 8)).values():
        assert bits == pytest.approx(2, abs=0.005)


def test_a_chain_costs_its_entropy_and_a_lower_order_more():
    table = np.random.default_rng(3).dirichlet(np.full(4, 0.5), 16)
    train, valid = (BASES.encode(drawn(n, n, table)) for n in (60_000, 20_000))
    steps = np.zeros((16, 16))
    for context in range(16):
        steps[context, context * 4 % 16 + np.arange(4)] = table[context]
    stays = np.linalg.matrix_power(steps, 200)[0]
    entropy = float(-(stays[:, None] * table * np.log2(table)).sum())
    bits = markov_bits([train], [valid], BASES, orders=(1, 2, 5))
    assert bits["2"] == pytest.approx(entropy, abs=0.02)
    assert bits["5"] == pytest.approx(entropy, abs=0.03)
    assert bits["1"] > entropy + 0.1


def test_nothing_is_counted_across_segments(monkeypatch):
    monkeypatch.setattr(markov, "_WEIGHTS", np.array([1.0]))
    model = fit_markov([BASES.encode("AAAA"), BASES.encode("CCCC")], BASES, order=1)
    assert model.tables[1][1] == pytest.approx(model.tables[0][1] / 4)  # A was followed by A three times, never by C


def test_a_segment_begins_with_lower_orders():
    model = fit_markov([BASES.encode(drawn(3000, 5))], BASES, order=4)
    bits = [-math.log2(model.tables[m][number]) for m, number in ((1, 1), (2, 6), (3, 27), (4, 27 * 4 + 1), (4, 437))]
    assert model.bits_per_base([BASES.encode("ACGTCC")], BASES) == pytest.approx(np.mean(bits), rel=1e-6)


@given(
    lengths=st.lists(st.integers(4, 90), min_size=1, max_size=6),
    vocab=st.sampled_from([KmerVocab(1), KmerVocab(2), KmerVocab(4, 3), KmerVocab(3, 2)]),
    chunk=st.sampled_from([1, 5, 16]),
)
def test_chunks_change_nothing(lengths, vocab, chunk):
    segments = [vocab.encode(drawn(n, n)) for n in lengths]
    segments = [segment for segment in segments if len(segment) > 1]
    if not segments:
        return
    whole = fit_markov(segments, vocab, order=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markov, "_CHUNK", chunk)
        parts = fit_markov(segments, vocab, order=2)
        bits = parts.bits_per_base(segments, vocab)
    assert all(np.array_equal(a, b) for a, b in zip(whole.tables, parts.tables, strict=True))
    assert bits == pytest.approx(whole.bits_per_base(segments, vocab))


def test_all_vocabularies_see_the_same_bases():
    text = drawn(601, 6)
    found = [fit_markov([vocab.encode(text)], vocab, order=2) for vocab in (BASES, KmerVocab(3), KmerVocab(5, 2))]
    assert all(np.array_equal(found[0].tables[2], other.tables[2]) for other in found)


def test_what_cannot_be_fitted_or_scored_is_refused():
    model = fit_markov([BASES.encode("ACGT")], BASES, order=1)
    with pytest.raises(SettingError, match="0 to 1"):
        model.bits_per_base([BASES.encode("ACGT")], BASES, order=2)
    with pytest.raises(DatasetError, match="nothing to score"):
        model.bits_per_base([KmerVocab(3).encode("ACG")], KmerVocab(3))
    with pytest.raises(SettingError, match="0 to 12"):
        fit_markov([BASES.encode("ACGT")], BASES, order=13)
