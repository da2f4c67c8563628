#!/usr/bin/env python
"""SUPERB's own heads on real speech: does pre-training pay for speakers that it has not heard?

    python benchmarks/real_heads.py DATA CKPT [--work DIR] [--machine NAME]

DATA is laid out by `real_superb.py`. The checkpoint, its untrained copy and filter banks, with CMVN
and without, get heads of equal steps and rates, with several seeds each (SEEDS). Then they are
compared with the checkpoint as `mt4ssl superb compare` does. The same command goes on where it
stopped.
"""

import argparse
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.comparing import telling  # noqa: E402
from analysis.comparing.comparison import compare  # noqa: E402
from analysis.demo import ACCUMULATE, SYSTEMS, head_settings  # noqa: E402
from benchmarks import pages, real_superb  # noqa: E402
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint  # noqa: E402
from mt4ssl_core.command_line import guarded  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from upstream.store.options import StoreOptions  # noqa: E402
from upstream.suite import suite  # noqa: E402
from upstream.suite.suite_request import SuiteRequest  # noqa: E402

OURS = "mt4ssl"
NAMES = {"ks": "KS acc % ↑", "sid": "SID acc % ↑", "pr": "PR PER % ↓"}
HEADS: dict[str, dict[str, Any]] = {  # of all systems alike
    "ks": {"runner.total_steps": 500, "optimizer.lr": 5e-3, ACCUMULATE: 1},
    "sid": {"runner.total_steps": 500, "optimizer.lr": 5e-3, ACCUMULATE: 1},
    "pr": {"runner.total_steps": 1000, "optimizer.lr": 1e-2, ACCUMULATE: 1},
}
SEEDS = {"ks": 5, "sid": 3, "pr": 3}


def changes(task: str) -> dict[str, Any]:
    """The settings of a task's head that are not SUPERB's; it is validated twice."""
    return head_settings(task, HEADS[task], HEADS[task]["runner.total_steps"] // 2)


def measure(args: argparse.Namespace) -> Path:
    """Train and test the heads that are not there yet, and write what was found."""
    roots = args.work / "corpora" / "roots.yaml"
    if not roots.exists():
        real_superb.lay_out(args.data, roots.parent)
    for system, upstream in SYSTEMS.items():
        for task in args.tasks.split(","):
            failed = suite.run(SuiteRequest(
                out=args.work / upstream, roots=str(roots), upstream=upstream,
                ckpt=str(args.checkpoint) if upstream.startswith("mt4ssl") else None,
                tasks=task, seeds=SEEDS[task], device="cpu", executor="inline", allow_partial=True,
                set=[f"{task}:{key}={value}" for key, value in changes(task).items()],
                store=StoreOptions("frames", str(args.work / "features"), precision="fp32"),
            ))  # fmt: skip
            if failed:
                raise ValueError(f"{system}: not all heads were tested; see above, and go on")
    path = pages.record_path("real_heads", args.machine)
    write_json(path, record(args))
    return path


def record(args: argparse.Namespace) -> dict[str, Any]:
    """The scores of all systems, and how much better the checkpoint is than each other one."""
    others = {system: args.work / name for system, name in SYSTEMS.items() if system != OURS}
    rows = []
    for system, folder in others.items():
        compared = telling.record(compare(args.work / SYSTEMS[OURS], folder, args.tasks))
        rows += [{"system": system, **finding} for finding in compared["findings"]]
    return {
        "machine": args.machine,
        "setting": {
            "checkpoint": checkpoint_fingerprint(args.checkpoint),
            "heads": {task: changes(task) for task in args.tasks.split(",")},
        },
        "comparisons": rows,
    }  # fmt: skip


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("real_heads")
    if not kept:
        return pages.NOT_RUN
    found = kept[0]
    tasks, rows = list(found["setting"]["heads"]), found["comparisons"]
    lines = [f"| system | {' | '.join(NAMES[task] for task in tasks)} |"]
    lines.append("| --- |" + " ---: |" * len(tasks))
    mine = {row["task"]: row for row in rows}
    cells = [_score(mine[task]["first"], mine[task]["deviations"][0]) for task in tasks]
    lines.append(f"| {OURS} | {' | '.join(cells)} |")
    for system in dict.fromkeys(row["system"] for row in rows):
        by_task = {row["task"]: row for row in rows if row["system"] == system}
        lines.append(f"| {system} | {' | '.join(_beside(by_task[task]) for task in tasks)} |")
    steps = "; ".join(
        f"{task} {head['runner.total_steps']:,} at {head['optimizer.lr']:g}, "
        f"{mine[task]['seeds'][0]} seeds"
        for task, head in found["setting"]["heads"].items()
    )
    sizes = ", ".join(f"{task} {row['items']:,}" for task, row in mine.items())
    return "\n".join(lines) + (
        "\n\nMean ± sample standard deviation of seeds of s3prl's own heads, steps and rate alike "
        f"for all: {steps}. In brackets: by how much {OURS} is better, "
        "with the 95 % interval, the wider one of resampling speakers and utterances, head seeds "
        "counted; * no difference is shown (p ≥ .05, corrected for the number of tests). Test "
        f"utterances: {sizes}. On {found['machine']}."
    )


def _score(value: float, deviation: float | None) -> str:
    return f"{value:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def _beside(row: dict[str, Any]) -> str:
    star = "" if row["differs"] else " *"
    gain = f"({row['gain']:+.1f}, {row['low']:.1f} to {row['high']:.1f}{star})"
    return f"{_score(row['second'], row['deviations'][1])} {gain}"


def main() -> None:
    """Measure where there is data, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--work", type=Path, default=Path("runs/real_heads"))
    parser.add_argument("--tasks", default=",".join(HEADS), help="with commas")
    parser.add_argument("--machine", default=platform.machine())
    args = parser.parse_args()
    if odd := [task for task in args.tasks.split(",") if task not in HEADS]:
        raise ValueError(
            f"--tasks {odd[0]}: no settings for it here; give some of {', '.join(HEADS)}"
        )
    if args.data and args.checkpoint:
        print(measure(args))
    pages.show("real-heads", table())


if __name__ == "__main__":
    sys.exit(guarded("real_heads", main))
