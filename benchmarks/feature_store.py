#!/usr/bin/env python
"""What the feature store saves: plain s3prl and ours in one run, as JSON and in docs/results.md.

    python benchmarks/feature_store.py [--machine NAME] [--work runs/feature_store] [--ckpt CKPT]
        [--device cpu] [--tasks ic,ks] [--only speed|scores] [--tables-only]

Speed is that of SUPERB's tasks with their own batch sizes, heads and accumulation on the BASE
encoder with random weights, and corpora of noise with the lengths of the real ones
(speed_corpora.py). Each training runs in a process of its own (timed_training.py), alone on the
machine. A *plain* step runs the upstream; a *cold* one stores what it computes; a *warm* one finds
everything stored, crops excepted (mode exact; in mode bank they are drawn from a few kept ones).
The limit is what could be had if nothing but reading and the head were left:
(load + upstream + head, plain) / (read + head, stored), measured one by one; crops are encoded
within read.

Scores are those of mini_superb's tasks with a small trained encoder (``--ckpt``; without one the
demo's is trained first), each with three seeds.

Every measurement is kept in WORK: a benchmark started again goes on where it was stopped.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import mini_superb  # noqa: E402
from analysis import demo  # noqa: E402
from benchmarks import pages, speed_corpora  # noqa: E402
from benchmarks.kmeans import cpu_name  # noqa: E402
from benchmarks.store_rows import (  # noqa: E402
    BANK,
    CROPS,
    EPOCHS,
    FIELDS,
    PLAIN,
    PLAIN_BATCHES,
    ROWS,
    SEEDS,
    SMALLER,
    SWEEP,
    UTTERANCES,
    Row,
    summary,
)
from mt4ssl_core import config, configs  # noqa: E402
from mt4ssl_core.checkpoints import checkpoint  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.model.encoder import Encoder  # noqa: E402
from mt4ssl_core.threads import cores  # noqa: E402
from upstream import corpora  # noqa: E402
from upstream.door import tasks  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
WORKERS = 2  # that load data
SCORED = {  # steps and learning rate of the heads whose scores are compared
    "ks": (150, 5e-3),
    "ic": (100, 5e-3),
    "er": (60, 3e-3),
    "sid": (200, 5e-3),
    "pr": (150, 1e-2),
}
CROPPED = {"downstream_expert.datarc.max_timestep": 32000}  # of SID: mini_superb has 2 to 4 s


class Work:
    """The folder in which every measurement is kept."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder.absolute(), device

    def measure(self, name: str, threads: int, **asked: Any) -> dict[str, Any]:
        """Return what timed_training.py answers, from before if the same was asked then."""
        base = self.folder / "parts" / name
        question, answer = base.with_suffix(".asked.json"), base.with_suffix(".json")
        space, out = self.folder / "store" / name, self.folder / "experiments" / name
        asked["store"] = {**asked["store"], "folder": str(space)}
        asked |= {"out": str(out), "threads": threads, "device": self.device}
        if not answer.exists() or json.loads(question.read_text()) != asked:
            answer.unlink(missing_ok=True)
            for folder in (space, out):
                shutil.rmtree(folder, ignore_errors=True)
            write_json(question, asked)
            script = Path(__file__).with_name("timed_training.py")
            words = [sys.executable, str(script), str(question), str(answer)]
            here = {"MT4SSL_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": str(threads)}
            print(f"measuring {name}", flush=True)
            with open(base.with_suffix(".log"), "w") as log:
                done = subprocess.run(
                    words, cwd=ROOT, env={**os.environ, **here}, stdout=log, stderr=log
                )
            if done.returncode:
                raise ValueError(f"{name} failed; see {base.with_suffix('.log')}")
            shutil.rmtree(space, ignore_errors=True)  # frames take gigabytes
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def speed(work: Work, row: Row) -> dict[str, Any]:
    """Measure what the result says of a row's speed."""
    base = base_encoder(work.folder / "base.pt")
    root = speed_corpora.write(row.task, work.folder / "corpora", UTTERANCES[row.task])
    asked: dict[str, Any] = {"what": "timed", "task": row.task, "ckpt": str(base)}
    changes = {workers_key(row.task): WORKERS, **SMALLER.get(row.task, {})}
    asked |= {"root": str(root), "overrides": changes}
    both = [
        work.measure(
            f"{row.task}_{mode}", cores(), **asked, batches=batches, runs=runs, store=store
        )
        for mode, batches, runs, store in (
            (PLAIN, PLAIN_BATCHES[row.task], 1, {"mode": "off"}),
            (row.mode, row.batches, SWEEP if row.sweep else 1, row.store),
        )
    ]
    return summary(row, *both)


def workers_key(task: str) -> str:
    """The key of a task's config that says how many processes load data."""
    return next(key for key in tasks.header(task)["smoke"] if key.endswith(".num_workers"))


def base_encoder(path: Path) -> Path:
    """Write a checkpoint of the BASE encoder with random weights, unless it is there."""
    if not path.exists():
        cfg = config.load(configs.path("base"), ["data.train=none", "data.labels=none"])
        torch.manual_seed(0)
        state = {"config": config.to_dict(cfg), "encoder": Encoder(cfg.encoder).state_dict()}
        nothing: dict[str, Any] = {"targets": {}, "optimizer": None, "scaler": None, "progress": {}}
        checkpoint.save(path, {**state, **nothing})
    return path


def scores(work: Work, row: Row, ckpt: Path, root: Path) -> dict[str, Any]:
    """Train and test heads with and without the store; return their scores."""
    steps, rate = SCORED[row.task]
    changes = {**tasks.header(row.task)["learn"], "runner.total_steps": steps, "optimizer.lr": rate}
    changes |= {f"runner.{key}": steps // 2 for key in ("eval_step", "save_step")}
    changes |= CROPPED if row.task == "sid" else {}
    asked: dict[str, Any] = {"what": "scored", "task": row.task, "ckpt": str(ckpt)}
    asked["overrides"] = changes
    asked |= {"root": str(root), "seeds": SEEDS}
    plain, ours = (
        work.measure(f"score_{row.task}_{mode}", 1, **asked, store=store)
        for mode, store in ((PLAIN, {"mode": "off"}), (row.mode, row.store))
    )
    return {
        "score_plain": statistics.mean(plain["values"]),
        "score_store": statistics.mean(ours["values"]),
        "score_spread_3_seeds": max(plain["values"]) - min(plain["values"]),
        "metric": plain["metric"],
        "stored": ours["store"],
    }


def measure(args: argparse.Namespace) -> Path:
    """Measure what is asked for, and write it as soon as it is known."""
    work, path = Work(args.work, args.device), RESULTS / f"feature_store_{args.machine}.json"
    wanted = [row for row in ROWS if args.tasks is None or row.task in args.tasks.split(",")]
    record = _record(path, args)
    if args.only != "scores":
        for row in wanted:
            update(path, record, row, speed(work, row))
    if args.only != "speed":
        learnt = [row for row in wanted if row.task in SCORED]
        made = mini_superb.make(work.folder / "mini_superb", sorted({row.task for row in learnt}))
        for row in learnt:
            corpora.prepare(row.task, made[row.task]["root"])
        ckpt = args.ckpt or demo.learn(work.folder, made["pretrain"], None)
        by_task = [[row for row in learnt if row.task == task] for task in SCORED]

        def of_task(rows: Sequence[Row]) -> list[dict[str, Any]]:  # they share a plain run
            return [
                scores(work, row, Path(ckpt).absolute(), made[row.task]["root"]) for row in rows
            ]

        with ThreadPoolExecutor(max(1, cores())) as pool:
            for rows, found in zip(by_task, pool.map(of_task, by_task), strict=True):
                for row, values in zip(rows, found, strict=True):
                    update(path, record, row, values)
    return path


def _record(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return {
        "machine": {"name": args.machine, "cpu": cpu_name(), "device": args.device},
        "versions": {name: version(name) for name in ("torch", "s3prl", "numpy")}
        | {"python": platform.python_version()},
        "setting": {
            "encoder": "base.yaml, random weights",
            "corpora": "noise in the layouts and with the lengths of the real ones",
            "heads, batches": "downstream_configs/TASK.yaml, but for what a row has changed",
            "loader processes": WORKERS,
            "threads": cores(),
            "frames": "fp16, read from the page cache",
            "kept crops per file in mode bank": CROPS,
            "scores": "mini_superb, default size, small encoder, three seeds",
        },
        "rows": rows,
    }


def update(path: Path, record: dict[str, Any], row: Row, values: Mapping[str, Any]) -> None:
    """Put what is known of a row into the record, and write it."""
    place = {"task": row.task, "kind": row.kind, "mode": row.mode}
    known = {tuple(r[key] for key in place): r for r in record["rows"]}
    own = known.setdefault(tuple(place.values()), {**place, **dict.fromkeys(FIELDS)})
    own.update(values)
    order = [(row.task, row.kind, row.mode) for row in ROWS]
    record["rows"] = [known[key] for key in order if key in known]
    write_json(path, record)


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    (path,) = sorted(RESULTS.glob("feature_store_*.json"))[:1]
    return table_of(json.loads(path.read_text()))


def table_of(record: Mapping[str, Any]) -> str:
    """A row for each task: speed, its limit, a sweep, scores."""
    lines = [
        "| task | kept | plain | first epoch | stored | faster | of the limit | 5 rates | score: "
        "plain, stored (spread) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in record["rows"]:
        kept = f"{r['kind']}, {'crops from a bank' if r['mode'] == BANK else 'exact crops'}"
        kept = kept if r["task"] in ("ks", "sid", "asv") else r["kind"]
        rates = [_number(r[f"{name}_steps_per_s"]) for name in (PLAIN, "cold", "warm")]
        ratio = "-" if r["ratio_warm"] is None else f"{_number(r['ratio_warm'])}x"
        share = "-" if r["limit"] is None else f"{r['fraction_of_limit']:.0%}"
        cost = "-" if r["sweep5_cost_ratio"] is None else f"{_number(r['sweep5_cost_ratio'])}x"
        score = "-"
        if r["score_plain"] is not None:
            values = [r[f"score_{name}"] for name in (PLAIN, "store", "spread_3_seeds")]
            score = "{:.3f}, {:.3f} ({:.3f})".format(*values)
        cells = [r["task"], kept, *rates, ratio, share, cost, score]
        lines.append(f"| {' | '.join(cells)} |")
    setting = record["setting"]
    return "\n".join(lines) + (
        f"\n\nSteps of training per second, loader included, BASE encoder, {setting['threads']} "
        f"threads of {record['machine']['name']} ({record['machine']['device']}); 5 rates: five "
        f"trainings of {EPOCHS} epochs, first one cold, over one plain training. Kept, pooled: the "
        "mean over time of each layer; frames: all of them; exact crops: what is cut at random is "
        f"encoded anew; crops from a bank: drawn from {CROPS} kept ones of each file. The limit "
        "is what could be had if nothing but reading what is kept and the head were left; these "
        "are timed one by one, so that its share may be above 100 %. Scores: "
        "mini_superb with a small encoder, mean of three seeds; their spread is largest minus "
        "smallest. asr and sf in smaller batches than SUPERB's: their BLSTM heads take most of the "
        "time of a batch on a CPU, asr's nine tenths, and the store saves the rest. `python "
        "benchmarks/feature_store.py` repeats it."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def main() -> None:
    """Measure, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", default=f"{platform.machine()}_{platform.node()}")
    parser.add_argument("--work", type=Path, default=Path("runs/feature_store"))
    parser.add_argument("--ckpt", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tasks")
    parser.add_argument("--only", choices=["speed", "scores"])
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    if not args.tables_only:
        print(measure(args))
    pages.show("feature-store", table())


if __name__ == "__main__":
    main()
