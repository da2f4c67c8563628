"""What one sees of a suite while it runs: how many jobs are done, and each job's steps.

Read from the jobs' states (`run_folder`), wherever these run.
"""

import contextlib
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.bars import Bar
from upstream.door import tasks
from upstream.suite import run_folder, work
from upstream.suite.jobs import Job
from upstream.suite.scheduling import JobBatch

_POLL = 1.0  # seconds
_OTHER_LINES = 6  # of a terminal


class Display:
    """One line for all jobs and one for each that runs; ends with the ``with`` block.

    Args:
        out: folder of the suite.
        jobs: all its jobs by name, also those that are done.
        left: names of those to do.
        slots: how many are done at the same time.
    """

    def __init__(self, out: Path, jobs: Mapping[str, Job], left: Sequence[str], slots: int) -> None:
        self.out, self.jobs, self.left, self.slots = out, jobs, set(left), slots
        self.stream = sys.stderr  # a job in this process has its own for a while
        self.running: dict[str, JobBatch] = {}
        self.lines: dict[str, Bar] = {}  # by job
        self.seconds: dict[str, float] = {}  # that a job took, or will take, as far as is known
        self.whole = _Whole(self)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begun(self, batch: JobBatch) -> None:
        """Show the jobs of a batch from now on."""
        self.running[batch.name] = batch

    def ended(self, batch: JobBatch) -> None:
        """Count the jobs of a batch as over, done or not."""
        del self.running[batch.name]
        self._count(batch.jobs)

    def remaining(self) -> float | None:
        """Return about how many seconds all takes yet; None when nothing is known."""
        left = [self._remaining(name) for name in self.left]
        if not left or None in left:
            return None
        known = [seconds for seconds in left if seconds is not None]
        return max(sum(known) / min(self.slots, len(known)), max(known))

    def _remaining(self, name: str) -> float | None:
        line = self.lines.get(name)
        measured = line.left() if line is not None and self.jobs[name].candidate else None
        if measured is not None:
            return measured
        expected = self._expected(self.jobs[name])
        spent = line.spent() if line is not None else 0.0
        return None if expected is None else max(0.0, expected - spent)

    def _expected(self, job: Job) -> float | None:
        """What jobs of its kind took: of the same task, else of any; else whatever is known."""

        def kind(name: str) -> tuple[bool, str]:
            return self.jobs[name].candidate is None, self.jobs[name].plan.code

        mine = job.candidate is None, job.plan.code
        groups = [
            [s for name, s in self.seconds.items() if kind(name) == mine],
            [s for name, s in self.seconds.items() if kind(name)[0] == mine[0]],
            list(self.seconds.values()),
        ]
        return next((sum(group) / len(group) for group in groups if group), None)

    def _watch(self) -> None:
        while not self._over.wait(_POLL):
            with contextlib.suppress(ValueError, OSError, RuntimeError):  # being written, or gone
                self._look()

    def _look(self) -> None:
        at_work = 0
        for batch in list(self.running.values()):
            states = {name: run_folder.read_state(self.out, name) for name in batch.jobs}
            self._count([n for n, found in states.items() if found.get("state") == work.DONE])
            for name, found in states.items():
                if found.get("state") == work.RUNNING:
                    at_work += 1
                    self._show(name, found)
        self.whole.show(running=str(at_work))

    def _count(self, over: Sequence[str]) -> None:
        for name in self.left.intersection(over):
            self.left.discard(name)
            self.seconds.pop(name, None)
            self._learn(name)
            if line := self.lines.pop(name, None):
                if name in self.seconds and line.total:
                    line.advance(line.total - line.done)  # it was done since the last look
                line.close()
            self.whole.advance()

    def _learn(self, name: str) -> None:
        """Remember how long a job took that is done."""
        state = run_folder.read_state(self.out, name)
        if state.get("state") == work.DONE and "seconds" in state:
            self.seconds[name] = state["seconds"]

    def _show(self, name: str, state: Mapping[str, Any]) -> None:
        if name not in self.left:
            return
        if name not in self.lines:
            if len(self.lines) > shutil.get_terminal_size().lines - _OTHER_LINES:
                return
            self.lines[name] = Bar(name, stream=self.stream)
        line, steps = self.lines[name], state.get("steps") or [{}]
        outer, *inner = steps
        what = f"{name}: {outer['what']}" if outer else name
        if line.what != what:
            line.what, line.total = what, outer.get("total")
            line.go_on_from(outer.get("done", 0))
        for measured in inner:  # what holds the steps up at the moment
            outer["measures"][measured["what"]] = f"{measured['done']}/{measured['total']}"
        line.measures = outer.get("measures", {})
        line.advance(outer.get("done", line.done) - line.done)
        if (left := line.left()) is not None and self.jobs[name].candidate:
            self.seconds[name] = state["seconds"] + left

    def __enter__(self) -> "Display":
        """Begin to look."""
        for name in self.jobs.keys() - self.left:
            self._learn(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End all lines."""
        self._over.set()
        self._thread.join()
        for line in self.lines.values():
            line.close()
        self.whole.measures.clear()
        self.whole.close()


class _Whole(Bar):
    """The line for all jobs, whose time left is what the jobs' own speed says."""

    def __init__(self, display: Display) -> None:
        self.display = display
        own = [job.plan.code for job in display.jobs.values() if tasks.is_own(job.plan.code)]
        what = own[0] if own else "SUPERB"  # a task of one's own is alone
        super().__init__(what, len(display.left), unit=" jobs", show=bool(display.left))

    def left(self) -> float | None:
        """Return the seconds that are left, None when nobody knows."""
        return self.display.remaining()
