"""What one sees of a suite: a line for all jobs, a line for each that runs, how long it takes."""

import sys
import time
from pathlib import Path

import pytest
import toy_suite
from terminal import drawn, on_terminal, screen

from mt4ssl_core import bars
from mt4ssl_core.bars import Bar
from upstream.suite import display, run_folder, work
from upstream.suite.jobs import SuiteSetting, jobs_of
from upstream.suite.scheduling import JobBatch


@pytest.fixture
def plan(tmp_path, monkeypatch):
    return toy_suite.plan("rate", toy_suite.make_tasks(tmp_path, monkeypatch))


@pytest.fixture
def jobs(plan):
    return {job.name: job for part in jobs_of(plan) for job in part}


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def write(out, name, state, seconds, done=None, total=100, **more):
    steps = [] if done is None else [{"what": "step", "done": done, "total": total, **more}]
    found = {"state": state, "seconds": seconds, "steps": steps}
    run_folder.write_state(out, name, {**found, "settings": {}})


def test_the_steps_of_a_job_are_in_its_state(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(work, "_WATCH", 0.02)
    monkeypatch.setattr(work, "_STEPS", 0.02)
    setting, job = SuiteSetting(tmp_path / "out", "fbank", None, 1), jobs_of(plan)[0][0]

    def do(setting, job):
        with Bar("step", 10) as bar:
            bar.advance(3)
            bars.measured({"loss": "1.5"})
            deadline = time.monotonic() + 300
            while not (found := run_folder.read_state(setting.out, job.name)).get("steps"):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        return found

    assert work.run_job(setting, job, do=do)
    state = run_folder.read_state(setting.out, job.name)
    told = {"what": "step", "done": 3, "total": 10, "measures": {"loss": "1.5"}}
    assert state["result"]["steps"] == [told] and "steps" not in state


def test_every_running_job_has_its_line_and_all_have_one(tmp_path, jobs, clock, capsys):
    batch = JobBatch("rate", lambda gpu: lambda: None, jobs=list(jobs))
    first, second, *_ = jobs
    with display.Display(tmp_path, jobs, list(jobs), slots=1) as shown:
        shown.begun(batch)
        for second_number in range(0, 30, 5):
            done = 2 * second_number
            inner = {"what": "dev", "done": 1, "total": 4, "measures": {}}
            write(tmp_path, first, "running", second_number, done, measures={"loss": "1.5"})
            state = run_folder.read_state(tmp_path, first)
            state["steps"] += [inner] if second_number == 25 else []
            run_folder.write_state(tmp_path, first, state)
            shown._look()
            clock[0] += 5
        assert shown.lines[first].text().startswith(f"{first}: step 50/100  loss 1.5  dev 1/4")
        assert shown.lines[first].left() == pytest.approx(30, abs=7)
        assert shown.remaining() == pytest.approx(30 + 3 * 55, rel=0.2)  # as long as the first
        write(tmp_path, first, "done", 40)
        write(tmp_path, second, "running", 1)
        shown._look()
        assert list(shown.lines) == [second] and shown.whole.done == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"{first}: step") and "ETA" in line for line in lines)
    assert any(line.startswith("SUPERB 0/4 jobs  running 1") for line in lines)


def test_without_any_known_length_the_time_left_is_not_told(tmp_path, jobs):
    with display.Display(tmp_path, jobs, list(jobs), slots=2) as shown:
        assert shown.remaining() is None and "ETA ?" in shown.whole.text()


def test_jobs_done_before_tell_how_long_the_others_take(tmp_path, jobs):
    first, *others = jobs
    write(tmp_path, first, "done", 60.0)
    with display.Display(tmp_path, jobs, others, slots=2) as shown:
        assert shown.remaining() == 90  # three of a minute, two at a time
        assert "ETA 01:30" in shown.whole.text()


def test_two_tests_of_one_task_do_not_count_for_its_training(tmp_path, jobs):
    *candidates, test = jobs
    write(tmp_path, candidates[0], "done", 60.0)
    write(tmp_path, test, "done", 4.0)
    with display.Display(tmp_path, jobs, candidates[1:2], slots=1) as shown:
        assert shown.remaining() == 60


SCRIPT = """
import sys, time
from pathlib import Path
import toy_suite
from mt4ssl_core.bars import Bar
from mt4ssl_core.command_line import guarded
from upstream.suite import display, executors, scheduling, work
from upstream.suite.scheduling import JobBatch
from upstream.suite.jobs import SuiteSetting, jobs_of

class Patch:
    def setattr(self, owner, name, value):
        setattr(owner, name, value)

def do(setting, job):
    with Bar("step", 30) as bar:
        for step in range(30):
            bar.advance()
            bar.show(loss="1.5")
            time.sleep(0.02)
    return {}

def run():
    out = Path(sys.argv[1])
    work._WATCH = work._STEPS = display._POLL = 0.05
    plan = toy_suite.plan("rate", toy_suite.make_tasks(out / "toy", Patch()))
    jobs = {job.name: job for job in jobs_of(plan)[0]}
    setting = SuiteSetting(out, "fbank", None, 1)
    def begin(job):
        return lambda gpu: lambda: work.run_job(setting, job, do=do)
    batches = [JobBatch(name, begin(job), jobs=[name]) for name, job in jobs.items()]
    with display.Display(out, jobs, list(jobs), 1) as shown:
        scheduling.schedule(
            batches, executors.Inline(), lambda name: True, shown.begun,
            lambda batch, handle: shown.ended(batch),
        )

sys.exit(guarded("run", run))
"""


@pytest.mark.parametrize(("columns", "interrupted"), [(60, False), (80, False), (80, True)])
def test_on_a_terminal_nothing_wraps_and_one_line_stays(
    tmp_path, monkeypatch, columns, interrupted
):
    here = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent}")
    at = b"lr_0.1: step" if interrupted else None
    argv = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    code, written = on_terminal(argv, columns, at)
    assert max(map(len, drawn(written))) < columns
    assert "rate/lr_0.1: step" in written and "loss 1.5" in written
    if interrupted:
        line, said = screen(written)
        assert code == 130 and said.startswith("run: interrupted; the same command goes on")
        assert line.startswith("SUPERB 0/3 jobs")
    else:
        (line,) = screen(written)
        assert code == 0 and line.startswith("SUPERB 3/3 jobs") and "took" in line
