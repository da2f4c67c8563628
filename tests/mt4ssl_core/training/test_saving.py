"""Checkpoints of a run: one stays behind, damage is named with the way out, one run per folder."""

import os
import resource
import signal
import subprocess
import threading
import time
import zipfile

import finetuning_runs
import pytest
import torch
import toy
from test_train import same

from mt4ssl_core.checkpoints import checkpoint, torch_files
from mt4ssl_core.distributed import World
from mt4ssl_core.files import machine
from mt4ssl_core.finetuning import finetune as finetuning
from mt4ssl_core.finetuning.finetune import finetune
from mt4ssl_core.locks import lock
from mt4ssl_core.training import pretrain as pretraining
from mt4ssl_core.training.pretrain import pretrain

QUICK = {"run__validate_every": 0, "data__valid_share": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"), utterances=12)


@pytest.fixture
def run(data, tmp_path):
    """A run of 10 updates with last.pt, previous.pt (5) and update_5.pt; validated at 5 and 10."""
    pretrain(toy.configuration(data, tmp_path / "run", run__keep_every=5))
    return tmp_path / "run"


def update(path):
    return checkpoint.load(path)["progress"]["update"]


def flip(path, share):
    """Turn a bit of the largest tensor over."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        content = archive.read(largest)
    data = bytearray(path.read_bytes())
    data[data.index(content) + int(len(content) * share)] ^= 0x10
    path.write_bytes(data)


def test_the_checkpoint_before_stays_and_copies_stand_alone(data, tmp_path, monkeypatch):
    saved, save = [], torch.save
    monkeypatch.setattr(torch, "save", lambda *a: (saved.append(1), save(*a))[1])
    changes = {**QUICK, "run__keep_every": 3, "run__save_every": 4, "optim__max_updates": 8}
    pretrain(toy.configuration(data, tmp_path / "run", **changes))
    run = tmp_path / "run"
    assert len(saved) == 4  # 3, 4, 6, 8
    found = {path.name: update(path) for path in run.glob("*.pt")}
    assert found == {"last.pt": 8, "previous.pt": 6, "update_3.pt": 3, "update_6.pt": 6}
    assert len({path.stat().st_ino for path in run.glob("*.pt")}) == 4
    assert not list(run.glob(".*.tmp"))


def test_a_file_that_is_not_read_back_as_written_replaces_nothing(run, data, monkeypatch):
    before = (run / "last.pt").read_bytes()
    monkeypatch.setattr(torch_files, "is_whole", lambda path: False)
    with pytest.raises(OSError, match=r"last\.pt: what was written could not be read back"):
        pretrain(toy.configuration(data, run, optim__max_updates=12))
    assert (run / "last.pt").read_bytes() == before and not list(run.glob(".*.tmp"))


@pytest.mark.parametrize("loop", [pretraining, finetuning])
def test_what_is_written_while_updates_go_on_is_of_the_update_that_saved(
    loop, data, tmp_path, monkeypatch
):
    speech = finetuning_runs.corpus(tmp_path / "speech")
    changes = {"run__keep_every": 2, "run__validate_every": 0, "optim__max_updates": 6}

    def train(out, **more):
        if loop is pretraining:
            return pretrain(toy.configuration(data, out, **changes, **more, data__valid_share=0.0))
        return finetune(finetuning_runs.configuration(speech, out, **changes, **more))

    train(tmp_path / "waiting", run__save_in_background="false")
    save, update, later = checkpoint.save, loop.update, threading.Event()

    def slowly(*words):
        assert later.wait(60)
        save(*words)

    def seen(run, *rest):
        if run.training.progress.update == 3:  # one more than the first checkpoint has
            assert not (tmp_path / "run" / "last.pt").exists()
            later.set()
        return update(run, *rest)

    monkeypatch.setattr(checkpoint, "save", slowly)
    monkeypatch.setattr(loop, "update", seen)
    train(tmp_path / "run")
    for name in ("update_2.pt", "update_4.pt", "last.pt"):
        states = [checkpoint.load(tmp_path / out / name) for out in ("waiting", "run")]
        for state in states:
            state["config"]["run"]["save_in_background"] = None
        same(*states)


@pytest.mark.parametrize("failing", [4, 8])  # while the run goes on; at its end
def test_what_goes_wrong_in_the_background_stops_the_run(data, tmp_path, monkeypatch, failing):
    save, made = checkpoint.save, []

    def fail(path, state, previous):
        made.append(state["progress"]["update"])
        if made[-1] == failing:
            raise OSError(f"{path}: cannot be written (No space left on device)")
        save(path, state, previous)

    monkeypatch.setattr(checkpoint, "save", fail)
    changes = {**QUICK, "run__save_every": 2, "optim__max_updates": 8}
    with pytest.raises(OSError, match=r"last\.pt: cannot be written \(No space left"):
        pretrain(toy.configuration(data, tmp_path / "run", **changes))
    assert made[-1] == failing and update(tmp_path / "run" / "last.pt") == failing - 2


def test_a_signal_while_the_last_checkpoint_is_written_loses_nothing(data, tmp_path, monkeypatch):
    save, seen = checkpoint.save, []

    def slowly(*words):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        save(*words)

    monkeypatch.setattr(checkpoint, "save", slowly)
    former = signal.signal(signal.SIGTERM, lambda *_: seen.append("it would have ended here"))
    try:
        pretrain(toy.configuration(data, tmp_path / "run", **QUICK, run__save_every=1000))
    finally:
        signal.signal(signal.SIGTERM, former)
    assert not seen and update(tmp_path / "run" / "last.pt") == 10


def test_an_interrupt_while_a_run_waits_does_not_hide_what_went_wrong(
    data, tmp_path, monkeypatch, capsys
):
    each = World.each

    def interrupted(world, work):
        if getattr(work, "__name__", "") == "result":
            raise KeyboardInterrupt
        each(world, work)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(World, "each", interrupted)
    monkeypatch.setattr(checkpoint, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        pretrain(toy.configuration(data, tmp_path / "run", **QUICK))
    assert "no space left" in capsys.readouterr().out


def test_what_was_begun_is_written_when_something_else_ends_the_run(
    data, tmp_path, monkeypatch, capsys
):
    save, later = checkpoint.save, threading.Event()
    problems = [None, OSError("the disk is full")]

    def slowly(*words):
        assert later.wait(60)
        if problem := problems.pop(0):
            raise problem
        save(*words)

    def broken(run, *rest):
        if run.training.progress.update % 2:
            later.set()
            raise RuntimeError("out of memory")
        return training_update(run, *rest)

    training_update = pretraining.update
    monkeypatch.setattr(checkpoint, "save", slowly)
    monkeypatch.setattr(pretraining, "update", broken)
    for last in (1, 2):
        changes = {**QUICK, "run__save_every": 1, "optim__max_updates": 8}
        later.clear()
        with pytest.raises(RuntimeError, match="out of memory"):
            pretrain(toy.configuration(data, tmp_path / str(last), **changes))
    assert update(tmp_path / "1" / "last.pt") == 1 and not (tmp_path / "2" / "last.pt").exists()
    assert "the disk is full" in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_checkpoint_names_a_whole_one_to_go_on_from(run, data, share, capsys):
    flip(run / "last.pt", share)
    spoiled = (run / "last.pt").read_bytes()
    cfg = toy.configuration(data, run, optim__max_updates=11)
    with pytest.raises(ValueError, match=r"last\.pt: .*previous\.pt \(update 5\)") as caught:
        pretrain(cfg)
    assert "update_10.pt (update 10)" in str(caught.value)
    assert "--from best.pt" in str(caught.value) and "copy it again" not in str(caught.value)
    assert (run / "last.pt").read_bytes() == spoiled
    pretrain(cfg, "update_5.pt")
    # what was damaged has not become previous.pt
    assert update(run / "last.pt") == 11 and update(run / "previous.pt") in (5, 10)
    assert "resumed from" in capsys.readouterr().out


def test_a_lost_last_checkpoint_is_not_begun_anew_over(run, data, tmp_path):
    (run / "last.pt").unlink()
    with pytest.raises(ValueError, match=r"previous\.pt without last\.pt.*--from"):
        pretrain(toy.configuration(data, run))
    (tmp_path / "other.pt").write_bytes((run / "best.pt").read_bytes())
    with pytest.raises(ValueError, match=r"--from .*other\.pt: not in .*run\.continue_from"):
        pretrain(toy.configuration(data, run), str(tmp_path / "other.pt"))
    pretrain(toy.configuration(data, run, optim__max_updates=11), str(run / "best.pt"))
    assert update(run / "last.pt") == 11


def test_two_runs_cannot_share_a_folder(data, tmp_path):
    run = tmp_path / "run"
    with (
        lock(run / "run.lock", "the run"),
        pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*run\.lock"),
    ):
        pretrain(toy.configuration(data, run))
    assert not list(run.iterdir())
    pretrain(toy.configuration(data, run, optim__max_updates=1))
    assert not (run / "run.lock").exists()


def test_what_killed_writers_left_is_removed(data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f".{machine()}-{dead.pid}-00000000.tmp", ".deadbeef-1-00000000.tmp"]
    for name in [*left, ".mine.tmp", "notes.log"]:
        (run / name).write_text("x")
    pretrain(toy.configuration(data, run, optim__max_updates=1))
    assert {p.name for p in run.iterdir()} & {*left, ".mine.tmp", "notes.log"} == {
        ".mine.tmp", "notes.log",
    }  # fmt: skip


@pytest.mark.parametrize("kilobytes", [10, 60, 150])
def test_a_file_size_limit_is_one_line_and_the_last_checkpoint_stays_whole(run, data, kilobytes):
    before = update(run / "last.pt")
    limit = (kilobytes << 10, kilobytes << 10)
    done = toy.run(
        "pretrain", "tiny", *toy.overrides(data, run, optim__max_updates=20),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert len(lines) == 1 and str(run) in lines[0] and "File too large" in lines[0]
    assert update(run / "last.pt") == before and not list(run.glob(".*.tmp"))


@pytest.mark.slow
def test_all_processes_end_with_the_same_error(data, tmp_path):
    from test_train import two_processes

    with lock(tmp_path / "run" / "run.lock", "x"), pytest.raises(AssertionError) as caught:
        two_processes(toy.overrides(data, tmp_path / "run"))
    assert str(caught.value).count("is in use by process") >= 2
