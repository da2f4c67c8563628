"""A task of one's own: check the table, train a head per learning rate, choose on dev, test.

It is done as a suite of one task, so that it is resumed, stored and recorded as SUPERB's are.
"""

import hashlib
import time
from pathlib import Path
from typing import Any

from upstream.door import tasks
from upstream.own_task import checks, splits, table, trials
from upstream.own_task.table import SPLITS, TEST, Row
from upstream.suite import planning, preparation, run_folder, suite
from upstream.suite.own_task_request import OwnTaskRequest


def run(request: OwnTaskRequest) -> int:
    """Do what is asked; returns 0, or 1 when a job failed.

    Raises:
        ValueError: the table is not one of such a task, or something else that is asked for cannot
            be; found before anything was started.
    """
    started, kind = time.perf_counter(), request.kind
    preparation.require_packages([kind])
    rows, how = read_rows(request)
    path = Path(request.roots)
    seconds = checks.durations(path, rows)
    owner, executor, encoder = suite.begin(request)
    checks.fit_frames(path, rows, seconds, kind, encoder.frames)
    corpus = _corpus(request, rows, how, sum(seconds) / 3600)
    counts = ", ".join(f"{split} {count}" for split, count in corpus["counts"].items())
    print(f"{path}: {corpus['hours']:.2g} h: {counts} clips; splits: {how}")
    plan = planning.plan_task(request, kind, path.parent, corpus, encoder)
    failed = suite.carry_out(request, [plan], executor, owner)
    print(f"\n{request.out / run_folder.RESULTS}, {time.perf_counter() - started:.0f} s")
    if failed:
        suite.say_failed(request, failed)
    return 1 if failed else 0


def read_rows(request: OwnTaskRequest) -> tuple[list[Row], str]:
    """Return the clips of a table with their splits, and where these are from.

    Raises:
        ValueError: the table or the trials are wrong; names the lines.
    """
    rows, how = splits.fill(table.read(request.roots, request.kind), request.kind)
    checks.check(Path(request.roots), rows, request.kind)
    if request.trials is not None:
        trials.read(request.trials, [row for row in rows if row.split == TEST])
    return rows, how


def _corpus(request: OwnTaskRequest, rows: list[Row], how: str, hours: float) -> dict[str, Any]:
    """Return what a record says of the corpus."""
    files = [request.roots, *([request.trials] if request.trials else [])]
    contents = hashlib.sha256(b"\0".join(Path(file).read_bytes() for file in files))
    counts = {split: sum(row.split == split for row in rows) for split in SPLITS}
    return {
        "name": Path(request.roots).name,
        "kind": tasks.OWN,
        "counts": counts,
        "splits": how,
        "fingerprint": contents.hexdigest()[:16],
        "hours": round(hours, 4),
    }
