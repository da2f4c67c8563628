"""analysis/convergence/study.py: runs that are planned, started, resumed, stopped and that fail."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import toy

from analysis.convergence import comparison
from analysis.convergence import study as convergence_study
from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint

# what stands in for `mt4ssl pretrain`: it has the arguments, and a checkpoint made beforehand
CHILD = """
import json, os, pathlib, shutil, signal, sys, time
words = dict(word.split("=", 1) for word in sys.argv[2:])
out, name = pathlib.Path(words["run.out"]), pathlib.Path(sys.argv[1]).stem
(out / "started").open("a").write(os.environ["OMP_NUM_THREADS"] + "\\n")
if name == "broken":
    print("progress\\rout of memory", flush=True)
    sys.exit(3)
line = {"update": 8, "audio_hours": 1.0, "wall_hours": 0.5, "valid/offline/loss": 3.0}
if name == "endless":
    (out / "log.jsonl").write_text(json.dumps({**line, "update": 3}) + "\\n")
    signal.signal(signal.SIGTERM, lambda *_: ((out / "stopped").touch(), os._exit(143)))
    (out / "ready").touch()
    time.sleep(600)
last = {**line, "update": 16, "audio_hours": 2.0, "wall_hours": 1.0, "valid/offline/loss": 2.0}
(out / "log.jsonl").write_text(json.dumps(line) + "\\n" + json.dumps(last) + "\\n")
shutil.copy(out / "made.pt", out / "last.pt")
"""
BASE = ["data.train=/data/train.tsv", "data.labels=/data/train.km", "optim.max_updates=16"]
BASE += ["run.keep_every=8", "run.device=cpu"]


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """Configs by name, in a folder where pre-training is only played."""
    (tmp_path / "child.py").write_text(CHILD)
    command = (sys.executable, str(tmp_path / "child.py"))
    monkeypatch.setattr(convergence_study, "COMMAND", command)
    monkeypatch.setattr(convergence_study, "_POLL", 0.05)
    monkeypatch.setattr(comparison, "_draw", lambda *_: None)
    tiny = toy.ROOT / "mt4ssl_core" / "configs" / "tiny.yaml"
    for name in ("both", "broken", "endless", "same"):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {tiny}\n")
    (tmp_path / "offline.yaml").write_text("extends: both.yaml\nonline: null\n")
    return tmp_path


def configs(folder, *names):
    return [str(folder / f"{name}.yaml") for name in names]


def plan(folder, *names, seeds=1, words=()):
    return convergence_study.plan(configs(folder, *names), seeds, folder / "out", [*BASE, *words])


def make(item, update=16, name="made.pt"):
    state = {key: {} for key in checkpoint.REQUIRED}
    state |= {"config": config.to_dict(item.cfg), "progress": {"update": update}}
    checkpoint.save(item.folder / name, state)


def study(folder, *names, seeds=1, **options):
    for item in plan(folder, *names, seeds=seeds):
        make(item)
    return convergence_study.study(configs(folder, *names), seeds, folder / "out", BASE, **options)


def test_all_configs_with_the_first_seed_come_first(setting):
    plans = plan(setting, "both", "offline", seeds=2)
    assert [p.name for p in plans] == ["both/seed1", "offline/seed1", "both/seed2", "offline/seed2"]
    assert plans[2].cfg.run.seed == 2 and plans[2].cfg.run.out == str(setting / "out/both/seed2")
    assert "online" not in plans[1].cfg.on
    shipped = convergence_study.plan(["tiny"], 1, setting, BASE)
    assert shipped[0].group == "tiny" and shipped[0].words[0].endswith("tiny.yaml")


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        (["both", "both"], [], "two configs are called both; rename one"),
        (["both"], ["run.seed=3"], r"run\.seed=3: a study sets run\.seed and run\.out"),
        (["both"], ["run.keep_every=0"], r"both: run\.keep_every is 0, .*give run\.keep_every=N, "),
        (["both"], ["run.keep_every=17"], r"both: run\.keep_every is 17"),
        (["both"], ["run.keep_evry=1"], "keep_every"),
        (
            ["both", "long"],
            [],
            r"optim\.max_updates differs: both 16, long 20; give optim\.max_upd",
        ),
        (["both", "long"], [], r"data\.min_seconds differs: both 0\.5, long 1\.0"),
        ([], [], "expected at least one of each"),
    ],
)
def test_configs_that_cannot_be_compared(setting, monkeypatch, names, words, message):
    (setting / "long.yaml").write_text("extends: both.yaml\ndata: {min_seconds: 1.0}\n")
    if "long" in names:  # overrides apply to all, so the difference has to be in the files
        monkeypatch.setattr(sys.modules[__name__], "BASE", [w for w in BASE if "max_upd" not in w])
        (setting / "both.yaml").write_text(
            (setting / "both.yaml").read_text() + "optim: {max_updates: 16}\n"
        )
        (setting / "long.yaml").write_text(
            "extends: both.yaml\ndata: {min_seconds: 1.0}\noptim: {max_updates: 20}\n"
        )
    with pytest.raises(ValueError, match=message):
        plan(setting, *names, words=words)


def test_runs_are_made_once_and_compared(setting, capsys):
    assert study(setting, "both", "offline", seeds=2, jobs=2) == 0
    text = capsys.readouterr().out
    assert "| both | 2 (2-2) |" in text and "| offline | 2 (2-2) |" in text
    found = json.loads((setting / "out" / "convergence.json").read_text())
    assert [(r["group"], r["seed"]) for r in found["runs"]] == [
        ("both", 1), ("offline", 1), ("both", 2), ("offline", 2),
    ]  # fmt: skip
    started = setting / "out" / "offline" / "seed2" / "started"
    assert started.read_text() == f"{max(1, len(os.sched_getaffinity(0)) // 2)}\n"
    assert study(setting, "both", "offline", seeds=2) == 0
    assert len(started.read_text().splitlines()) == 1  # complete: not touched


def test_an_unfinished_run_goes_on(setting):
    (item,) = plan(setting, "both")
    make(item, update=8, name="last.pt")
    assert study(setting, "both") == 0
    assert (item.folder / "started").is_file()


def test_a_run_of_another_setting_is_refused_before_anything_starts(setting):
    (item,) = plan(setting, "both", words=["optim.lr=1e-3"])
    make(item, name="last.pt")
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.001 there, 0\.002 now\n  give the same"):
        study(setting, "offline", "both")
    assert not (setting / "out" / "offline" / "seed1" / "started").exists()


def test_settings_that_do_not_matter_may_differ(setting, monkeypatch):
    folder = setting / "out" / "both" / "seed1"
    (item,) = plan(setting, "both", words=["data.workers=0", "run.log_every=3"])
    make(item, name="last.pt")
    monkeypatch.chdir(folder.parent)
    there = convergence_study.plan(configs(setting, "both"), 1, Path(".."), BASE)
    assert there[0].cfg.run.out == "../both/seed1"
    assert convergence_study.updates_done(there[0]) == 16


def test_a_failing_run_is_named_and_does_not_stop_the_others(setting, capsys):
    assert study(setting, "broken", "both") == 1
    said = capsys.readouterr()
    log = setting / "out" / "broken" / "seed1" / "pretrain.log"
    assert f"broken/seed1 failed: exit code 3: out of memory; see {log}" in said.err
    assert "broken/seed1 failed and is left out: exit code 3" in said.out
    assert "| both | 2 |" in said.out and "| broken |" not in said.out
    with pytest.raises(ValueError, match="every run failed"):
        study(setting, "broken")


def test_no_run_at_a_time_is_refused(setting):
    plans = plan(setting, "both")
    with pytest.raises(ValueError, match=r"--jobs 0: .*give 1 or more"):
        convergence_study.train_runs(plans, plans, jobs=0)


def test_a_signal_stops_the_children_and_says_so(setting):
    ready = setting / "out" / "endless" / "seed1" / "ready"

    def interrupt():
        deadline = time.monotonic() + 300
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        study(setting, "endless", "both")
    assert ready.with_name("stopped").exists()
    assert not (setting / "out" / "both" / "seed1" / "started").exists()


def begun_to_learn(log):
    """Whether an update is made: before the first there is no checkpoint to stop at."""
    return log.exists() and '"loss"' in log.read_text()


@pytest.mark.slow
def test_a_study_for_real_is_resumed_after_ctrl_c(tmp_path):
    """Toy models: stopped in the middle, the same command finishes and finished runs stay."""
    tsv, km = toy.corpus(tmp_path)
    own = ("run.out", "online.")
    words = [w for w in toy.overrides((tsv, km), "x", run__keep_every=20) if not w.startswith(own)]
    words = [w for w in words if not w.startswith("optim.max_updates")] + ["optim.max_updates=60"]
    tiny = toy.ROOT / "mt4ssl_core" / "configs" / "tiny.yaml"
    (tmp_path / "both.yaml").write_text(f"extends: {tiny}\nonline: {{top_k: 2}}\n")
    (tmp_path / "offline.yaml").write_text("extends: both.yaml\nonline: null\n")
    arguments = [configs(tmp_path, "both", "offline"), 1, str(tmp_path / "out"), words]
    program = f"from analysis.convergence import study as s; print(s.study(*{arguments!r}, jobs=2))"
    begun = subprocess.Popen(
        [sys.executable, "-c", program], cwd=toy.ROOT, stderr=subprocess.PIPE, text=True
    )
    logs = [tmp_path / "out" / name / "seed1" / "log.jsonl" for name in ("both", "offline")]
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not all(map(begun_to_learn, logs)):
        time.sleep(0.1)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=300)
    assert begun.returncode != 0 and "KeyboardInterrupt" in said
    for log in logs:
        assert 0 < checkpoint.load(log.with_name("last.pt"))["progress"]["update"] <= 60
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=toy.ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.endswith("0\n"), done.stderr
    for log in logs:
        updates = [json.loads(line)["update"] for line in log.read_text().splitlines()]
        assert sorted(set(updates)) == list(range(61))
        assert {p.name for p in log.parent.glob("update_*.pt")} == {
            "update_20.pt", "update_40.pt", "update_60.pt",
        }  # fmt: skip
    again = subprocess.run(
        [sys.executable, "-c", program], cwd=toy.ROOT, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0
    assert (tmp_path / "out" / "scores_updates.png").is_file()
