"""Two processes that train one model."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import genomic_ulmfit as gu
from genomic_ulmfit.net.batches import IGNORE
from genomic_ulmfit.net.lm_run import Batches
from genomic_ulmfit.net.processes import Processes
from genomic_ulmfit.net.resuming import read_state

CONFIG = gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=2, n_head=4, drop_mult=0.0)


def trained(folder: Path, **options: object) -> gu.LanguageModel:
    """Five rows for two processes, and a record that ends in the middle of a pass: padding, and uneven shares."""
    genome = gu.Genome({"a": "ACGTTGCAAGTCCATGGACT" * 30, "b": "GGATCCATTA" * 7, "c": "CCATTAGG" * 8})
    how = {"vocab": gu.KmerVocab(2), "config": CONFIG, "epochs": 2, "batch_size": 5, "bptt": 20, "lr": 2e-2}
    how |= {"valid_fraction": 0.1, "precision": "fp32", "device": "cpu", "progress": False}
    how |= {"checkpoint": folder / "c", "checkpoint_minutes": 0}
    return gu.pretrain(genome, **{**how, **options})


SCRIPT = """
import runpy, shutil, sys
from pathlib import Path
import torch
import genomic_ulmfit as gu
from genomic_ulmfit.net import resuming
from genomic_ulmfit.net.processes import is_first_process

torch.set_num_threads(1)
folder, write = Path(sys.argv[2]), resuming.write_state

def copying(state, settings, path):
    assert is_first_process()
    write(state, settings, path)
    shutil.copy(path, folder / f"step{state.step}")

resuming.write_state = copying
trained, which = runpy.run_path(sys.argv[1])["trained"], "first" if is_first_process() else "second"
gu.save(trained(folder), folder / f"{which}.safetensors")
resuming.write_state = write
gu.save(trained(folder, checkpoint=None, epochs=1, lr="auto"), folder / f"{which}.auto.safetensors")
"""


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """What two processes made: a model each, and the checkpoints of all steps."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "train.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, folder / "train.py", __file__, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def by_one(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one"))


def far_apart(a: gu.LanguageModel, b: gu.LanguageModel) -> float:
    return max(float((x - y).detach().abs().max()) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_two_processes_learn_what_one_learns(by_one, by_two):
    first, second = (gu.load(by_two / f"{name}.safetensors") for name in ("first", "second"))
    assert far_apart(first, second) == 0
    assert far_apart(first, by_one) < 1e-4
    ours, theirs = by_one.card["stages"][0], first.card["stages"][0]
    assert ours["steps"] == theirs["steps"] > 20
    assert ours["tokens"] == theirs["tokens"]
    for name in ("train_bits_per_base", "valid_bits_per_base"):
        assert [row[name] for row in ours["curve"]] == pytest.approx([row[name] for row in theirs["curve"]], abs=1e-4)


def test_two_processes_find_one_rate_and_it_is_that_of_one(by_two, tmp_path):
    first, second = (gu.load(by_two / f"{name}.auto.safetensors") for name in ("first", "second"))
    assert far_apart(first, second) == 0
    alone = trained(tmp_path, epochs=1, lr="auto")
    rates = [model.card["stages"][0]["peak_lr"] for model in (first, second, alone)]
    assert rates[0] == rates[1] == pytest.approx(rates[2], rel=0.1)


def test_one_process_goes_on_with_what_two_began(by_one, by_two, tmp_path):
    (by_two / "step11").rename(tmp_path / "c")
    assert read_state(tmp_path / "c")[0].tensors["carried.0.h"].shape[1] == 5
    assert far_apart(trained(tmp_path, resume=True), by_one) < 1e-4


def test_rows_are_dealt_to_processes_and_every_one_gets_some():
    ids = torch.arange(12).reshape(3, 4)
    targets = torch.where(ids == 11, IGNORE, ids)
    batch = ids, torch.ones(3, dtype=torch.bool), targets
    shares = [Batches(None, Processes(torch.device("cpu"), rank, 4))._share(batch) for rank in range(4)]
    assert [share[0].tolist() for share in shares[:3]] == [[row] for row in ids.tolist()]
    assert (shares[3][3] == IGNORE).all()
    assert [dataclasses.astuple(share[2]) for share in shares] == [(3, 11, 8, padded) for padded in (0, 0, 1, 1)]
