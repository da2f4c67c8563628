#!/usr/bin/env python
"""Does pre-training help, on every task? The demo with three head seeds.

python benchmarks/demo_scores.py [--machine NAME] [--out DIR] [--corpora 0] [--tables-only]

--corpora 2 synthesises them with another seed, which no setting was chosen on. Written as JSON, and
as a table for each seed in docs/results.md.
"""

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import demo  # noqa: E402
from analysis.tables import results_page  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SEEDS = 3
CHOSEN = {  # corpora's seed: what was chosen on it
    0: "the number of updates was chosen with these scores in view",
    1: "all else of the recipe was chosen on these corpora",
}


def measure(out: Path, machine: str, corpora: int) -> Path:
    """Run the demo with three head seeds and write benchmarks/results/demo_scores_*.json."""
    demo.run(out, SEEDS, corpora_seed=corpora)
    frame = demo.scores(out)
    columns = ["system", "task", "metric", "value", "direction", "seed"]
    log = [json.loads(line) for line in (out / "pretrain" / "log.jsonl").read_text().splitlines()]
    record = {
        "machine": machine,
        "versions": {name: version(name) for name in ("torch", "s3prl", "numpy")}
        | {"python": platform.python_version()},
        "setting": {
            "corpora": f"mini_superb, default size, seed {corpora} (synthesised)",
            "pre-training": f"mt4ssl_core/configs/{demo.CONFIG}.yaml on unlabelled speech and the "
            "unlabelled training audio of PR",
            "chosen": CHOSEN.get(corpora, "no setting was chosen on these corpora"),
            "updates": [r["update"] for r in log][-1],
            "hours": [r["wall_hours"] for r in log if "wall_hours" in r][-1],
            "heads": demo.TASKS,
            "head seeds": SEEDS,
        },
        "rows": frame[columns].to_dict("records"),
    }
    path = RESULTS / f"demo_scores_{machine}_corpora{corpora}.json"
    write_json(path, record)
    return path


def table() -> str:
    """The tables of docs/results.md, from the committed JSON."""
    return "\n\n".join(map(_one, sorted(RESULTS.glob("demo_scores_*.json"))))


def _one(path: Path) -> str:
    record = json.loads(path.read_text())
    rows = results_page.markdown(pd.DataFrame(record["rows"]), list(demo.SYSTEMS))
    setting = record["setting"]
    return (
        f"{rows}\n{setting['corpora']}; {setting['chosen']}. {setting['updates']} updates in "
        f"{60 * setting['hours']:.1f} minutes on {record['machine']}, one pre-training seed. "
        f"`benchmarks/results/{path.name}` has every value and setting."
    )


def main() -> None:
    """Measure, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", default=f"{platform.machine()}_{platform.node()}")
    parser.add_argument("--out", type=Path, help="default: demo_out, with the seed behind it")
    parser.add_argument("--corpora", type=int, default=0, metavar="SEED", help="of the corpora")
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    if not args.tables_only:
        out = args.out or Path(f"demo_out_{args.corpora}" if args.corpora else "demo_out")
        print(measure(out, args.machine, args.corpora))
    pages.show("demo-scores", table())


if __name__ == "__main__":
    main()
