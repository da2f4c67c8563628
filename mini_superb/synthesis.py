"""Spread the clips of a corpus over worker processes."""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from mini_superb.clip import Clip


def synthesise(root: Path, clips: list[Clip], jobs: int, progress: bool) -> list[dict[str, Any]]:
    """Record ``clips`` under ``root`` in ``jobs`` processes; returns their alignments in order.

    What is written depends on the clips alone. Raises ValueError with a worker's message (missing
    voice, full disk).
    """
    sessions = _sessions(clips)
    jobs = max(1, min(jobs, len(sessions)))
    watched = progress and sys.stderr.isatty()
    if progress and not watched:
        print(f"synthesising {len(clips)} clips in {jobs} processes", file=sys.stderr, flush=True)
    bar = tqdm(total=len(clips), unit="clip", desc="synthesising", disable=not watched)
    with ExitStack() as files:
        complaints = [
            files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            for _ in range(jobs)
        ]  # files, as a pipe that nobody reads would block its writer
        workers = [_start(file) for file in complaints]
        try:
            with bar, ThreadPoolExecutor(jobs) as pool:
                tasks = [
                    pool.submit(_run, worker, root, sessions[k::jobs], bar, complaints[k])
                    for k, worker in enumerate(workers)
                ]
                try:
                    for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                        task.result()
                finally:  # also on Ctrl-C: the threads end when their workers do
                    for worker in workers:
                        worker.kill()
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    lines = {line["path"]: line for task in tasks for line in task.result()}
    return [lines[clip.path] for clip in clips]


def _sessions(clips: list[Clip]) -> list[list[Clip]]:
    """The clips of one person in one task belong together, in order."""
    sessions: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        task, name = clip.path.split("/", 1)[0], clip.speaker.name if clip.speaker else ""
        sessions.setdefault((task, name), []).append(clip)
    return list(sessions.values())


def _start(complaints: IO[str]) -> subprocess.Popen[str]:
    package = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    tuned = {
        **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        **{"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)},
    }  # one thread per worker, and freed memory is kept for the next clip
    return subprocess.Popen(
        [sys.executable, "-m", "mini_superb.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        encoding="utf-8",
        env={**os.environ, **tuned, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
    )


def _run(
    worker: subprocess.Popen[str],
    root: Path,
    sessions: list[list[Clip]],
    bar: tqdm,
    complaints: IO[str],
) -> list[dict[str, Any]]:
    assert worker.stdin and worker.stdout
    lines = [json.dumps([clip.to_json() for clip in session]) for session in sessions]
    answers = []
    try:
        worker.stdin.write("\n".join([json.dumps(str(root)), *lines]))
        worker.stdin.close()  # it starts when it has read everything
    except BrokenPipeError:
        pass  # it has ended: its last words are read below
    for answer in map(json.loads, worker.stdout):
        if "error" in answer:
            raise ValueError(answer["error"])
        bar.update()
        answers.append(answer)
    if len(answers) < sum(map(len, sessions)):
        worker.wait()
        complaints.seek(0)
        raise RuntimeError(f"a synthesis process ended early:\n{complaints.read()}")
    return answers
