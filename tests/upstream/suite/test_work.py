"""A process of a suite: states, logs, and what becomes of a job that fails or is interrupted."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_suite

from upstream.suite.jobs import SuiteSetting
from upstream.suite.suite import run_folder, work

OWNER = {"upstream": "fbank", "ckpt": None, "fingerprint": None, "seed": 1, "smoke": False}


@pytest.fixture
def job(tmp_path, monkeypatch):
    return toy_suite.first("rate", toy_suite.make_tasks(tmp_path, monkeypatch))


@pytest.fixture
def setting(tmp_path):
    return SuiteSetting(tmp_path / "out", "fbank", None, 1)


def state(setting, job):
    return run_folder.read_state(setting.out, job.name)


def test_a_job_that_goes_well(setting, job):
    def do(setting, job):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        assert state(setting, job)["state"] == "running"
        return {"dev": 0.5}

    assert work.run_job(setting, job, do=do)
    found = state(setting, job)
    assert found["state"] == "done" and found["result"] == {"dev": 0.5}
    assert found["settings"] == job.settings() and found["seconds"] >= 0
    log = run_folder.log_path(setting.out, job.name).read_text()
    assert "to stdout\n" in log and "to stderr\n" in log and "== rate/lr_0.1" in log
    assert work.done(setting.out, job)


def test_a_job_that_fails_says_why_and_can_be_begun_again(setting, job):
    def do(setting, job):
        raise RuntimeError("no memory\nmore of it")

    assert not work.run_job(setting, job, do=do)
    found = state(setting, job)
    assert (found["state"], found["error"]) == ("failed", "RuntimeError: no memory")
    assert "Traceback" in run_folder.log_path(setting.out, job.name).read_text()
    assert not work.done(setting.out, job)
    assert work.run_job(setting, job, do=lambda *_: {}) and work.done(setting.out, job)
    assert "error" not in state(setting, job)


def test_a_jobs_logging_ends_with_it(setting, job):
    before = logging.root.handlers[:]

    def do(setting, job):
        logging.basicConfig(force=True)  # what s3prl's command does in a fresh process
        logging.warning("to the log")
        return {}

    try:
        assert work.run_job(setting, job, do=do)
        assert logging.root.handlers == before
    finally:
        logging.root.handlers[:] = before
    assert "to the log" in run_folder.log_path(setting.out, job.name).read_text()


def test_an_interrupted_job_keeps_its_time(setting, job):
    def do(setting, job):
        time.sleep(0.2)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work.run_job(setting, job, do=do)
    assert state(setting, job)["state"] == "running"
    assert state(setting, job)["seconds"] >= 0.4


def test_a_failed_candidate_stops_the_test_alone_and_nothing_is_repeated(setting, job, monkeypatch):
    plan, asked = job.plan, []

    def perform(setting, job):
        asked.append(job.name)
        if job.name == "rate/lr_0.1" and len(asked) == 1:
            raise ValueError("diverged")
        return {"devs": work.jobs.devs_of(setting.out, plan)}

    monkeypatch.setattr(work.jobs, "perform", perform)
    first, tests = work.jobs.jobs_of(plan)
    work.Work(setting, [*first, *tests])()
    assert asked == ["rate/lr_0.1", "rate/lr_0.01", "rate/lr_0.001"]
    work.Work(setting, [*first, *tests])()
    assert asked[3:] == ["rate/lr_0.1", "rate/test"]
    work.Work(setting, [*first, *tests])()
    assert len(asked) == 5


def test_a_failed_test_does_not_stop_that_of_another_fold(setting, tmp_path, job, monkeypatch):
    plan, asked = toy_suite.plan("fold", tmp_path / "corpora"), []

    def perform(setting, job):
        asked.append(job.name)
        if job.name == "fold/f1/test":
            raise ValueError("no memory")
        return {"devs": work.jobs.devs_of(setting.out, plan)}

    monkeypatch.setattr(work.jobs, "perform", perform)
    first, tests = work.jobs.jobs_of(plan)
    work.Work(setting, [*first, *tests])()
    assert asked[-2:] == ["fold/f1/test", "fold/f2/test"]


def test_two_processes_never_do_the_same_job(setting, job, monkeypatch):
    monkeypatch.setattr(work, "PATIENCE", 0.3)

    def outer(setting, job):
        assert not work.run_job(setting, job, do=lambda *_: {})
        return {"dev": 1.0}

    assert work.run_job(setting, job, do=outer)
    assert state(setting, job)["result"] == {"dev": 1.0}
    log = run_folder.log_path(setting.out, job.name).read_text()
    assert f"{job.name} is in use by process" in log


SCRIPT = """
import sys, time
from pathlib import Path
import toy_suite
from upstream.suite import work
from upstream.suite.jobs import SuiteSetting

class Patch:
    def setattr(self, owner, name, value):
        setattr(owner, name, value)

out, token = Path(sys.argv[1]), sys.argv[2]
job = toy_suite.first("rate", toy_suite.make_tasks(out.parent / "toy", Patch()))
(out / "ready").touch()
work.run_job(SuiteSetting(out, "fbank", None, 1), job, token, do=lambda *_: time.sleep(600))
"""


def test_a_process_ends_with_its_suite(tmp_path):
    """Also when the suite was killed and could not stop it, and another has begun."""
    out, here = tmp_path / "out", Path(__file__).parents[2]
    path = os.pathsep.join([str(here), str(here.parent)])
    with run_folder.claimed(out, OWNER) as token:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, out, token], env={**os.environ, "PYTHONPATH": path}
        )
        deadline = time.monotonic() + 300
        while not list(out.glob("jobs/*.json")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.5)
        assert process.poll() is None
    with run_folder.claimed(out, OWNER):
        assert process.wait(300) == 1
    states = [p.read_text() for p in out.glob("jobs/*.json")]
    assert len(states) == 1 and '"running"' in states[0]
