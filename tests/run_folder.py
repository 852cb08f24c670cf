"""A small folder of results: 20 kb of genome with one high stretch, a call on it, another beside it, and the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.datasets.metrics import METRICS
from genomic_ulmfit.plot import plot_distribution, save_figure

CHROM, SIZE = "chr1", 20_000
HIGH = (5_000, 6_000)  # where the score is 1; elsewhere between 2 and 12 kb it is 0
CALLS = [gu.Interval(CHROM, 5_000, 6_000, "peak_1", 1.0, "+"), gu.Interval(CHROM, 8_000, 8_100, "peak_2", 0.9, "-")]
SITES = [gu.Interval(CHROM, 5_500, 5_501, "abcA", 0.0, "+"), gu.Interval(CHROM, 10_000, 10_001, "defB", 0.0, "-")]


def evaluation(mcc: float) -> dict[str, object]:
    values = dict.fromkeys(METRICS, mcc)
    intervals = {name: [mcc - 0.1, mcc + 0.1] for name in METRICS}
    counts = {"background": 20, "start": 20}
    return {
        "n": 40,
        "counts": counts,
        **values,
        "intervals": intervals,
        "baselines": {"gc": dict.fromkeys(METRICS, 0.2)},
    }


def dataset() -> list[SeqRecord]:
    rng = np.random.default_rng(0)
    records = []
    for i in range(80):
        start = 100 + 150 * i
        label = ("background", "start")[i % 2]
        place = {"chrom": CHROM, "start": start, "end": start + 60, "strand": "+", "anchor": 40}
        said = {"label": label, "split": ("train", "train", "train", "test")[i // 2 % 4], **place}
        letters = Seq("".join(rng.choice(list("ACGT"), size=60)))
        records.append(SeqRecord(letters, id=f"{CHROM}:{start}-{start + 60}(+)", annotations=said))
    return records


def fill_tracks(folder: Path) -> Path:
    """Write genome and tracks into a new folder."""
    folder.mkdir()
    letters = "".join(np.random.default_rng(1).choice(list("ACGT"), size=SIZE))
    (folder / "genome.fa").write_text(f">{CHROM}\n{letters}\n")
    scores = np.zeros(1000, dtype=np.float32)
    scores[(HIGH[0] - 2000) // 10 : (HIGH[1] - 2000) // 10] = 1
    gu.write_track([gu.ScoreBlock(CHROM, 2000, 10, scores, 12_000)], folder / "scores.bedgraph")
    gu.write_track(CALLS, folder / "calls.bed")
    gu.write_track(SITES, folder / "sites.bed")
    return folder


def fill(folder: Path) -> Path:
    """Write all kinds of results into a new folder, as a user's runs would."""
    fill_tracks(folder)
    gu.write_dataset(dataset(), folder / "data.fa")
    rows = {"tuned": evaluation(0.8), "scratch": evaluation(0.5)}
    (folder / "metrics.json").write_text(json.dumps(rows))
    save_figure(plot_distribution({"a": [1, 2]}, [0, 1, 2], xlabel="GC"), folder / "gc.svg")
    gu.save(classifier(), folder / "clf.safetensors")
    return folder


def classifier() -> gu.Classifier:
    """An untrained net with the card of a trained one."""
    config = gu.AWDLSTMConfig(n_embedding=1, n_hidden=1, n_layers=1, n_head=1)
    sequences = [{"id": "NC_000913.3", "bp": 4_641_652, "sha256": "e999dceccb76562d40e4" + "0" * 44}]
    curve = [{"tokens": n * 100_000, "train_bits_per_base": 2.1 - n / 50, "valid_bits_per_base": 2.0} for n in (1, 2)]
    history = [
        {"stage": 1, "epoch": n, "train_loss": 0.5 / n, "valid_loss": 0.6, "valid_mcc": 0.4, "valid_accuracy": 0.7}
        for n in (1, 2)
    ]
    read = {"stage": "pretrain", "seed": 7, "sequences": sequences, "curve": curve}
    trained = {"stage": "train", "records": 60, "history": history, "best_epoch": 2}
    card = {"stages": [read, trained]}
    return gu.Classifier(gu.KmerVocab(), config, ["background", "start"], window=60, anchor=40, card=card)
