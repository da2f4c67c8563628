#!/usr/bin/env python
"""ABX beside fastabx: the same error on the same items, and how long each takes.

    python benchmarks/abx.py --python FASTABX_PYTHON [--machine NAME] [--size 1]

fastabx needs Python 3.12: FASTABX_PYTHON is that of an environment with it (``python3.12 -m venv
abx && abx/bin/pip install fastabx``). Features are random, of the size of BASE; both sides get them
cut alike, in one thread, in turn, and only the comparing is timed. Without --python only the table
in docs/results.md is written, from the committed result.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.abx import errors as abx  # noqa: E402
from analysis.abx import items as abx_items  # noqa: E402
from analysis.abx.items import Stretch  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

DIM, PHONES, CONTEXTS, SPEAKERS = 768, 20, 12, 10
NOISE = 10  # beside phones of deviation 1: so much that some are taken for others
HEAD = "#file onset offset #phone prev-phone next-phone speaker"
THEIRS = """
import json, sys, time
import torch
from fastabx import Score, Task
from fastabx.dataset import Dataset
torch.set_num_threads(1)
folder, speaker = sys.argv[1:]
data = Dataset.from_item(f"{folder}/speech.item", folder, 50, device="cpu", progress=False)
near = ["prev-phone", "next-phone"]
started = time.perf_counter()
if speaker == "within":
    task = Task(data, on="#phone", by=[*near, "speaker"])
else:
    task = Task(data, on="#phone", by=near, across=["speaker"])
score = Score(task, "angular", progress=False)
error = score.collapse(levels=[("next-phone", "prev-phone"), "speaker"])
print(json.dumps({"error": error, "seconds": time.perf_counter() - started}))
"""


def write_speech(
    folder: Path, each: int, dim: int = DIM, noise: float = NOISE, seed: int = 0
) -> None:
    """Write speech.item and random features NAME.pt, a file of 50 frames per second per speaker;
    ``each``: stretches of a speaker.
    """
    random, lines = np.random.default_rng(seed), [HEAD]
    means = random.normal(size=(PHONES, dim))
    for speaker in range(SPEAKERS):
        frames, place = [], 0
        for _ in range(each):
            length, phone = int(random.integers(4, 19)), int(random.integers(PHONES))
            context = int(random.integers(CONTEXTS))
            frames.append(means[phone] + noise * random.normal(size=(length, dim)))
            times = f"{place / 50:.2f} {(place + length) / 50:.2f}"
            lines.append(f"s{speaker} {times} p{phone} c{context} c{context} s{speaker}")
            place += length
        whole = torch.from_numpy(np.concatenate(frames).astype(np.float32))
        torch.save(whole, folder / f"s{speaker}.pt")
    (folder / "speech.item").write_text("\n".join(lines) + "\n")


def ours(folder: Path, speaker: str) -> dict[str, float]:
    """The error of what `write_speech` wrote, and the seconds it took, like ``THEIRS``."""
    said = abx_items.read_items(folder / "speech.item").stretches
    frames = {name: torch.load(folder / f"{name}.pt", weights_only=True).numpy() for name in said}
    begins = dict(zip(frames, np.cumsum([0, *map(len, frames.values())]), strict=False))
    places = np.array([begins[name] for name, items in said.items() for _ in items])
    stretches: list[Stretch] = [item for items in said.values() for item in items]
    whole, started = np.concatenate(list(frames.values())), time.perf_counter()
    if speaker == "within":
        cells = list(abx.cells_within(stretches, None, 0))
    else:
        cells = list(abx.cells_across(stretches, None, 0, None))
    error = abx.score(whole, places, stretches, cells).rate()
    return {"error": error, "seconds": time.perf_counter() - started}


def theirs(python: str, folder: Path, speaker: str) -> dict[str, float]:
    """What fastabx says of it.

    Raises:
        ValueError: ``python`` has no fastabx, or it failed.
    """
    done = subprocess.run(
        [python, "-c", THEIRS, str(folder), speaker], capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(f"{python}: {done.stderr.strip()[-500:]}; give one with fastabx")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(python: str, size: float, repeats: int) -> list[dict[str, Any]]:
    """Both sides in turn, within speakers and across them."""
    rows = []
    for speaker, each in (("within", round(900 * size)), ("across", round(250 * size))):
        with tempfile.TemporaryDirectory() as folder:
            write_speech(Path(folder), each)
            found = [
                (ours(Path(folder), speaker), theirs(python, Path(folder), speaker))
                for _ in range(repeats)
            ]
        rows.append(
            {
                "speaker": speaker,
                "stretches": each * SPEAKERS,
                "error": found[0][0]["error"],
                "fastabx_error": found[0][1]["error"],
                "seconds": statistics.median(own["seconds"] for own, _ in found),
                "fastabx_seconds": statistics.median(other["seconds"] for _, other in found),
                "fastabx_over_ours": statistics.median(
                    other["seconds"] / own["seconds"] for own, other in found
                ),
            }
        )
    return rows


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("abx")
    if not kept:
        return pages.NOT_RUN
    lines = [
        "| ABX | stretches | error, ours | error, fastabx | seconds, ours | seconds, fastabx |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for found in kept:
        lines += [
            f"| {row['speaker']} speakers, {found['machine']} | {row['stretches']} "
            f"| {row['error']:.5f} | {row['fastabx_error']:.5f} "
            f"| {row['seconds']:.1f} | {row['fastabx_seconds']:.1f} |"
            for row in found["rows"]
        ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure where fastabx is; write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", help="of an environment with fastabx")
    parser.add_argument("--machine", default=platform.node(), help="in the result's name")
    parser.add_argument("--size", type=float, default=1.0, help="of the speech")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    if args.python:
        torch.set_num_threads(1)
        rows = measure(args.python, args.size, args.repeats)
        versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
        found = {"machine": args.machine, "dim": DIM, "versions": versions, "rows": rows}
        write_json(pages.record_path("abx", args.machine), found)
    print(table())
    pages.show("abx", table())


if __name__ == "__main__":
    main()
