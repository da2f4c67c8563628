#!/usr/bin/env python
"""Does it learn from real speech? The tiny config with both targets, offline and online only.

    python benchmarks/real_pretraining.py AUDIO [--machine NAME] [--work runs/real_pretraining]

Interrupted, it goes on where it stopped: so do k-means labelling and pre-training.
"""

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import convergence, readme_tables  # noqa: E402
from mt4ssl_core import config, configs, kmeans, train  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.log import read_jsonl  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PLOT = ROOT / "analysis" / "scores" / "convergence.png"
RUNS = {  # folder: (label, overrides of tiny.yaml)
    "both": ("both targets", []),
    "offline": ("offline only", ["online=null"]),
    "online": ("online only", ["offline=null", "online.weight=1.0"]),
}
SHARED = ["optim.max_updates=1600", "run.validate_every=400", "data.workers=1"]


def measure(audio: Path, work: Path, machine: str) -> Path:
    """Cluster, label and pre-train; write benchmarks/results/real_pretraining_MACHINE.json."""
    km, labels = work / "km.safetensors", work / "labels" / "train.km"
    if not km.exists():
        kmeans.fit_corpus(audio, km, k=100, min_seconds=0.5)
    if not labels.exists():
        kmeans.label_corpus(km, audio, labels.parent, min_seconds=0.5)
    for name, (_, changes) in RUNS.items():
        data = [f"data.train={labels.with_suffix('.tsv')}", f"run.out={work / name}"]
        data += [] if "offline=null" in changes else [f"data.labels={labels}"]
        train.pretrain(config.load(configs.path("tiny"), [*changes, *data, *SHARED]))
    return collect(work, machine)


def collect(work: Path, machine: str) -> Path:
    """Write the JSON and the plot from the runs' logs."""
    stats = json.loads((work / "labels" / "train.stats.json").read_text())
    rows = []
    for name, (label, changes) in RUNS.items():
        log = read_jsonl(work / name / "log.jsonl")
        last: dict[str, Any] = {}
        for entry in log:
            last.update(entry)
        keys = [key for key in last if key.startswith(("valid/", "offline/", "online/"))]
        keys += ["update", "audio_hours", "wall_hours", "updates_per_s", "padding"]
        rows.append({"run": label, "changes": changes, **{key: last[key] for key in keys}})
    record = {
        "machine": machine,
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "setting": {
            "config": "mt4ssl_core/configs/tiny.yaml",
            "overrides": SHARED,
            "labels": {k: stats[k] for k in ("hours", "classes", "entropy_nats", "top_share")},
        },
        "rows": rows,
    }
    path = RESULTS / f"real_pretraining_{machine}.json"
    write_json(path, record)
    references = {
        "offline/loss": (stats["entropy_nats"], "entropy of the labels"),
        "offline/accuracy": (stats["top_share"], "most frequent label"),
    }
    convergence.plot({label: work / name for name, (label, _) in RUNS.items()}, PLOT, references)
    return path


def table() -> str:
    """The README's table, from the committed JSON."""
    (path,) = sorted(RESULTS.glob("real_pretraining_*.json"))[:1]
    record = json.loads(path.read_text())
    labels, rows = record["setting"]["labels"], record["rows"]
    lines = [
        "| run | offline loss, nats | masked accuracy % | online loss | target_var |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row["run"]]
        for key, scale, digits in (
            ("valid/offline/loss", 1, 3),
            ("valid/offline/accuracy", 100, 1),
            ("valid/online/loss", 1, 3),
            ("valid/online/target_var", 1, 3),
        ):
            cells.append(f"{scale * row[key]:.{digits}f}" if key in row else "-")
        lines.append("| " + " | ".join(cells) + " |")
    text = (
        f"Held-out audio after {rows[0]['update']} updates ({rows[0]['audio_hours']:.1f} h seen) "
        f"of `tiny.yaml` on {labels['hours']:.2f} h of real speech, {record['machine']}; one seed. "
        f"The {labels['classes']} labels have an entropy of {labels['entropy_nats']:.3f} nats, the "
        f"most frequent is {100 * labels['top_share']:.1f} % of all frames. Online losses of "
        "different runs are distances to different teachers: compare them only within a run. "
        "What it shows: at this size and length, both targets and offline only learn alike; the "
        "teacher alone settles on targets that are predicted almost exactly, a shortcut that says "
        "little of speech. It is no test of the paper's claim that both converge faster. "
        f"`python benchmarks/{Path(__file__).name} AUDIO` repeats it."
    )
    return "\n".join([*lines, "", text])


def main() -> None:
    """Measure, then put the table into the README."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("audio", type=Path, nargs="?")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--work", type=Path, default=Path("runs/real_pretraining"))
    args = parser.parse_args()
    if args.audio:
        print(measure(args.audio, args.work, args.machine))
    readme_tables.between_markers(ROOT / "README.md", "real-pretraining", table())


if __name__ == "__main__":
    main()
