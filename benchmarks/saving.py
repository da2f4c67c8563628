"""How long an update waits for a checkpoint, written in the background and not.

``python benchmarks/saving.py`` saves the state of a BASE model with both targets, as `mt4ssl
pretrain` does, in turn with run.save_in_background and without it. While a thread writes, matrix
products stand for updates. It writes benchmarks/results/saving_<machine>.json and the table in
docs/results.md.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core import config  # noqa: E402
from mt4ssl_core.distributed import World  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.training.saving import Saver  # noqa: E402
from mt4ssl_core.training.schema import MOMENTS  # noqa: E402
from mt4ssl_core.training.state import Training  # noqa: E402

SIDES = {"false": False, "true": True}  # run.save_in_background


def state_of(shape: str, folder: Path) -> Training:
    """What a run of ``shape`` carries after an update, without having made one."""
    given = ["data.train=-", "data.labels=-", f"run.out={folder}", "run.device=cpu"]
    cfg = config.load(shape, given, files=False)
    training = Training(cfg, World(0, 1, torch.device("cpu")))
    for parameter in training.optimizer.param_groups[0]["params"]:
        entry = {name: torch.rand_like(parameter) for name in MOMENTS}
        training.optimizer.state[parameter] = {"step": torch.ones(()), **entry}
    return training


def products(until: Any) -> float:
    """Matrix products per second while ``until()`` is false."""
    values, count, started = torch.rand(512, 512), 0, time.perf_counter()
    while count == 0 or not until():
        values @ values
        count += 1
    return count / (time.perf_counter() - started)


def save_once(saver: Saver, background: bool) -> dict[str, float]:
    """Seconds that an update waits and that writing takes; products per second meanwhile."""
    training = saver.training
    training.cfg.run.save_in_background = background
    training.progress.update += 1
    started = time.perf_counter()
    saver.save()
    found = {"waits": time.perf_counter() - started}
    if background:
        found["products"] = products(lambda: not saver.is_writing)
        found["writes"] = time.perf_counter() - started
        saver.wait()
        end = time.perf_counter() + 1
        found["alone"] = products(lambda: time.perf_counter() > end)
    return found


def measure(shape: str, rounds: int) -> dict[str, Any]:
    """Medians of alternated rounds, by run.save_in_background."""
    with tempfile.TemporaryDirectory() as place:
        saver = Saver(state_of(shape, Path(place)), Path(place))
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        for _ in range(rounds):
            for name, background in SIDES.items():
                runs[name].append(save_once(saver, background))
        size = saver.last.stat().st_size
        saver.close()
    medians = {
        name: {key: statistics.median(found[key] for found in many) for key in many[0]}
        for name, many in runs.items()
    }
    return {"shape": shape, "rounds": rounds, "bytes": size, "seconds": medians}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("saving")
    if not kept:
        return pages.NOT_RUN
    record = kept[0]
    waiting, background = record["seconds"]["false"], record["seconds"]["true"]
    slower = background["alone"] / background["products"]
    lines = [
        "| `run.save_in_background` | an update waits (s) | the file is there after (s) |",
        "| --- | ---: | ---: |",
        f"| false | {waiting['waits']:.2f} | {waiting['waits']:.2f} |",
        f"| true | {background['waits']:.2f} | {background['writes']:.2f} |",
        "",
        f"`{record['shape']}`, both targets, {record['bytes'] / 1e9:.2f} GB; {record['cores']} "
        f"cores of {record['machine']}, load {record['load']:.1f}; medians of {record['rounds']} "
        "alternated rounds. While a thread writes, what stands for updates (matrix products on all "
        f"cores) takes {slower:.2f} times as long. `python benchmarks/saving.py` repeats it.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="base", help="a shipped configuration")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args()
    if not args.tables_only:
        about = {"machine": args.machine, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        found = measure(args.shape, args.rounds)
        write_json(pages.record_path("saving", args.machine), about | found)
    pages.show("saving", table())


if __name__ == "__main__":
    main()
