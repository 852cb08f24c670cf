"""A training that is stopped, killed or starved of disk, and goes on."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.errors import ResumeError, SettingError, TrainingDivergedError
from genomic_ulmfit.files import leftovers
from genomic_ulmfit.net import lm_run, lm_training, resuming
from genomic_ulmfit.net.resuming import read_state, torch_seed

TINY = gu.AWDLSTMConfig(n_embedding=8, n_hidden=12, n_layers=2, n_head=4, drop_mult=0.5)
GENOME = {"a": "ACGTTGCAAGTCCATGGACT" * 24, "b": "GGATCCATTA" * 6}
HOW = {
    "vocab": gu.KmerVocab(2),
    "config": TINY,
    "epochs": 2,
    "batch_size": 4,
    "bptt": 20,
    "valid_fraction": 0.1,
    "lr": 2e-2,
    "precision": "fp32",
    "device": "cpu",
    "progress": False,
}


def trained(**options: object) -> gu.LanguageModel:
    return gu.pretrain(gu.Genome(GENOME), **{**HOW, **options})


def same(a: gu.LanguageModel, b: gu.LanguageModel) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return a.card == b.card and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module", autouse=True)
def short_stretches():
    """Passes of 14 steps are cut into stretches of 7."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm_run, "_REPORT_STEPS", 7)
        patch.setattr(lm_run, "_REPORTS", 1)
        patch.setattr(lm_run, "_STEPS_A_VALID_STEP", 1)
        yield


@pytest.fixture(scope="module")
def whole():
    """A training that nothing stopped."""
    return trained()


@contextmanager
def all_kept(folder: Path) -> Iterator[list[Path]]:
    """Keep every checkpoint that is written, each under its own name."""
    kept: list[Path] = []
    write = resuming.write_state

    def copying(state: resuming.TrainingState, settings: dict, path: Path) -> None:
        write(state, settings, path)
        kept.append(Path(shutil.copy(path, folder / f"{len(kept)}.kept")))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resuming, "write_state", copying)
        yield kept


@pytest.fixture(scope="module")
def kept(tmp_path_factory, whole, short_stretches):
    """The checkpoints of all steps of the same training."""
    folder = tmp_path_factory.mktemp("kept")
    with all_kept(folder) as kept:
        assert same(trained(checkpoint=folder / "c", checkpoint_minutes=0), whole)
    return kept


def test_a_training_goes_on_from_any_checkpoint_to_the_same_tensors_and_card(whole, kept, tmp_path):
    stages = [(state.step, len(state.rows)) for state, _ in map(read_state, kept)]
    total = whole.card["stages"][0]["steps"]
    assert {step for step, _ in stages} == set(range(total + 1))  # in the middle of passes and at both ends of a look
    for chosen in (0, 7, 8, len(stages) // 2, len(stages) - 1):
        path = Path(shutil.copy(kept[chosen], tmp_path / "again"))
        assert same(trained(checkpoint=path, resume=True), whole), stages[chosen]
        assert read_state(path)[0].step == total


def test_the_found_rate_is_kept(tmp_path, monkeypatch):
    with all_kept(tmp_path) as kept:
        whole = trained(lr="auto", epochs=1, checkpoint=tmp_path / "c", checkpoint_minutes=0)
    monkeypatch.setattr("genomic_ulmfit.net.learner.suggested_rate", lambda _: pytest.fail("searched again"))
    assert same(trained(lr="auto", epochs=1, checkpoint=kept[5], resume=True), whole)
    again = trained(lr=whole.card["stages"][0]["peak_lr"], epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


def test_the_budget_of_hours_is_measured_once(tmp_path, monkeypatch):
    with all_kept(tmp_path) as kept:
        whole = trained(max_hours=1e-4, checkpoint=tmp_path / "c", checkpoint_minutes=0)
    monkeypatch.setattr(lm_run.Run, "_steps_in", lambda *_: pytest.fail("measured again"))
    assert same(trained(max_hours=1e-4, checkpoint=kept[1], resume=True), whole)
    assert same(trained(max_steps=whole.card["stages"][0]["steps"]), whole)


def test_finetuning_goes_on_too(whole, tmp_path):
    records = [SeqRecord(Seq("AACCGGTT" * 9), id=str(i)) for i in range(4)]
    how = {"batch_size": 2, "bptt": 10, "precision": "fp32", "device": "cpu", "progress": False}
    with all_kept(tmp_path) as kept:
        tuned = gu.finetune(whole, records, checkpoint=tmp_path / "c", checkpoint_minutes=0, **how)
    with pytest.raises(ResumeError, match="other weights at the start"):
        gu.finetune(tuned, records, checkpoint=kept[5], resume=True, **how)
    assert same(gu.finetune(whole, records, checkpoint=kept[5], resume=True, **how), tuned)


TRAINING = """
import runpy, sys, torch
torch.set_num_threads(1)
runpy.run_path(sys.argv[1])["trained"](epochs=20, checkpoint=sys.argv[2], checkpoint_minutes=0)
"""


def start(path: Path) -> subprocess.Popen[bytes]:
    """Train in another process, and return it when it is in the middle."""
    process = subprocess.Popen([sys.executable, "-c", TRAINING, __file__, str(path)])
    seen = path.with_name("seen")  # safetensors opens a file twice, between which the training may write another
    while not path.exists() or read_state(Path(shutil.copy(path, seen)))[0].step < 30:
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    for name, value in (("_REPORT_STEPS", 1000), ("_REPORTS", 20), ("_STEPS_A_VALID_STEP", 10)):
        monkeypatch.setattr(lm_run, name, value)  # as in the other process
    path = tmp_path / "c"
    with start(path) as process:
        process.kill()
    assert 30 <= read_state(path)[0].step < read_state(path)[0].total
    (tmp_path / ".abcd1234c").write_bytes(b"half a checkpoint")
    assert same(trained(epochs=20, checkpoint=path, resume=True), trained(epochs=20))
    assert leftovers(path) == []


def test_ctrl_c_ends_the_step_writes_and_stops(whole, tmp_path, monkeypatch, caplog):
    path = tmp_path / "c"
    count = lm_run.Run.count

    def interrupted(run: lm_run.Run, *values: object) -> None:
        if run.step == 8:
            os.kill(os.getpid(), signal.SIGINT)
        count(run, *values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lm_run.Run, "count", interrupted)
        trained(checkpoint=path)
    assert read_state(path)[0].step == 9
    assert "stopped at step 9" in caplog.text
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(trained(checkpoint=path, resume=True), whole)


def test_ctrl_c_during_validation_loses_nothing(whole, tmp_path, monkeypatch):
    begin = lm_run.Run.begin_validation

    def interrupted(run: lm_run.Run) -> None:
        begin(run)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lm_run.Run, "begin_validation", interrupted)
        trained(checkpoint=tmp_path / "c")
    state, _ = read_state(tmp_path / "c")
    assert state.step > 0
    assert not state.rows
    assert same(trained(checkpoint=tmp_path / "c", resume=True), whole)


def test_without_a_checkpoint_resume_begins_anew_and_says_so(whole, tmp_path, caplog):
    caplog.set_level("INFO")
    assert same(trained(checkpoint=tmp_path / "c", resume=True), whole)
    assert "no checkpoint there" in caplog.text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "c"
    trained(checkpoint=path)
    return path


def test_a_checkpoint_is_not_written_over(kept, finished):
    for path, step in ((kept[5], 5), (finished, 28)):
        with pytest.raises(ResumeError, match=f"at step {step} of 28; go on with it"):
            trained(checkpoint=path)
    trained(checkpoint=kept[0])  # nothing was learnt yet


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": dataclasses.replace(TINY, n_hidden=16)}, "config.n_hidden is 12 there and 16 here"),
        ({"vocab": gu.KmerVocab(3)}, "vocab.k is 2 there and 3 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"epochs": 3}, "steps is .* there and .* here"),
        ({"max_hours": 1.0}, "max_hours is None there and 1.0 here"),
        ({"bptt": 15}, "bptt is"),
        ({"exclude": [gu.Interval("a", 0, 40)]}, "other training data"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(finished, options, message):
    before = finished.read_bytes()
    with pytest.raises(ResumeError, match=message):
        trained(checkpoint=finished, resume=True, **options)
    assert finished.read_bytes() == before


def test_a_checkpoint_from_before_a_config_had_a_field_goes_on(whole, kept, tmp_path):
    state, settings = read_state(kept[5])
    resuming.write_state(
        state, {name: settings[name] for name in settings if name != "config.segments"}, tmp_path / "c"
    )
    assert same(trained(checkpoint=tmp_path / "c", resume=True), whole)


def test_what_is_no_checkpoint_is_refused(finished, tmp_path):
    model = trained(max_steps=1)
    for name, content in (("cut", finished.read_bytes()[:-9]), ("text", b"hello"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    gu.save(model, tmp_path / "model")
    for name in ("cut", "text", "empty", "model"):
        with pytest.raises(ResumeError, match="not a whole training checkpoint"):
            trained(checkpoint=tmp_path / name, resume=True)


def test_where_nothing_can_be_written_the_training_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(lm_run.Run, "count", lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        trained(checkpoint=tmp_path / "nowhere" / "c")
    with pytest.raises(SettingError, match="resume needs"):
        trained(resume=True)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="MB left") as caught:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2000))  # enough for the ids
        trained(checkpoint=tmp_path / "c")
    assert caught.value.errno == errno.ENOSPC

    def denied(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no checkpoint can be written there"):
        patch.setattr(resuming.tempfile, "TemporaryFile", denied)
        trained(checkpoint=tmp_path / "c")


def test_a_disk_that_fills_up_later_does_not_end_the_training(whole, tmp_path, monkeypatch, caplog):
    write = resuming.write_state

    def full(state: resuming.TrainingState, settings: dict, path: Path) -> None:
        if state.step > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(state, settings, path)

    monkeypatch.setattr(resuming, "write_state", full)
    assert same(trained(checkpoint=tmp_path / "c", checkpoint_minutes=0), whole)
    assert read_state(tmp_path / "c")[0].step == 3
    assert "step 4 could not be written" in caplog.text


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c"
    begin = lm_training._LanguageModelSteps.before_batch

    def poisoned(steps: lm_training._LanguageModelSteps) -> None:
        begin(steps)
        if steps.owner.step == 9:
            steps.owner.net.bias.data[3] = float("nan")

    with monkeypatch.context() as patch, pytest.raises(TrainingDivergedError) as caught:
        patch.setattr(lm_training._LanguageModelSteps, "before_batch", poisoned)
        trained(checkpoint=path, checkpoint_minutes=0)
    assert str(caught.value).startswith("the training loss is nan at step 9; try a lower lr")
    assert f"the checkpoint of step 9, {path}, is kept" in str(caught.value)
    state, _ = read_state(path)
    assert state.step == 9
    assert state.finite
    (stage,) = trained(checkpoint=path, resume=True, lr=1e-3).card["stages"]
    assert stage["changed"] == [{"step": 9, "lr": 1e-3, "precision": "fp32", "rate": 1e-3}]


def test_a_training_in_bf16_goes_on_in_float32(tmp_path):
    with all_kept(tmp_path) as kept:
        trained(precision="bf16", checkpoint=tmp_path / "c", checkpoint_minutes=0)
    shutil.copy(kept[5], tmp_path / "c")
    model = trained(precision="fp32", checkpoint=tmp_path / "c", resume=True)
    assert [row["precision"] for row in model.card["stages"][0]["changed"]] == ["fp32"]


def test_chance_differs_between_steps_seeds_and_processes():
    assert len({torch_seed(*numbers) for numbers in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}) == 4
