#!/usr/bin/env python
"""Which recipe is good for the demo? One thing changed at a time, on corpora of another seed.

python benchmarks/demo_search.py [NAME ...] [--machine NAME] [--work DIR] [--tables-only]

Without names, every recipe that has not been measured yet; each takes some four minutes on two
cores. The corpora are synthesised with another seed than the demo's, so nothing that the demo is
scored on is looked at. One pre-training and one head seed each. Written as JSON, and as a table in
docs/results.md.
"""

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import mini_superb  # noqa: E402
from analysis import demo  # noqa: E402
from analysis.tables import results_page  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import read_json, write_json  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "demo_search.json"
SEED = 1  # of the corpora; the demo's have 0
TASKS = ("ks", "pr")
RECIPES: dict[str, list[str]] = {  # what differs from the demo's
    "demo": [],
    "1,400 updates": ["optim.max_updates=1400"],
    "unlabelled speech alone": [],  # without the audio that PR's head learns from
    "waveform extractor": ["encoder.frontend=conv", "optim.max_updates=1200"],
    "five positional convolutions": [
        "encoder.pos_conv_depth=5",
        "encoder.pos_conv_kernel=19",
        "optim.max_updates=2000",
    ],
    "pre-norm": ["encoder.pre_norm=true"],
    "rate 1e-3": ["optim.lr=1e-3"],
    "rate 4e-3": ["optim.lr=4e-3"],
    "hidden frames alone": ["offline.visible_weight=0"],
    "labels alone": ["online=null"],
    "spans of 10": ["masking.length=10"],
    "two masks per utterance": ["masking.repeats=2", "optim.max_updates=1700"],
    "128 wide": ["encoder.dim=128", "encoder.ffn_dim=512", "optim.max_updates=1900"],
    "two layers": ["encoder.layers=2", "online.top_k=2", "optim.max_updates=3800"],
    "8 s per update": ["data.batch_seconds=8", "data.max_seconds=6", "optim.max_updates=3800"],
}
FREE = ("fbank", "fbank, no CMVN")  # nothing of them is trained before the head


def measure(name: str, work: Path, machine: str) -> None:
    """Pre-train with a recipe, score it and its untrained copy, and add that to the JSON."""
    corpora = mini_superb.make(work / "mini_superb", list(TASKS), seed=SEED)
    out = work / name.replace(" ", "_")
    alone = name == "unlabelled speech alone"
    audio = corpora["pretrain"] if alone else demo.heard(out, corpora)
    checkpoint = demo.learn(out, audio, None, RECIPES[name])
    log = [json.loads(line) for line in (out / "pretrain" / "log.jsonl").read_text().splitlines()]
    last = [line for line in log if "offline/accuracy" in line][-1]
    row: dict[str, Any] = {
        "recipe": name,
        "overrides": RECIPES[name],
        "machine": machine,
        "updates": last["update"],
        "minutes": 60 * last["wall_hours"],
        "audio_hours": last["audio_hours"],
        "masked_accuracy": last["offline/accuracy"],
        "scores": scores(out, corpora, checkpoint, ("mt4ssl", "untrained copy")),
    }
    found = comparable()
    if not found["filter banks"]:
        found["filter banks"] = scores(work / "fbank", corpora, checkpoint, FREE)
    found["rows"] = [old for old in found["rows"] if old["recipe"] != name] + [row]
    write_json(RESULTS, found)


def scores(
    out: Path, corpora: dict[str, Any], checkpoint: Path, systems: tuple[str, ...]
) -> list[dict[Any, Any]]:
    """Train and test heads as the demo does, with one seed."""
    for task in TASKS:
        for system in systems:
            upstream, root = demo.SYSTEMS[system], str(corpora[task]["root"])
            demo.train_heads(out, task, upstream, root, checkpoint, 1)
    return demo.scores(out)[["system", "task", "metric", "value", "direction"]].to_dict("records")


def comparable() -> dict[str, Any]:
    """What has been measured so far with the heads that the demo has now."""
    setting = {
        "corpora": f"mini_superb, seed {SEED}",
        "heads": {task: demo.TASKS[task] for task in TASKS},
    }
    found = read_json(RESULTS) if RESULTS.exists() else {}
    if found.get("setting") == setting:
        return found
    return {"setting": setting, "filter banks": [], "rows": []}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    if not RESULTS.exists():
        return pages.NOT_RUN
    found = read_json(RESULTS)
    parts = [pd.DataFrame(found["filter banks"])]
    for row in found["rows"]:
        each = pd.DataFrame(row["scores"])
        copy = f"untrained: {row['recipe']}"
        each["system"] = each.system.map({"mt4ssl": row["recipe"], "untrained copy": copy})
        parts.append(each)
    frame = pd.concat(parts).assign(seed=1)
    names = [row["recipe"] for row in found["rows"]]
    order = [*names, *(f"untrained: {name}" for name in names), *FREE]
    shown = results_page.markdown(frame, order)
    costs = "; ".join(
        f"{r['recipe']} {r['updates']:,} in {r['minutes']:.1f} minutes" for r in found["rows"]
    )
    machines = ", ".join(sorted({row["machine"] for row in found["rows"]}))
    heads = found["setting"]["heads"]
    steps = ", ".join(f"{heads[task]['runner.total_steps']} of {task.upper()}" for task in TASKS)
    return (
        f"{shown}\nCorpora of seed {SEED}, one seed each, on {machines}; updates of the heads: "
        f"{steps}. Updates of pre-training: {costs}."
    )


def main() -> None:
    """Measure some recipes, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--machine", default=f"{platform.machine()}_{platform.node()}")
    parser.add_argument("--work", type=Path, default=Path("runs/demo_search"))
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    if unknown := set(args.names) - set(RECIPES):
        parser.error(
            f"{', '.join(sorted(unknown))}: no such recipe; choose of {', '.join(RECIPES)}"
        )
    measured = {row["recipe"] for row in comparable()["rows"]}
    for name in [] if args.tables_only else args.names or [n for n in RECIPES if n not in measured]:
        measure(name, args.work.absolute(), args.machine)
    pages.show("demo-search", table())


if __name__ == "__main__":
    main()
