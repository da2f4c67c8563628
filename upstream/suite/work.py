"""A process of a suite at work: jobs one after another, each with its log and its state.

Whoever started the process needs to know only whether it is over: what became of a job is in
jobs/NAME.json of the suite's folder. A job goes on from its last checkpoint when it is begun again.
"""

import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core import bars
from mt4ssl_core.locks import SILENCE, lock
from upstream.suite import jobs, run_folder
from upstream.suite.jobs import Job, SuiteSetting

DONE, FAILED, RUNNING = "done", "failed", "running"
PATIENCE = SILENCE + 60.0  # seconds to wait for a job whose process on another host was killed
_WATCH, _STEPS, _HEARTBEAT = 1.0, 2.0, 20.0  # seconds


class Work:
    """Does jobs one after another, tests only once all its candidates are done.

    Can be pickled, and begun again.
    """

    def __init__(
        self,
        setting: SuiteSetting,
        jobs: Sequence[Job],
        token: str | None = None,
        gpu: str | None = None,
    ) -> None:
        self.setting, self.jobs, self.token, self.gpu = setting, jobs, token, gpu

    def __call__(self) -> None:
        """Do the jobs. With a ``token``, end at once when the suite that has it is gone."""
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        out, candidates = self.setting.out, [job for job in self.jobs if job.candidate]
        for job in self.jobs:
            needed = [each for each in candidates if each.seed == job.seed]
            ready = job.candidate or all(done(out, candidate) for candidate in needed)
            if ready and not done(out, job):
                run_job(self.setting, job, self.token)

    def checkpoint(self) -> Any:
        """Be put into SLURM's queue again, after a time-out or a preemption (see submitit)."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def done(out: Path, job: Job) -> bool:
    """Whether a job was done with the same settings; a test, by today's dev values."""
    state = run_folder.read_state(out, job.name)
    if state.get("state") != DONE or state.get("settings") != job.settings():
        return False
    devs = state.get("result", {}).get("devs")
    return job.candidate is not None or devs == jobs.devs_of(out, job.plan, job.seed)


def run_job(
    setting: SuiteSetting,
    job: Job,
    token: str | None = None,
    do: Callable[[SuiteSetting, Job], dict[str, Any]] | None = None,
) -> bool:
    """Do one job with its output in its log, and leave its state; returns whether it went well.

    Errors go into the state and the log; an interrupted job is left as running.
    """
    out, log = setting.out, run_folder.log_path(setting.out, job.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "a", buffering=1, encoding="utf-8", errors="replace") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        _own_logging(),
    ):
        try:
            held = run_folder.state_path(out, job.name).with_suffix(".lock")
            with lock(held, job.name, PATIENCE), _Clock(out, job, token) as clock:
                print(f"== {job.name} {time.strftime('%Y-%m-%d %H:%M:%S')} ==", flush=True)
                result = (do or jobs.perform)(setting, job)
        except Exception as error:
            traceback.print_exc()
            lines = str(error).strip().splitlines() or [""]
            said = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
            state = run_folder.read_state(out, job.name)
            run_folder.write_state(out, job.name, {**state, "state": FAILED, "error": said})
            return False
        run_folder.write_state(out, job.name, {**clock.state(), "state": DONE, "result": result})
    return True


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Take away handlers that a job made (s3prl does): they write to its log, which is closed."""
    before = logging.root.handlers[:]
    try:
        yield
    finally:
        logging.root.handlers[:] = before


class _Clock:
    """Keeps the time spent on a job over all its sessions, and ends it with its suite."""

    def __init__(self, out: Path, job: Job, token: str | None) -> None:
        before = run_folder.read_state(out, job.name)
        same = before.get("settings") == job.settings()
        self.before = float(before.get("seconds", 0.0)) if same else 0.0
        self.out, self.job, self.token = out, job, token
        self.started, self.over = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._tick, daemon=True)
        self.steps: list[dict[str, Any]] = []  # how far its bars are, the outermost first
        self._watch = contextlib.ExitStack()

    def state(self) -> dict[str, Any]:
        """The job's state so far."""
        seconds = round(self.before + time.monotonic() - self.started, 3)
        return {
            "state": RUNNING,
            "name": self.job.name,
            "settings": self.job.settings(),
            "seconds": seconds,
            **({"steps": self.steps} if self.steps else {}),
        }

    def _tick(self) -> None:
        beats = 0.0
        while not self.over.wait(_WATCH):
            if self.token and run_folder.abandoned(self.out, self.token):
                os._exit(1)  # a thread cannot stop what the process is doing in another way
            beats += _WATCH
            steps = self._status()
            if beats >= _HEARTBEAT or (beats >= _STEPS and steps != self.steps):
                self.steps, beats = steps, 0.0
                run_folder.write_state(self.out, self.job.name, self.state())

    def __enter__(self) -> "_Clock":
        run_folder.write_state(self.out, self.job.name, self.state())
        self._status = self._watch.enter_context(bars.watched())
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self._watch.close()
        self.steps = []
        run_folder.write_state(self.out, self.job.name, self.state())
