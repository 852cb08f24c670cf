import numpy as np
import pytest
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st

from genomic_ulmfit.errors import SequenceTooShortError
from genomic_ulmfit.net.kmers import PAD, UNK, KmerVocab

EXAMPLE = "ATCGCGTACGATCCG"  # Heyer's, k = 4
directions = st.sampled_from(["forward", "backward"])
vocabs = st.integers(1, 8).flatmap(
    lambda k: st.builds(KmerVocab, k=st.just(k), stride=st.integers(1, k), direction=directions)
)


def slow_encode(vocab: KmerVocab, sequence: str) -> list[int]:
    ids = []
    for start in range(0, len(sequence) - vocab.k + 1, vocab.stride):
        kmer = sequence[start : start + vocab.k].upper().replace("U", "T")
        if set(kmer) <= set("ACGT"):
            ids.append(2 + int("".join(str("ACGT".index(base)) for base in kmer), base=4))
        else:
            ids.append(UNK)
    return ids[::-1] if vocab.direction == "backward" else ids


@pytest.mark.parametrize(
    ("stride", "kmers"),
    [
        (1, "ATCG TCGC CGCG GCGT CGTA GTAC TACG ACGA CGAT GATC ATCC TCCG"),
        (2, "ATCG CGCG CGTA TACG CGAT ATCC"),
        (3, "ATCG GCGT TACG GATC"),
        (4, "ATCG CGTA CGAT"),
    ],
)
def test_the_papers_example(stride, kmers):
    vocab = KmerVocab(k=4, stride=stride)
    assert list(vocab.kmers(vocab.encode(EXAMPLE))) == kmers.split()
    assert vocab.n_kmers(len(EXAMPLE)) == len(kmers.split())


@given(vocab=vocabs, sequence=st.text("ACGTNacgtuURYx-", max_size=60))
def test_encode_equals_the_slow_way(vocab, sequence):
    if len(sequence) < vocab.k:
        with pytest.raises(SequenceTooShortError):
            vocab.encode(sequence)
    else:
        ids = vocab.encode(sequence)
        assert ids.dtype == vocab.dtype
        assert len(ids) == vocab.n_kmers(len(sequence))
        assert ids.tolist() == slow_encode(vocab, sequence)


@given(vocab=vocabs, sequence=st.text("ACGT", min_size=8, max_size=60))
def test_decode_is_the_inverse(vocab, sequence):
    ids = vocab.encode(sequence)
    covered = vocab.span(len(ids) - 1)[1]
    assert vocab.decode(ids) == sequence[:covered]
    assert vocab.encode(vocab.decode(ids)).tolist() == ids.tolist()


@given(vocab=vocabs, length=st.integers(8, 100))
def test_spans_tile_what_is_covered(vocab, length):
    n = vocab.n_kmers(length)
    assert vocab.span(n - 1)[1] <= length < vocab.span(n)[1]


def test_ids_are_a_formula():
    vocab = KmerVocab(k=3)
    assert vocab.encode("AAA").tolist() == [2]
    assert vocab.encode("ACG").tolist() == [2 + 0 * 16 + 1 * 4 + 2]
    assert vocab.encode("TTT").tolist() == [len(vocab) - 1]


def test_the_largest_vocabulary_does_not_overflow():
    vocab = KmerVocab(k=8)
    assert len(vocab) == 65538
    assert vocab.encode("TTTTTTTT").tolist() == [65537]


def test_str_bytes_and_seq_give_the_same_ids():
    vocab = KmerVocab(k=5, stride=2)
    assert vocab.encode(EXAMPLE).tolist() == vocab.encode(EXAMPLE.encode()).tolist()
    assert vocab.encode(EXAMPLE).tolist() == vocab.encode(Seq(EXAMPLE)).tolist()


def test_unknown_bases_decode_to_n_where_no_known_kmer_covers_them():
    vocab = KmerVocab(k=3, stride=3)
    assert vocab.decode(vocab.encode("ACGNNNTTT")) == "ACGNNNTTT"
    assert list(vocab.kmers(vocab.encode("ACGNNNTTT"))) == ["ACG", "NNN", "TTT"]


def test_padding_is_not_spelt():
    vocab = KmerVocab(k=2)
    assert vocab.decode(np.array([*vocab.encode("ACGT"), PAD, PAD])) == "ACGT"


@pytest.mark.parametrize(("k", "stride"), [(0, 1), (9, 1), (3, 0), (3, 4)])
def test_k_and_stride_out_of_range_are_refused(k, stride):
    with pytest.raises(ValueError, match="wanted 1 to"):
        KmerVocab(k=k, stride=stride)


def test_ids_of_another_vocabulary_are_refused():
    with pytest.raises(ValueError, match="wanted 0 to 17"):
        KmerVocab(k=2).decode(np.array([18]))
