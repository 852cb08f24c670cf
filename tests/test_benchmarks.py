"""What the engine's benchmark measures against must give the same answers, or its ratios mean nothing."""

import logging

import numpy as np
import pytest
import torch

import genomic_ulmfit as gu
from genomic_ulmfit.net.awd_lstm import SIZES


@pytest.fixture(scope="module")
def benchmark():
    from benchmarks import engine

    return engine


@pytest.mark.parametrize("pool", ["last", "all"])
def test_the_peer_in_fastai_gives_our_probabilities(benchmark, pool):
    torch.manual_seed(0)
    config = gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=3, n_head=5, pool=pool)
    model = gu.Classifier(gu.KmerVocab(3, 2), config, ["background", "x"]).eval()
    model.encoder.embedding.weight.data *= 10
    for module in model.head:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.1, 1)
    genome = gu.Genome({"c": "".join(np.random.default_rng(0).choice(list("ACGTN"), 700))})
    records = list(genome.fetch_many([gu.Interval("c", start, start + 160) for start in range(0, 540, 8)]))
    theirs = benchmark.FastaiPeer(model)([str(record.seq) for record in records])
    np.testing.assert_allclose(theirs, gu.predict_proba(model, records), atol=1e-6)


def test_the_work_of_a_kmer_by_hand(benchmark):
    model = gu.Classifier(gu.KmerVocab(1), SIZES["small"], ["background", "x"])
    assert benchmark.flops_per_kmer(model) == 2 * 4 * (384 * 384 + 128 * (384 + 128))


def test_kmers_that_the_engine_says_it_ran_are_added_up(benchmark):
    heard = benchmark.Heard()
    logger = logging.getLogger("genomic_ulmfit.test")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    logger.info("first %d", 1, extra={"kmers_run": 5})
    logger.info("second")
    logger.info("third", extra={"kmers_run": 7})
    logger.removeHandler(heard)
    assert heard.kmers_run == 12
    assert heard.lines == ["first 1", "second", "third"]


def test_a_part_of_a_row_fits_its_budget_and_is_whole_batches(benchmark):
    assert benchmark.part(1000, 10, 255) == 24
    assert benchmark.part(10, 10, 10_000) == 10
    assert benchmark.part(1000, 10, 1) == 2
    assert benchmark.part(1000, 10, 1, batch=64) == 64


def test_the_matrix_scans_the_windows_that_it_learnt_from(tmp_path):
    """An annotated start has the log odds of that start's record, on both strands."""
    from benchmarks import scan_negatives
    from genomic_ulmfit.datasets.baselines import pwm
    from genomic_ulmfit.datasets.records import labels, part

    bench = scan_negatives.Bench(tmp_path)
    learnt = part(bench.records(scan_negatives.ROWS["random"]), "train")
    truth = np.array([label == "gene_start" for label in labels(learnt)], dtype=int)
    for strand in "+-":
        start = next(start for start in bench.starts if start.strand == strand and start.start > 4_180_000)
        (record,) = bench.genome.fetch_many([start.window(100, 50)])
        ((background, target),) = pwm(learnt, truth, [record], 2)
        region = gu.Interval(start.chrom, start.first - 30, start.first + 30)
        blocks = {block.strand: block for block in bench.scanned_by_matrix("random", region)}
        odds = blocks[strand].scores
        assert odds[30] == pytest.approx(np.log(target / background), rel=1e-4)
        assert odds.argmax() == 30


def test_few_labels_are_drawn_from_gene_starts_whose_starts_are_masked():
    from benchmarks.few_labels import MASKS, Worker, drawn

    worker = Worker.__new__(Worker)  # without the language model, which has no part in this
    worker.built = {}
    records = worker.records("masked")
    chosen = drawn(records, 20, 0.1, np.random.default_rng(0))
    assert [record.annotations["label"] for record in chosen].count("gene_start") == 2
    assert {str(record.seq[slice(*MASKS["masked"])]) for record in chosen} == {"N" * 40}
