"""Spread the clips of a corpus over worker processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mini_superb.clip import Clip


def synthesise(root: Path, clips: list[Clip], jobs: int, progress: bool) -> list[dict[str, Any]]:
    """Record ``clips`` under ``root`` in ``jobs`` processes; returns their alignments in order.

    What is written depends on the clips alone. Raises ValueError with a worker's message (missing
    voice, full disk).
    """
    jobs = max(1, min(jobs, len(clips)))
    workers = [_start() for _ in range(jobs)]
    bar = tqdm(total=len(clips), unit="clip", desc="synthesising", disable=not progress)
    try:
        with bar, ThreadPoolExecutor(jobs) as pool:
            shares = [clips[k::jobs] for k in range(jobs)]
            tasks = [
                pool.submit(_run, worker, root, share, bar)
                for worker, share in zip(workers, shares, strict=True)
            ]
            try:
                for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                    task.result()
                answers = [task.result() for task in tasks]
            finally:  # also on Ctrl-C: the threads end when their workers do
                for worker in workers:
                    worker.kill()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [answers[k % jobs][k // jobs] for k in range(len(clips))]


def _start() -> subprocess.Popen[str]:
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
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **tuned, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
    )


def _run(worker: subprocess.Popen[str], root: Path, clips: list[Clip], bar: tqdm) -> list[dict]:
    assert worker.stdin and worker.stdout and worker.stderr
    lines = [json.dumps(str(root)), *(json.dumps(clip.to_json()) for clip in clips)]
    try:
        worker.stdin.write("\n".join(lines))
        worker.stdin.close()  # it starts when it has read everything
        answers = list(_answers(worker.stdout, bar))
    except BrokenPipeError:
        answers = []
    if len(answers) < len(clips):
        raise RuntimeError(f"a synthesis process ended early:\n{worker.stderr.read()}")
    return answers


def _answers(lines: Any, bar: tqdm) -> Iterator[dict[str, Any]]:
    for line in lines:
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{answer['path']}: {answer['error']}")
        bar.update()
        yield answer
