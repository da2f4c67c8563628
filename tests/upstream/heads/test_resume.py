"""An interrupted training, run again, ends as if it had not been interrupted."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, corpora, smoke, tiny_checkpoint

import run_downstream
from mt4ssl_core import files
from upstream.door import overrides, tasks
from upstream.heads import command, results, runner, states

STEPS = {"runner.total_steps": 6, "runner.eval_step": 3, "runner.save_step": 2}
WORKERS = {
    "ks": "downstream_expert.datarc.num_workers",
    "pr": "downstream_expert.corpus.num_workers",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def argv(task, expdir, *more, workers=0, **changes):
    settings = {**FEW_STEPS, **SPEED[task], **STEPS, WORKERS[task]: workers, **changes}
    settings["runner.gradient_accumulate_steps"] = 2
    asked = ["-m", "train", "--task", task, "--root", str(corpora()), "-u", "mt4ssl"]
    asked += ["-k", str(tiny_checkpoint()), "-p", str(expdir), "-a", "--device", "cpu"]
    return [*asked, "--then-test", "-o", overrides.render(settings), *more]


def train(*args, **settings):
    return runner.launch(command.resolve(argv(*args, **settings)))


def outcome(expdir):
    """What an experiment leaves: every weight, what was reported while training, the scores."""
    weights = {}
    for path in sorted(expdir.glob("*.ckpt")):
        state = torch.load(path)
        kept = {key: state[key] for key in state if key not in ("Args", "Config")}
        weights[path.name] = json.dumps(kept, default=lambda tensor: tensor.tolist())
    lines = (expdir / results.EVALUATIONS).read_text().splitlines()
    scores = [(r["metric"], r["split"], r["value"], r["step"]) for r in results.read(expdir)]
    return weights, lines, scores


class PowerCut(BaseException):
    pass


def cases():
    """Quick: either task, with and without workers, -f and accumulation; slow: all."""
    for task in ("ks", "pr"):
        for workers in (0, 2):
            for flags in ([], ["-f"]):
                quick = (task, workers, flags) in [("ks", 2, []), ("pr", 0, ["-f"])]
                marks = () if quick else pytest.mark.slow
                yield pytest.param(task, workers, flags, marks=marks)


@pytest.mark.parametrize(("task", "workers", "flags"), cases())
def test_the_same_result_with_and_without_an_interruption(
    task, workers, flags, tmp_path, monkeypatch
):
    train(task, tmp_path / "whole", *flags, workers=0)
    monkeypatch.setattr(results, "log", fails_at(5, results.log))
    with pytest.raises(PowerCut):
        train(task, tmp_path / "cut", *flags, workers=workers)
    assert "states-4.ckpt" in {path.name for path in (tmp_path / "cut").iterdir()}
    monkeypatch.undo()
    train(task, tmp_path / "cut", *flags, workers=workers)
    whole, cut = outcome(tmp_path / "whole"), outcome(tmp_path / "cut")
    assert "states-6.ckpt" in whole[0] and whole[1] and whole[2]
    assert cut == whole


def fails_at(step, log):
    def failing(expdir, split, at, values):
        if at == step:
            raise PowerCut
        log(expdir, split, at, values)

    return failing


def test_records_since_the_last_log_line_are_not_lost(tmp_path, monkeypatch):
    every = {"runner.log_step": 3}
    train("ks", tmp_path / "whole", **every)
    monkeypatch.setattr(runner.Runner, "evaluate", lambda *_: (_ for _ in ()).throw(PowerCut))
    with pytest.raises(PowerCut):
        train("ks", tmp_path / "cut", **every)
    monkeypatch.undo()
    train("ks", tmp_path / "cut", **every)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    exp = tmp_path / "exp"
    train("ks", exp, **{"runner.total_steps": 3, "runner.max_keep": 1})
    kept = (exp / "states-2.ckpt").read_bytes()

    def torn(states, path):
        Path(path).write_bytes(b"half")
        raise PowerCut

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(PowerCut):
        train("ks", exp, **{"runner.total_steps": 5})
    monkeypatch.undo()
    assert (exp / "states-2.ckpt").read_bytes() == kept  # s3prl would have removed it first
    assert not (exp / "states-4.ckpt").exists()
    dead = 2**22 + 1  # above every process's number
    (exp / f".{files.machine()}-{dead}-00000000.tmp").write_bytes(b"half")  # what kill -9 leaves
    train("ks", exp, **{"runner.total_steps": 5, "runner.max_keep": 1})
    assert [path.name for path in exp.glob("states-*")] == ["states-4.ckpt"]
    assert not list(exp.glob(".*.tmp"))


def test_what_was_reported_after_the_checkpoint_is_reported_once(tmp_path):
    path = tmp_path / results.EVALUATIONS
    path.write_text('{"step": 2, "split": "train"}\n{"step": 4, "split": "dev"}\n{"step": 3')
    results.forget_after(tmp_path, 2)
    assert path.read_text() == '{"step": 2, "split": "train"}\n'
    results.forget_after(tmp_path / "new", 0)
    assert not (tmp_path / "new").exists()


def test_only_records_that_can_be_read_back_are_kept():
    assert states.plain_records({"acc": [1.0], "name": ("a", "b")}) == {
        "acc": [1.0],
        "name": ["a", "b"],
    }
    assert states.plain_records({"acc": [1.0], "loss": [torch.zeros(1).numpy()]}) == {}


def running(folder):
    """Processes with ``folder`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if str(folder) in path.read_text() else []
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "workers", "kill"),
    [
        ("ks", 0, signal.SIGINT),
        ("ks", 2, signal.SIGKILL),
        ("pr", 0, signal.SIGTERM),
        ("pr", 2, signal.SIGKILL),
    ],
)
def test_killed_and_run_again(task, workers, kill, tmp_path):
    steps = {"runner.total_steps": 60, "runner.eval_step": 20, "runner.save_step": 4}
    settings = {"workers": workers, **steps, "runner.max_keep": 1}
    train(task, tmp_path / "whole", **settings)
    cut = tmp_path / "cut"
    asked = [sys.executable, run_downstream.__file__, *argv(task, cut, **settings)]
    process = subprocess.Popen(
        asked,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # a shell's background jobs ignore SIGINT, and their children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(cut.glob("states-*")):
        time.sleep(0.01)
    process.send_signal(kill)
    assert process.wait(300) != 0
    end = time.time() + 300
    while (left := running(cut)) and time.time() < end:
        time.sleep(0.1)
    assert not left  # no worker outlives the run
    assert all(torch.load(path) for path in cut.glob("*.ckpt"))
    train(task, cut, **settings)
    assert outcome(cut) == outcome(tmp_path / "whole")


TRAINED = [task for task in tasks.names() if tasks.header(task).get("select") != "layer"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TRAINED)
def test_every_task_goes_on_exactly(task, tmp_path):
    """The rest of the suite: trained for two steps, then for two more, or for four at once."""
    four = {"runner.total_steps": 4, "runner.eval_step": 4, "runner.save_step": 2}
    settings = {"upstream": "fbank", "stages": [], "resume": True}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    smoke(task, whole, overrides=four, **settings)
    smoke(task, cut, overrides=four | {"runner.total_steps": 2}, **settings)
    smoke(task, cut, overrides=four, **settings)
    states = [torch.load(folder / "exp" / "states-4.ckpt") for folder in (whole, cut)]
    heads = [json.dumps(state["Downstream"], default=lambda t: t.tolist()) for state in states]
    assert heads[0] == heads[1]
    assert states[0]["Position"] == states[1]["Position"]
