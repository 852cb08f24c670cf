"""What is the own of the paper's tables 7, 9, 11, 12 and 13: genes on one side, ranks, lengths, neighbours."""

import gzip
import json

import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from benchmarks.paper import long_promoters, pictures, reads, sweeps, transcripts
from benchmarks.paper.definitions import cells_of
from benchmarks.paper.methods import METHODS, Settings, Task
from genomic_ulmfit.datasets.baselines import BASELINES
from genomic_ulmfit.datasets.records import part

CLASSES = ["B;o1;f1;g1", "B;o1;f1;g2", "B;o2;f2;g3", "C;o3;f3;g4"]


def letters_of(n, seed):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), size=n))


def record(text, **annotations):
    return SeqRecord(Seq(text), id=text[:8], annotations=annotations)


# Reads ----------------------------------------------------------------------------------------------------------------


def by_rank(truth, rows):
    return reads.by_rank([record("ACGT", label=label) for label in truth], CLASSES, np.array(rows))


def test_a_call_of_a_sister_genus_is_right_from_the_family_up():
    found = by_rank([CLASSES[0], CLASSES[2]], [[0.1, 0.9, 0, 0], [0, 0, 0.9, 0.1]])
    assert found["f1"] == 0.5  # one genus never called, the other always rightly
    assert found["accuracy_family"] == found["accuracy_order"] == found["accuracy_class"] == 1


def test_a_taxon_is_as_likely_as_its_genera_together():
    found = by_rank([CLASSES[0]], [[0.3, 0.3, 0.4, 0]])
    assert found == {"f1": 0, "accuracy_family": 1, "accuracy_order": 1, "accuracy_class": 1}


def test_orders_of_one_class_are_told_apart():
    found = by_rank([CLASSES[2]], [[0.6, 0.0, 0.4, 0]])
    assert (found["accuracy_order"], found["accuracy_class"]) == (0, 1)


@pytest.fixture
def references(tmp_path):
    """Twelve made-up genes of three genera, with both primers."""
    genes = []
    for i in range(12):
        text = (
            letters_of(50, i)
            + "CCTACGGGAGGCAGCAG"
            + letters_of(300, 100 + i)
            + "ACTCAAAGGAATTGACGG"
            + letters_of(50, 50 + i)
        )
        genes.append(f">s{i} Bacilli o{i % 3} f{i % 3} g{i % 3}\n{text}\n")
    path = tmp_path / reads.REFERENCES
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(genes).encode()))
    return tmp_path


def test_reads_of_a_reference_are_on_one_side_and_labelled_by_lineage(references, monkeypatch):
    monkeypatch.setitem(reads.simulate.__globals__["N_READS"], "amplicon", 600)
    made = reads.data_set(references, 0, kind="amplicon", split="group")
    assert {read.annotations["label"] for read in made} == {f"Bacilli;o{i};f{i};g{i}" for i in range(3)}
    parts = {}
    for read in made:
        parts.setdefault(read.annotations["group"], set()).add(read.annotations["split"])
    assert len(parts) == 12 and all(len(of) == 1 for of in parts.values())


# Baselines of records of several lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pwm", "position"])
def test_positional_baselines_look_at_the_bases_that_all_records_have(name):
    made = [
        record(
            ("TATA" if i % 2 else letters_of(4, i)) + letters_of(16 + i % 3, 90 + i), label="ab"[i % 2], split="train"
        )
        for i in range(40)
    ]
    cut = [record(str(of.seq)[:20], **of.annotations) for of in made]
    targets = np.array([i % 2 for i in range(40)])
    found = METHODS[name](Task(None, made, made[:7], Settings(), 0))
    np.testing.assert_array_equal(found, BASELINES[name](cut, targets, cut[:7], 2))
    assert len(made[2]) == 22  # as they were


# Transcripts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ensembl(tmp_path):
    """Files of all sets: some genes are in more than one, as they are in the real ones."""

    def write(name, genes, seed):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [f">T{seed}_{i}.1|{gene}.{i}|\n{letters_of(300, seed * 1000 + i)}\n" for i, gene in enumerate(genes)]
        path.write_bytes(gzip.compress("".join(lines).encode()))

    def mouse(numbers):
        return [f"ENSMUSG{number:05}" for number in numbers]

    write(transcripts.PRELNC["mRNA"], mouse([n // 2 for n in range(100)]), 1)  # two transcripts a gene
    write(transcripts.PRELNC["lncRNA"], mouse(range(40, 140)), 2)  # ten genes have both kinds
    write(transcripts.PRELNC_TEST, mouse(range(130, 200)), 3)
    for number, (files, names) in enumerate(
        ((transcripts.MOUSE, mouse(range(120, 150))), (transcripts.HUMAN, [f"ENSG{n:05}" for n in range(30)]))
    ):
        for label, paths in files.items():
            for at, path in enumerate(paths):
                write(path, names, 10 + 5 * number + 2 * (label == "mRNA") + at)
    return tmp_path


def test_transcripts_of_a_gene_are_in_one_part_whatever_their_kind(ensembl):
    made = transcripts.data_set(ensembl, 0)
    genes = {name: transcripts.genes(part(made, name)) for name in ("train", "valid", "test")}
    assert all(genes.values())
    assert (
        not genes["train"] & genes["test"]
        and not genes["train"] & genes["valid"]
        and not genes["valid"] & genes["test"]
    )


def test_test_lncrnas_are_published_ones_as_many_as_mrnas_and_of_no_known_gene(ensembl):
    tested = part(transcripts.data_set(ensembl, 0), "test")
    lnc = [of for of in tested if of.annotations["label"] == "lncRNA"]
    assert 2 * len(lnc) == len(tested) > 0
    assert {of.id.split("_")[0] for of in lnc} == {"T3"}
    assert min(transcripts.genes(lnc)) >= "ENSMUSG00140"


def test_further_sets_share_no_gene_with_training_files_and_train_nothing(ensembl):
    made = transcripts.data_set(ensembl, 0)
    assert transcripts.genes(transcripts.mouse(made)) == {f"ENSMUSG{n:05}" for n in range(140, 150)}
    assert len(transcripts.human(made)) == 60
    assert not any("split" in of.annotations for of in transcripts.mouse(made) + transcripts.human(made))


# Long promoters and sweeps --------------------------------------------------------------------------------------------


def test_long_windows_follow_the_strand_and_touch_no_other_promoter(tmp_path):
    genome, starts = tmp_path / "genome.fa", tmp_path / "starts.bed"
    genome.write_text("".join(f">chr{i}\n{letters_of(40_000, i)}\n" for i in range(3)))
    sites = [(f"chr{i}", at, "+-"[at // 2500 % 2]) for i in range(3) for at in range(2000, 40_000, 2500)]
    starts.write_text("".join(f"{chrom}\t{at}\t{at + 1}\tt\t0\t{strand}\n" for chrom, at, strand in sites))
    made = long_promoters._records(genome, starts, "region", (0.6, 0.2, 0.2))
    places = {
        (of.annotations["chrom"], of.annotations["start"]): of for of in made if of.annotations["label"] == "promoter"
    }
    assert {len(of) for of in made} == {1000}
    for chrom, at, strand in sites:
        found = places.get((chrom, at - 500 if strand == "+" else at - 499))
        if found:
            base = gu.Genome(genome).fetch(gu.Interval(chrom, at, at + 1, strand=strand)).seq
            assert found.annotations["strand"] == strand and found.seq[500] == base[0]
    assert len(places) > 30
    for of in made:
        if of.annotations["label"] == "background":
            chrom, start = of.annotations["chrom"], of.annotations["start"]
            assert all(chrom != there or abs(start - at) >= 1000 for there, at in places)


def test_each_scheme_is_a_net_of_its_own():
    (table,) = sweeps.TABLES
    assert {(row.settings.k, row.settings.stride) for row in sweeps.ROWS} == set(sweeps.SCHEMES)
    assert sum(cell.method == "from_scratch" for cell in cells_of(table)) == 6 * 5 * 3


# Pictures -------------------------------------------------------------------------------------------------------------


def test_neighbours_of_two_clouds_agree_and_of_one_do_not():
    rng = np.random.default_rng(0)
    truth = np.arange(100) % 2 == 0
    apart = rng.normal(size=(100, 3)) + 20 * truth[:, None]
    assert pictures.neighbours_agree(apart, truth) == 1
    assert pictures.neighbours_agree(rng.normal(size=(100, 3)), truth) < 0.7


def test_a_call_is_near_a_start_of_its_strand_only():
    site = gu.Interval("c", 100, 101, strand="+")
    assert pictures.near(site._replace(start=110), site, 10) and not pictures.near(site._replace(start=111), site, 10)
    assert not pictures.near(site._replace(strand="-"), site, 10)


def test_the_page_shows_pictures_that_were_drawn_and_says_of_others_that_they_were_not(tmp_path):
    assert "Not run yet" in "\n".join(pictures.section(tmp_path))
    said = {
        "pictures": [{"file": "a.png", "title": "A", "caption": "of a"}],
        "identity": {"version": "1", "language_models": {"lm": "0" * 64}},
        "n": {"train": 5},
        "seconds": 3600,
        "hardware": "a machine",
    }
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "pictures.json").write_text(json.dumps(said))
    text = "\n".join(pictures.section(tmp_path))
    assert "![A](images/paper/a.png)\n\nof a" in text and "1.0 h on a machine" in text
