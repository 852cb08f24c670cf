"""benchmarks/metagenomics.py on made-up genes: primers found, reads cut where they say, errors as asked for."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.errors import DatasetError

_SPEC = importlib.util.spec_from_file_location("metagenomics", Path(__file__).parents[1] / "benchmarks/metagenomics.py")
metagenomics = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(metagenomics)

FORWARD_SITE = "CCTACGGGAGGCAGCAG"
REVERSE_SITE = "ACTCAAATGAATTGACGG"  # CCGTCAATTCATTTGAGT turned round: M is A, R is G
NO_ERRORS = (0.0, 0.0)


def dna(length: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def reference(name: str, sequence: str, genus: str = "Bacillus") -> SeqRecord:
    taxa = {"class": "Bacilli", "order": "Bacillales", "family": "Bacillaceae", "genus": genus}
    return SeqRecord(Seq(sequence), id=name, annotations={"molecule_type": "DNA"} | taxa)


def gene(inside: str, seed: int = 1) -> str:
    return dna(40, seed) + FORWARD_SITE + inside + REVERSE_SITE + dna(25, seed + 1)


def origin(read: SeqRecord, references: list[SeqRecord]) -> str:
    """Cut what the description says, by hand."""
    place = next(word for word in read.description.split() if word.startswith("from=")).removeprefix("from=")
    name, rest = place.split(":")
    start, end = (int(number) for number in rest[:-3].split("-"))
    letters = next(record.seq for record in references if record.id == name)[start:end]
    return str(letters.reverse_complement() if rest.endswith("(-)") else letters)


@pytest.fixture
def references() -> list[SeqRecord]:
    """Two genera of three genes; the last gene has no primers."""
    made = [reference(f"r{i}", gene(dna(120, 10 + i), seed=20 + 2 * i), "AB"[i % 2]) for i in range(5)]
    return [*made, reference("r5", dna(300, 99), "B")]


# Primers and amplicons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "matches"), [("GA", True), ("GC", True), ("GM", True), ("GT", False), ("GN", False)])
def test_a_primers_letter_takes_the_bases_it_stands_for(text, matches):
    assert bool(metagenomics.primer_pattern("GM").search(text)) is matches


def test_amplicon_is_the_stretch_between_the_primers():
    inside = dna(70, 3)
    record = reference("r", gene(inside))
    assert metagenomics.amplicon(record) == gu.Interval("r", 57, 127, strand="+")
    assert str(record.seq[57:127]) == inside


def test_amplicon_is_found_on_the_other_strand():
    inside = dna(70, 3)
    turned = Seq(gene(inside)).reverse_complement()
    place = metagenomics.amplicon(reference("r", str(turned)))
    assert place.strand == "-"
    assert str(turned[place.start : place.end].reverse_complement()) == inside


@pytest.mark.parametrize(
    "sequence",
    [
        pytest.param(dna(300, 4), id="no primers"),
        pytest.param(FORWARD_SITE + dna(50, 4), id="forward only"),
        pytest.param(REVERSE_SITE + dna(50, 4) + FORWARD_SITE, id="the wrong way round"),
        pytest.param(gene(dna(70, 3)).replace("GGAGGCAG", "GGANGCAG"), id="N in a primer"),
    ],
)
def test_no_amplicon_without_both_primers_in_order(sequence):
    assert metagenomics.amplicon(reference("r", sequence)) is None


# Where reads come from ------------------------------------------------------------------------------------------------


def test_an_amplicon_read_begins_after_the_forward_primer(references):
    for read in metagenomics.simulate(references, "amplicon", n_reads=20, length=50, errors=NO_ERRORS):
        source = next(r for r in references if f"from={r.id}:" in read.description)
        begin = str(source.seq).index(FORWARD_SITE) + len(FORWARD_SITE)
        assert str(read.seq) == str(source.seq[begin : begin + 50])


@pytest.mark.parametrize("kind", ["amplicon", "shotgun"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_read_without_errors_is_what_its_origin_says(references, kind, turned):
    if turned:
        for record in references:
            record.seq = record.seq.reverse_complement()
    reads = metagenomics.simulate(references, kind, n_reads=40, length=60, errors=NO_ERRORS)
    assert [str(read.seq) for read in reads] == [origin(read, references) for read in reads]
    assert {len(read) for read in reads} == {60}


def test_an_amplicon_shorter_than_a_read_is_read_to_its_end(references):
    reads = metagenomics.simulate(references, "amplicon", n_reads=5, length=500, errors=NO_ERRORS)
    assert {len(read) for read in reads} == {120}


def test_shotgun_starts_are_spread_over_the_genes_by_their_length():
    sites = [gu.Interval("short", 0, 10, strand="+"), gu.Interval("long", 0, 39, strand="+")]
    places = metagenomics.draw(sites, 4_000, 10, np.random.default_rng(0))
    counts = Counter((place.chrom, place.start) for place in places)
    assert set(counts) == {("short", 0), *(("long", start) for start in range(30))}  # 31 starts
    assert abs(counts["short", 0] - 4_000 / 31) < 4 * (4_000 / 31) ** 0.5


def test_ambiguous_letters_stay_where_there_are_no_errors():
    made = [reference("r", "ACGTN" * 40, "A"), reference("s", "ACGTR" * 40, "B")]
    reads = metagenomics.simulate(made, "shotgun", n_reads=10, length=50, errors=NO_ERRORS)
    assert all(set(str(read.seq)) - set("ACGT") for read in reads)


# Labels and groups ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", ["class", "genus"])
def test_a_read_has_the_taxon_and_the_id_of_its_reference(references, rank):
    by_id = {record.id: record for record in references}
    for read in metagenomics.simulate(references, "shotgun", n_reads=40, length=60, rank=rank):
        source = by_id[read.annotations["group"]]
        assert f"from={source.id}:" in read.description
        assert read.annotations["label"] == source.annotations[rank]


def test_references_that_cant_be_told_apart_are_one_group():
    inside = dna(70, 3)
    made = [
        reference("a", gene(inside, 1)),
        reference("b", gene(inside, 5), "Other"),
        reference("c", gene(dna(70, 4))),
        reference("d", gene(inside, 1)),
    ]
    amplicon = metagenomics.simulate(made, "amplicon", n_reads=60, length=70)
    shotgun = metagenomics.simulate(made, "shotgun", n_reads=60, length=70)
    assert {read.annotations["group"] for read in amplicon} == {"a", "c"}
    assert {read.annotations["group"] for read in shotgun} == {"a", "b", "c"}


def test_written_reads_are_read_back_with_label_and_group(references, tmp_path):
    reads = metagenomics.simulate(references, "amplicon", n_reads=12, length=50)
    back = gu.read_dataset(gu.write_dataset(reads, tmp_path / "reads.fa.gz"))
    keys = ("label", "group")
    assert [[r.annotations[k] for k in keys] for r in back] == [[r.annotations[k] for k in keys] for r in reads]
    assert [str(read.seq) for read in back] == [str(read.seq) for read in reads]


# Errors ---------------------------------------------------------------------------------------------------------------


def test_substitutions_come_at_the_rate_asked_for_and_change_the_letter():
    letters, rng = dna(100, 1), np.random.default_rng(0)
    reads = [metagenomics.misread(letters, rng, (0.05, 0.05), indels=0) for _ in range(400)]
    wrong = sum(a != b for read in reads for a, b in zip(read, letters, strict=True))
    assert abs(wrong - 2_000) < 4 * (40_000 * 0.05 * 0.95) ** 0.5


def test_errors_grow_with_the_fourth_power_of_the_position():
    letters, rng = dna(101, 1), np.random.default_rng(0)
    reads = [metagenomics.misread(letters, rng, (0.0, 0.8), indels=0) for _ in range(2_000)]
    wrong = [sum(read[i] != letters[i] for read in reads) for i in (0, 50, 100)]
    assert wrong[0] == 0
    assert abs(wrong[1] - 100) < 4 * (2_000 * 0.05 * 0.95) ** 0.5  # 0.8 / 2**4
    assert abs(wrong[2] - 1_600) < 4 * (2_000 * 0.8 * 0.2) ** 0.5


def test_insertions_and_deletions_are_alike_in_number():
    rng = np.random.default_rng(0)
    lengths = Counter(len(metagenomics.misread("A", rng, (0.5, 0.5), indels=1)) for _ in range(2_000))
    assert set(lengths) == {0, 1, 2}
    for length, share in ((0, 0.25), (1, 0.5), (2, 0.25)):
        assert abs(lengths[length] - 2_000 * share) < 4 * (2_000 * share * (1 - share)) ** 0.5


def test_a_seed_makes_the_same_reads_again_and_another_seed_others(references):
    def texts(seed):
        return [str(r.seq) for r in metagenomics.simulate(references, "shotgun", n_reads=20, length=60, seed=seed)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


# Files and refusals ---------------------------------------------------------------------------------------------------


def test_references_are_read_with_line_ends_of_windows_and_lower_case(tmp_path):
    path = tmp_path / "genes.fa"
    path.write_bytes(b">S1 Bacilli Bacillales Bacillaceae Bacillus\r\nACgu\r\nRN\r\n")
    (record,) = metagenomics.read_references(path)
    assert str(record.seq) == "ACGTRN"
    assert [record.annotations[rank] for rank in metagenomics.RANKS] == [
        "Bacilli",
        "Bacillales",
        "Bacillaceae",
        "Bacillus",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [(">S1 Bacilli\nACGT\n", "wanted the title"), (">S1 a b c d\nAC\n>S1 a b c d\nGT\n", "S1 more than once")],
)
def test_references_without_ranks_or_with_one_id_twice_are_refused(tmp_path, text, message):
    path = tmp_path / "genes.fa"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        metagenomics.read_references(path)


def test_references_without_primers_are_refused():
    with pytest.raises(DatasetError, match="primers match in none"):
        metagenomics.simulate([reference("r", dna(300, 4))], "amplicon")


@pytest.mark.parametrize("wrong", [{"n_reads": 0}, {"length": 0}, {"errors": (0.0, 1.5)}, {"indels": -0.1}])
def test_impossible_numbers_are_refused(references, wrong):
    with pytest.raises(DatasetError, match="wanted reads"):
        metagenomics.simulate(references, "shotgun", **wrong)


def run_script(monkeypatch, folder: Path, genes: dict[str, str], *options: str) -> Path:
    (folder / "metagenomics").mkdir()
    text = "".join(f">{name} Bacilli Bacillales Bacillaceae {name[0]}\n{letters}\n" for name, letters in genes.items())
    (folder / "metagenomics" / "1000seq.fasta.gz").write_text(text)  # plain or gzipped is told by content
    out = folder / "reads.fa"
    monkeypatch.setattr("sys.argv", ["metagenomics", str(out), "--data", str(folder), *options])
    metagenomics.main()
    return out


def test_the_script_prints_its_counts_and_writes_the_reads(tmp_path, monkeypatch, capsys):
    genes = {"A1": gene(dna(70, 3)), "B1": gene(dna(70, 4)), "C1": dna(300, 5)}
    out = run_script(monkeypatch, tmp_path, genes, "--reads", "30")
    printed = capsys.readouterr().out
    assert "references  3, 2 used, 1 without both primers" in printed
    assert str(out) in printed
    assert {record.annotations["label"] for record in gu.read_dataset(out)} == {"A", "B"}


def test_the_script_keeps_equal_references_on_one_side(tmp_path, monkeypatch):
    genes = {f"{name}{i}": gene(dna(70, i // 2)) for name in "AB" for i in range(8)}  # A0 A1 B0 B1 have one amplicon
    records = gu.read_dataset(run_script(monkeypatch, tmp_path, genes, "--reads", "400", "--split", "group"))
    sides = {(r.annotations["group"], r.annotations["split"]) for r in records}
    assert sorted(group for group, _ in sides) == ["A0", "A2", "A4", "A6"]
    assert {split for _, split in sides} == {"train", "valid", "test"}
