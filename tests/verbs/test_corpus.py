import errno
import hashlib
import json
import logging
import mmap
import shutil

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

import genomic_ulmfit as gu
from genomic_ulmfit import corpus
from genomic_ulmfit.cli import main
from genomic_ulmfit.corpus import build_corpus, similar_blocks
from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.errors import DatasetError, OutOfRangeError, SettingError, StorageError, UnknownChromosomeError
from genomic_ulmfit.net.kmers import KmerVocab

K3 = KmerVocab(3)
TINY = gu.AWDLSTMConfig(n_embedding=8, n_hidden=8, n_layers=2)
WHOLE = [gu.Interval("chr1", 0, 6000), gu.Interval("chr2", 0, 2500), gu.Interval("p", 0, 700)]
QUIET = {"progress": False, "precision": "fp32", "device": "cpu"}


def random_text(n: int, seed: int, letters: str = "ACGT") -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), n))


def texts_of(segments, vocab=K3) -> list[str]:
    return [vocab.decode(segment) for segment in segments]


def flipped(text: str) -> str:
    return str(Seq(text).reverse_complement())


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(corpus, "_CHUNK", 40)


@pytest.fixture(scope="module")
def genome():
    """Two chromosomes and a plasmid, with a gap."""
    texts = {"chr1": random_text(6000, 1), "chr2": random_text(2500, 2), "p": random_text(700, 3)}
    texts["chr2"] = texts["chr2"][:1000] + "NNNNN" + texts["chr2"][1005:]
    return gu.Genome(texts)


def test_a_genome_for_validation_is_not_learnt_and_the_others_are_learnt_whole():
    text, left_out = random_text(300, 1), random_text(200, 2)
    built = build_corpus(
        gu.Genome({"a": text}), K3, valid_genomes=gu.Genome({"b": left_out}), both_strands=False, valid_fraction=0.5
    )
    assert (texts_of(built.train), texts_of(built.valid)) == ([text], [left_out])
    assert built.provenance["valid_sequences"] == ["b"]
    assert [row["id"] for row in built.provenance["sequences"]] == ["a", "b"]


@pytest.mark.parametrize("vocab", [K3, KmerVocab(5, 2), KmerVocab(4, 4)])
def test_both_strands_are_encoded_as_if_at_once(small_chunks, vocab):
    text = random_text(501, 4)
    built = build_corpus(gu.Genome({"c": text.lower()}), vocab, valid_fraction=0.2)
    learnt, checked = text[:401], text[401:]
    expected = [vocab.encode(part) for part in (learnt, flipped(learnt), checked)]
    assert all(np.array_equal(a, b) for a, b in zip([*built.train, *built.valid], expected, strict=True))
    assert {segment.dtype for segment in built.train} == {vocab.dtype}


def test_nothing_is_glued_and_nothing_left_out_is_read(genome):
    left_out = [gu.Interval("chr1", 1000, 1500), gu.Interval("p", 0, 10)]
    built = build_corpus(genome, K3, exclude=left_out, valid_fraction=0.1, both_strands=False)
    c1, c2, p = (genome.sequence(chrom, 0, size) for chrom, size in genome.chrom_sizes.items())
    assert texts_of(built.train) == [c1[:900], c1[1500:5550], c2[:1000], c2[1005:2250], p[10:631]]
    assert texts_of(built.valid) == [c1[900:1000], c1[5550:], c2[2250:], p[631:]]


def test_segments_are_views_of_a_mapped_file(genome):
    for segment in build_corpus(genome, K3).train:
        base = segment
        while not isinstance(base, mmap.mmap):
            assert not base.flags.owndata
            base = base.base


def test_a_temporary_folder_is_gone_and_the_ids_are_there(genome, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    built = build_corpus(genome, K3)
    assert not list(tmp_path.iterdir())
    assert texts_of(built.train)[1] == flipped(texts_of(built.train)[0])


def test_what_is_encoded_is_found_again(genome, tmp_path, monkeypatch):
    how = {"exclude_similar": Seq(genome.sequence("chr1", 2000, 2100)), "folder": tmp_path / "new" / "folder"}
    first = build_corpus(genome, K3, **how)
    monkeypatch.setattr(corpus, "_write", None)
    monkeypatch.setattr(corpus, "similar_blocks", None)
    again = build_corpus(genome, K3, **how)
    assert texts_of(again.train + again.valid) == texts_of(first.train + first.valid)
    assert again.provenance == first.provenance


@pytest.mark.parametrize(
    "other",
    [
        {"vocab": KmerVocab(4)},
        {"vocab": KmerVocab(3, 2)},
        {"genomes": {"chr1": "G" + random_text(5999, 1)[1:]}},
        {"exclude": [gu.Interval("chr1", 0, 500)]},
        {"exclude_similar": Seq(random_text(40, 9))},
        {"valid_fraction": 0.5},
        {"both_strands": False},
    ],
)
def test_other_settings_or_sequences_are_encoded_anew(other, tmp_path):
    def built(folder, *, genomes, vocab, **options):
        found = build_corpus(gu.Genome(genomes), vocab, folder=folder, **options)
        return texts_of(found.train, vocab), texts_of(found.valid, vocab)

    how = {"genomes": {"chr1": random_text(6000, 1)}, "vocab": K3, "valid_fraction": 0.1}
    for options in (how, how | other):
        assert built(tmp_path, **options) == built(None, **options)
    assert len(list(tmp_path.glob("*.npy"))) == len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_file_that_is_cut_off_is_made_again(genome, tmp_path, suffix):
    expected = texts_of(build_corpus(genome, K3, folder=tmp_path).train)
    (path,) = tmp_path.glob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:-100])
    assert texts_of(build_corpus(genome, K3, folder=tmp_path).train) == expected


def test_the_file_says_what_it_is_made_of(genome, tmp_path):
    build_corpus(genome, KmerVocab(5, 2), exclude=[gu.Interval("p", 0, 10)], folder=tmp_path)
    (path,) = tmp_path.glob("*.json")
    made_of = json.loads(path.read_text())["made_of"]
    assert (made_of["k"], made_of["stride"], made_of["excluded"], made_of["both_strands"]) == (5, 2, ["p:1-10"], True)
    assert [row["id"] for row in made_of["sequences"]] == ["chr1", "chr2", "p"]


# Room -----------------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_is_refused_before_a_genome_is_opened(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/folder: no encoded genomes can be written there"):
        build_corpus("absent.fa", K3, folder=tmp_path / "file" / "folder")


def test_a_disk_without_room_is_refused_before_anything_is_searched(genome, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 10**3))
    monkeypatch.setattr(corpus, "similar_blocks", None)
    with pytest.raises(StorageError, match="9200 bp takes"):
        build_corpus(genome, K3, folder=tmp_path)


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(genome, tmp_path, monkeypatch):
    pieces = iter([np.full(10**6, 3, np.uint8)])

    def encoded(stretch, vocab):
        yield next(pieces)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpus, "_encoded", encoded)
    with pytest.raises(StorageError, match="No space left"):
        build_corpus(genome, K3, folder=tmp_path)
    assert not list(tmp_path.iterdir())


# What is like the held-out sequences ----------------------------------------------------------------------------------


def test_relatives_of_either_strand_are_cut_from_both_parts():
    held_out = random_text(600, 5)
    texts = {"a": random_text(10_000, 6), "b": random_text(10_000, 7), "clean": random_text(3000, 8)}
    texts["a"] = texts["a"][:4300] + held_out[:300] + texts["a"][4600:]
    texts["b"] = texts["b"][:9500] + flipped(held_out[100:400]) + texts["b"][9800:]
    built = build_corpus(gu.Genome(texts), K3, exclude_similar=Seq(held_out), valid_fraction=0.1)
    assert KmerSet([held_out]).hits(list(texts.values())).tolist() == [True, True, False]
    assert not KmerSet([held_out]).hits(texts_of(built.train + built.valid)).any()
    assert texts_of(built.valid) == [
        texts["a"][3600:4000], texts["a"][9500:], texts["b"][8100:9000], texts["clean"][2700:],
    ]  # fmt: skip
    assert [row["similar_bp"] for row in built.provenance["sequences"]] == [1000, 1000, 0]
    assert built.provenance["excluded"] == []


@pytest.mark.parametrize(
    ("start", "blocks"),
    [
        (100, [0]),
        (975, [0]),
        (976, [0, 1]),  # the last base of the 25-mer lies in the next block
        (999, [0, 1]),
        (1000, [1]),
        (2375, [2]),  # up to the end, in a short block
    ],
)
def test_a_25mer_that_spans_two_blocks_cuts_both(start, blocks):
    held_out, text = random_text(25, 10), random_text(2400, 11)
    genome = gu.Genome({"c": text[:start] + held_out + text[start + 25 :]})
    found = similar_blocks(genome, KmerSet([held_out]))
    assert [(i.start, i.end) for i in found] == [(1000 * i, min(1000 * i + 1000, 2400)) for i in blocks]


def test_24_bases_are_not_enough_and_unknown_letters_match_nothing():
    held_out, text = random_text(49, 12), random_text(3000, 13)
    broken = held_out[:24] + "N" + held_out[25:]
    genome = gu.Genome({"c": text[:500] + broken + text[549:1500] + held_out + text[1549:]})
    assert [i.start for i in similar_blocks(genome, KmerSet([held_out]))] == [1000]
    assert not similar_blocks(genome, KmerSet(["N" * 100 + broken]))


@given(text=st.text("AAACN", min_size=1, max_size=60), held=st.text("ACG", min_size=4, max_size=8))
def test_blocks_are_those_that_share_a_base_of_a_hit(text, held):
    kmers = {held[i : i + 4] for i in range(len(held) - 3)}
    kmers |= {flipped(kmer) for kmer in kmers}
    hit = {at for i in range(len(text) - 3) if text[i : i + 4] in kmers for at in range(i, i + 4)}
    expected = [(at, min(at + 5, len(text))) for at in range(0, len(text), 5) if hit & set(range(at, at + 5))]
    if set(text) == {"N"}:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_CHUNK", 10)
        found = similar_blocks(gu.Genome({"c": text}), KmerSet([held], k=4), block=5)
    assert [(i.start, i.end) for i in found] == expected


def test_held_out_sequences_come_as_paths_records_and_genomes(tmp_path, genome):
    texts = [random_text(80, 14), random_text(90, 15)]
    path, table = tmp_path / "held.fa", tmp_path / "held.csv"
    path.write_text("".join(f">same\n{text.lower()}\n" for text in texts))
    table.write_text("sequence\n" + "\n".join(texts) + "\n")
    records = [SeqRecord(Seq(text), id="r") for text in texts]
    sources = [
        path,
        [str(path)],
        table,
        records,
        [*records[:1], Seq(texts[1])],
        gu.Genome({"a": texts[0], "b": texts[1]}),
    ]
    said = [build_corpus(genome, K3, exclude_similar=one).provenance["excluded_similar"] for one in sources]
    assert all(one == said[0] for one in said)
    assert said[0] == {"sequences": 2, "bp": 170, "sha256": said[0]["sha256"], "k": 25, "block": 1000}


# What is said ---------------------------------------------------------------------------------------------------------


def test_sequences_are_told_by_id_length_and_digest_of_their_letters(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">NC_1 some bug\nacgtacgtac\nGT\n>NC_2\nGGGGG\n")
    rows = build_corpus([path, SeqRecord(Seq("ACGTACGTACGT"), id="other")], K3).provenance["sequences"]
    assert [(row["id"], row["bp"]) for row in rows] == [("NC_1", 12), ("NC_2", 5), ("other", 12)]
    assert rows[0]["sha256"] == rows[2]["sha256"] != rows[1]["sha256"]
    assert rows[0]["sha256"] == hashlib.sha256(b"ACGTACGTACGT").hexdigest()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"exclude": [gu.Interval("chr9", 0, 10)]}, UnknownChromosomeError, "must be on one of the genomes"),
        ({"exclude": [gu.Interval("chr1", 0, 6001)]}, OutOfRangeError, "6000 bp long"),
        ({"exclude_similar": Seq("ACGT" * 6)}, DatasetError, "25 known bases"),
        ({"exclude_similar": []}, DatasetError, "25 known bases"),
        ({"valid_fraction": 1.0}, SettingError, "valid_fraction is 1.0"),
        ({"exclude": WHOLE}, DatasetError, "nothing to learn"),
    ],
)
def test_what_cannot_be_built_is_refused(genome, options, error, message):
    with pytest.raises(error, match=message):
        build_corpus(genome, K3, **options)


def test_the_card_and_the_log_have_markov_models_beside_the_net(genome, caplog):
    caplog.set_level(logging.INFO)
    how = {"config": TINY, "max_steps": 2, "batch_size": 4, "bptt": 10, "valid_fraction": 0.1, **QUIET}
    (stage,) = gu.pretrain(genome, exclude_similar=Seq(genome.sequence("chr1", 0, 50)), **how).card["stages"]
    markov = stage["markov_bits_per_base"]
    assert set(markov) == {"5", "10"}
    assert all(1.9 < bits < 2.2 for bits in markov.values())
    assert stage["sequences"][0]["similar_bp"] == 1000
    assert f"{markov['5']:.3f} Markov order 5, {markov['10']:.3f} Markov order 10" in caplog.text
    assert "left out: 1, or 1000 of 9200 bp" in caplog.text
    (stage,) = gu.pretrain(genome, **how | {"valid_fraction": 0}).card["stages"]
    assert "markov_bits_per_base" not in stage


def test_the_command_line_leaves_relatives_out(tmp_path):
    text = random_text(3000, 16)
    (tmp_path / "g.fa").write_text(f">c\n{text}\n")
    for name, at in (("a", 100), ("b", 2100)):
        (tmp_path / f"{name}.fa").write_text(f">x\n{text[at : at + 60]}\n")
    output = tmp_path / "lm.safetensors"
    similar = [word for name in "ab" for word in ("--exclude-similar", str(tmp_path / f"{name}.fa"))]
    words = ["pretrain", str(tmp_path / "g.fa"), *similar, "--max-steps", "1", "--batch-size", "4", "--k", "2"]
    assert main([*words, "-o", str(output), "--device", "cpu"]) == 0
    (stage,) = gu.load(output).card["stages"]
    assert stage["sequences"][0]["similar_bp"] == 2000
    assert stage["excluded_similar"]["sequences"] == 2
