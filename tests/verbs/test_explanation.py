import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given, settings
from hypothesis import strategies as st

import genomic_ulmfit as gu
from genomic_ulmfit.errors import DatasetError, SettingError
from genomic_ulmfit.explanation import (
    hypothetical_attributions,
    kmer_embeddings,
    kmer_map,
    letter_heights,
    mean_heights,
)
from tests.toy_models import CountGC

SIZES = {"b": 60, "a": 40}  # in an order that is not the alphabet's


def result(where: gu.Interval, scores: np.ndarray) -> gu.Saliency:
    place = {"chrom": where.chrom, "start": where.start, "end": where.end, "strand": where.strand}
    record = SeqRecord(Seq("A" * where.length), id=where.id, annotations=place)
    scores = scores.astype(np.float32)
    return gu.Saliency(record, "x", 0.0, {"1": scores + 1, "TATAAT": scores - 1}, scores)


@st.composite
def places(draw):
    chrom = draw(st.sampled_from(list(SIZES)))
    start = draw(st.integers(0, SIZES[chrom] - 1))
    end = draw(st.integers(start + 1, min(start + 15, SIZES[chrom])))
    return gu.Interval(chrom, start, end, strand=draw(st.sampled_from("+-.")))


@settings(max_examples=30)  # PyRanges takes its time
@given(st.lists(places(), max_size=12), st.integers(0, 2**32 - 1))
def test_a_track_is_the_mean_at_each_base(where, seed):
    rng = np.random.default_rng(seed)
    results = [
        result(place, np.where(rng.random(place.length) < 0.2, np.nan, rng.normal(size=place.length)))
        for place in where
    ]
    expected = {}
    for place, one in zip(where, results, strict=True):
        for i, score in enumerate(one.scores):
            if np.isfinite(score):
                at = place.end - 1 - i if place.strand == "-" else place.start + i
                expected.setdefault((place.chrom, at), []).append(score)
    blocks = list(gu.saliency_track(results, chrom_sizes=SIZES))
    found = {(b.chrom, int(s)): x for b in blocks for s, x in zip(b.starts, b.scores, strict=True) if np.isfinite(x)}
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(np.mean(values, dtype=float), abs=1e-5)
    order = [(list(SIZES).index(block.chrom), block.start) for block in blocks]
    assert order == sorted(order)


def test_a_curve_has_a_track_of_its_own_and_others_are_refused():
    one = result(gu.Interval("a", 3, 6, strand="+"), np.array([1.0, 2.0, 3.0]))
    (block,) = gu.saliency_track([one], curve="TATAAT")
    np.testing.assert_array_equal(block.scores, [0, 1, 2])
    with pytest.raises(SettingError, match=r"'5'.*'TATAAT'"):
        list(gu.saliency_track([one], curve="5"))


@pytest.mark.parametrize(("strand", "order"), [("+", [2, 3, 0, 1]), ("-", [1, 0, 3, 2])])
def test_a_record_over_the_origin_of_a_circle_is_cut_there(tmp_path, strand, order):
    genome = gu.Genome({"p": "GGAAAAAAAA"}, circular=True)
    (record,) = genome.fetch_many([gu.Interval("p", 8, 12, strand=strand)])
    scores = np.arange(4, dtype=np.float32)
    crossing = gu.Saliency(record, "x", 0.0, {"1": scores}, scores)
    blocks = list(gu.saliency_track([crossing], chrom_sizes=genome.chrom_sizes))
    assert [(block.start, block.end) for block in blocks] == [(0, 2), (8, 10)]
    np.testing.assert_array_equal(np.concatenate([block.scores for block in blocks]), order)
    gu.write_track(blocks, tmp_path / "s.bw", chrom_sizes=genome.chrom_sizes)


def test_an_attribution_is_the_log_odds_less_the_mean_of_the_three_others():
    changes = np.random.default_rng(0).normal(size=(7, 4))
    found = hypothetical_attributions(changes)
    for base in range(4):
        others = [b for b in range(4) if b != base]
        np.testing.assert_allclose(found[:, base], changes[:, base] - changes[:, others].mean(axis=1), rtol=1e-5)


def test_a_letter_of_mutagenesis_is_as_high_as_the_saliency_of_length_1():
    record = SeqRecord(Seq("GATNACg"))
    (changes,), (found,) = gu.mutagenesis(CountGC(), [record]), gu.saliency(CountGC(), [record], lengths=(1,))
    heights = letter_heights(record, hypothetical_attributions(changes))
    known = [i for i, letter in enumerate(record.seq) if letter != "N"]
    np.testing.assert_allclose(heights.sum(axis=1)[known], found.scores[known], atol=1e-6)
    assert not heights[3].any()
    np.testing.assert_array_equal(heights[known], letter_heights(record, found.scores)[known])


def test_mean_heights_are_over_all_records():
    records = [SeqRecord(Seq("GA")), SeqRecord(Seq("AA"))]
    found = mean_heights(records, gu.mutagenesis(CountGC(), records))
    # G at 0 is worth 2/3 in the first record, A at 0 is worth -2/3 in the second
    np.testing.assert_allclose(found, [[-1 / 3, 0, 1 / 3, 0], [-2 / 3, 0, 0, 0]], atol=1e-6)


def test_what_tf_modisco_reads(tmp_path):
    records = [SeqRecord(Seq("GANT"), id="one"), SeqRecord(Seq("ccgu"), id="two")]
    changes = gu.mutagenesis(CountGC(), records)
    files = gu.write_modisco(records, changes, tmp_path / "ism.npz")
    assert [file.name for file in files] == ["ism.sequences.npz", "ism.attributions.npz"]
    one_hot, hypothetical = (np.load(file)["arr_0"] for file in files)
    assert one_hot.shape == hypothetical.shape == (2, 4, 4)
    assert ["".join("ACGT"[b] for b in row.argmax(axis=0)) for row in one_hot] == ["GAAT", "CCGT"]
    assert one_hot.sum(axis=1).tolist() == [[1, 1, 0, 1], [1, 1, 1, 1]]
    np.testing.assert_allclose(hypothetical[1, :, 0], [-2 / 3, 2 / 3, 2 / 3, -2 / 3], rtol=1e-6)
    assert np.load(files[0])["ids"].tolist() == ["one", "two"]
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in gu.write_modisco(records, changes, tmp_path / "ism.npz")] == before


@pytest.mark.parametrize(
    ("texts", "name", "error", "said"),
    [
        (["ACGT", "ACG"], "a.npz", DatasetError, "2, from 3 to 4 bp"),
        ([], "a.npz", DatasetError, "no records"),
        (["ACGT"], "a.h5", SettingError, ".h5"),
    ],
)
def test_what_tf_modisco_could_not_read_is_refused(tmp_path, texts, name, error, said):
    records = [SeqRecord(Seq(text), id="r") for text in texts]
    with pytest.raises(error, match=said):
        gu.write_modisco(records, gu.mutagenesis(CountGC(), records), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_kmers_come_with_their_rows_of_the_embedding():
    net = gu.LanguageModel(gu.KmerVocab(2), gu.AWDLSTMConfig(n_embedding=5, n_hidden=3, n_layers=1))
    kmers, vectors = kmer_embeddings(net)
    assert (len(kmers), kmers[0], kmers[-1]) == (16, "AA", "TT")
    (at,) = net.vocab.encode("GC")
    np.testing.assert_array_equal(vectors[kmers.index("GC")], net.encoder.embedding.weight[int(at)].detach())


def test_an_ensemble_has_no_embedding_of_its_own():
    with pytest.raises(SettingError, match="member"):
        kmer_embeddings(gu.Ensemble([CountGC(), CountGC()]))


def test_a_map_keeps_neighbours_together_and_its_seed():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(4) * 5, 5, axis=0)
    vectors = centres + rng.normal(scale=0.1, size=centres.shape)
    found = kmer_map(vectors, seed=1)
    assert found.shape == (20, 2)
    np.testing.assert_array_equal(found, kmer_map(vectors, seed=1))
    distances = np.linalg.norm(found[:, None] - found, axis=2) + 1e9 * np.eye(20)
    assert (distances.argmin(axis=1) // 5 == np.arange(20) // 5).all()
    with pytest.raises(SettingError, match="at least 4"):
        kmer_map(vectors[:3])
