"""The demo's whole road on a small piece of the genome and a budget of a few steps."""

import json

import numpy as np
import pytest
from Bio import SeqIO

import genomic_ulmfit as gu
from genomic_ulmfit import demo as demo_module
from genomic_ulmfit.demo import Budget, run_demo

STEPS = Budget(pretrain_steps=3, finetune_epochs=1, classifier_epochs=1)


@pytest.fixture(scope="module", autouse=True)
def short_scan():
    """Scan little, and call some of it: after three steps no bin is above .99."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "SCANNED_BP", 2_000)
        patch.setattr(demo_module, "CALLED_ABOVE", 0.01)
        yield


@pytest.fixture(scope="module")
def piece(ecoli_record, tmp_path_factory):
    """The first 120 kb of the record, with its features."""
    path = tmp_path_factory.mktemp("piece") / "piece.gbk"
    part = ecoli_record[:120_000]
    part.annotations["molecule_type"] = "DNA"
    SeqIO.write(part, path, "genbank")
    return path


@pytest.fixture(scope="module")
def demo(piece, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, run_demo(folder, genome=piece, budget=STEPS, from_scratch=True)


def test_it_lists_each_file_it_made(demo):
    folder, text = demo
    listed = {line.split()[0] for line in text.split("Files in")[1].splitlines()[1:]}
    made = {path.name for path in folder.iterdir()}
    assert listed <= made
    assert made - listed <= {"plain.bed", "masked.bed", "anywhere.bed", "genome.fa.fai"}
    assert {"scores.bedgraph", "calls.bed", "scan.png", "metrics.json", "summary.txt", "lm.safetensors"} <= listed
    assert {"saliency.bedgraph", "saliency.png"} <= listed


def test_it_ends_with_a_page_that_knows_all_of_it(demo):
    folder, text = demo
    page = (folder / "report.html").read_text()
    assert "plain: pretrained (n = " in page and "sites: sites.bed" in page and "genes.bed" in page
    assert "Not taken" not in page
    assert "igv_session.xml" in text and "report.html" in text


def test_the_table_has_every_model_and_baseline_twice(demo):
    _, text = demo
    for variant in ("plain", "masked"):
        for model in ("pretrained", "from scratch"):
            assert f"{variant}: {model}" in text
    for baseline in ("gc", "kmer", "pwm", "position"):
        assert text.count(f"baseline {baseline} ") == 3


def test_only_the_last_data_set_has_negatives_outside_genes(demo, piece):
    folder, _ = demo
    genes = gu.read_genes(piece, feature="CDS")
    outside = {}
    for name in ("plain", "masked", "anywhere"):
        said = [record.annotations for record in gu.read_dataset(folder / f"{name}.fa")]
        background = [(a["start"], a["end"]) for a in said if a["label"] == "background"]
        outside[name] = sum(not any(g.start <= start and end <= g.end for g in genes) for start, end in background)
    assert outside["plain"] == outside["masked"] == 0 < outside["anywhere"]


def test_the_tracks_are_of_the_last_model(demo, piece):
    folder, _ = demo
    written = next(gu.read_track(folder / "scores.bedgraph"))
    region = gu.Interval(written.chrom, written.start, written.start + 100 * written.step)
    blocks = gu.scan(gu.load(folder / "anywhere.safetensors"), piece, regions=[region], strands="both")
    (scores,) = (block.scores for block in gu.best_strand(blocks))
    np.testing.assert_allclose(written.scores[:100], scores, atol=1e-5)


def test_nothing_held_out_was_pretrained_on(demo):
    folder, _ = demo
    (stage,) = gu.load(folder / "lm.safetensors").card["stages"]
    excluded = [gu.Interval.from_region(region) for region in stage["excluded"]]
    records = gu.read_dataset(folder / "plain.fa")
    held_out = [record for record in records if record.annotations["split"] != "train"]
    assert held_out
    for record in held_out:
        start, end = record.annotations["start"], record.annotations["end"]
        assert any(region.start <= start and end <= region.end for region in excluded)


def test_the_trap_is_shown(demo):
    folder, _ = demo
    metrics = json.loads((folder / "metrics.json").read_text())
    rules = [metrics[f"{variant}: pretrained"]["baselines"]["position"]["accuracy"] for variant in ("plain", "masked")]
    assert rules[0] > 0.85 > rules[1]


def test_masked_records_hide_the_start_codon(demo):
    folder, _ = demo
    plain, masked = gu.read_dataset(folder / "plain.fa"), gu.read_dataset(folder / "masked.fa")
    assert [record.id for record in plain] == [record.id for record in masked]
    assert all(str(record.seq)[80:120] == "N" * 40 for record in masked)
    assert all("N" not in record.seq for record in plain)


def test_a_second_run_keeps_the_models_and_gives_the_same_tracks(demo, piece, caplog):
    folder, _ = demo
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    with caplog.at_level("INFO", logger="genomic_ulmfit"):
        run_demo(folder, genome=piece, budget=STEPS, from_scratch=True)
    assert caplog.text.count("kept") == len(times) == 9
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")} == times
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_it_begins_with_the_language_model_that_ships(piece, tmp_path, monkeypatch):
    shipped = gu.LanguageModel(gu.KmerVocab(2), gu.AWDLSTMConfig(n_embedding=4, n_hidden=4, n_layers=1))
    shipped.card = {"name": demo_module.SHIPPED, "stages": [{"stage": "pretrain", "steps": 1}]}
    gu.save(shipped, tmp_path / f"{demo_module.SHIPPED}.safetensors")
    monkeypatch.setattr("genomic_ulmfit.shipped._FOLDER", tmp_path)
    run_demo(tmp_path / "demo", genome=piece, budget=STEPS)
    classifier = gu.load(tmp_path / "demo" / "masked.safetensors")
    assert classifier.vocab.k == 2
    assert [stage["stage"] for stage in classifier.card["stages"]] == ["pretrain", "finetune", "train"]
