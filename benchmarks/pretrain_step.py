"""Seconds of one training update of a BASE model, beside peers: fp32 on a CPU, bf16 on CUDA.

``python benchmarks/pretrain_step.py`` writes benchmarks/results/pretrain_step_<machine>.json and
its table in docs/results.md. Each peer lives in a process of its own and takes turns with ours, so
that a ratio is of neighbours in time; then it ends, so that two models at most are in memory.
``--official DIR`` and ``--minimal-hubert DIR`` add code that you have cloned (clones.py beside this
file), ``--earlier DIR`` another checkout of this code. A peer that is not run has a row that says
why.
"""

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import clones, pages, updates  # noqa: E402
from benchmarks.peers import NotRunError, Peer, Setting  # noqa: E402
from mt4ssl_core.files import read_json, write_json  # noqa: E402

COMMITTED = pages.record_path("pretrain_step", "epyc_2core")
ABOUT = updates.ABOUT | clones.ABOUT
BESIDE = ("ours", "ours, offline", "official", "minimal-hubert", "torchaudio", "transformers")
NOT_GIVEN = "not given"
Round = dict[str, dict[str, float]]


def beside(ours: Peer, name: str, setting: Setting, folder: Path | None, count: int) -> list[Round]:
    """Rounds in which ours and a peer make an update each, after one that warms up.

    Raises:
        NotRunError: one of them cannot.
    """
    rounds: list[Round] = []
    with Peer(name, setting, folder) as peer:
        for number in range(count + 1):
            theirs = peer.update()  # first, so that nothing is waited for where it cannot
            rounds.append({"ours": ours.update(), name: theirs})
            walls = {key: round(said["wall"], 2) for key, said in rounds[-1].items()}
            print(f"round {number}:" if number else "warm-up:", walls, flush=True)
    return rounds[1:]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Rounds of ours beside each peer, their medians, and why others are not run.

    Raises:
        NotRunError: ours cannot.
    """
    setting = Setting(args.count, args.seconds, args.threads, args.device)
    folders = {name: getattr(args, name.replace("-", "_")) for name in [*clones.WHERE, "earlier"]}
    asked = dict.fromkeys([*args.peers, *(name for name in folders if folders[name])])
    reasons: dict[str, str] = {}
    rounds: list[Round] = []
    with Peer("ours", setting) as ours:
        for name in (name for name in asked if name != "ours"):
            if name in clones.WHERE and not folders[name]:
                reasons[name] = f"{NOT_GIVEN}: --{name} DIR, {clones.WHERE[name]}"
                continue
            try:
                rounds += beside(ours, name, setting, folders.get(name), args.rounds)
            except NotRunError as error:
                if error.name == "ours":
                    raise
                reasons[name] = str(error)
                print(f"{name}: not run: {error}", flush=True)
        if not rounds:
            rounds = [{"ours": ours.update()} for _ in range(args.rounds + 1)][1:]
    measured = ["ours", *(name for name in asked if name != "ours" and name not in reasons)]
    return {"medians": medians(rounds, measured), "rounds": rounds, "not run": reasons}


def medians(rounds: Sequence[Round], names: Sequence[str]) -> Round:
    """Of each peer, the median of what its updates took."""
    said = {name: [each[name] for each in rounds if name in each] for name in names}
    return {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in said.items()
    }


def table(path: Path = COMMITTED, script: str = "pretrain_step") -> str:
    """The table of a JSON, which ``script`` makes."""
    if not path.exists():
        return pages.NOT_RUN
    record = read_json(path)
    lines = [
        "| update of | s | kernel s | peak GB | operators | host reads | s / ours | user / ours "
        "| |",
        "| --- |" + " ---: |" * 7 + " --- |",
    ]
    for name, found in record["medians"].items():
        rounds = [(r[name], r["ours"]) for r in record["rounds"] if name in r]
        cells = [f"{found[key]:.3g}" for key in ("wall", "kernel", "peak GB")]
        cells += [f"{found[key]:,.0f}" if key in found else "" for key in ("operators", "reads")]
        cells += [
            f"{statistics.median(a[key] / b[key] for a, b in rounds):.2f}"
            for key in ("wall", "user")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {ABOUT[name]} |")
    for name, reason in record.get("not run", {}).items():
        lines.append(f"| {name} |" + " |" * 7 + f" not run: {reason.replace('|', '/')} |")
    about = record["setting"]
    lines += ["", f"BASE, {about['count']} x {about['seconds']:g} s, on {about['device']}, "
              f"{about['threads']} thread(s) of {record['machine']}, load {record['load']:.1f}: "
              f"medians of {about['rounds']} alternated rounds; user: processor time without the "
              "kernel's. Ratios are medians over pairs of neighbours in time. Seconds of different "
              "rows cannot be divided: the machine was not equally fast. "
              f"`python benchmarks/{script}.py` repeats it."]  # fmt: skip
    return "\n".join(lines)


def parse(peers: Sequence[str], given: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, with these peers if no others are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2, help="utterances")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=ABOUT, default=list(peers))
    parser.add_argument("--earlier", type=Path, metavar="DIR", help="another checkout of this code")
    for name, where in clones.WHERE.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=where)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--out", type=Path, help="of the JSON")
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args(given)
    for name in [*clones.WHERE, "earlier"]:
        folder = getattr(args, name.replace("-", "_"))
        if folder is not None and not folder.is_dir():
            parser.error(f"--{name} {folder}: no such folder; give {clones.WHERE.get(name, 'one')}")
    if "earlier" in args.peers and not args.earlier:
        parser.error("--peers earlier: which one? Give --earlier DIR")
    return args


def report(args: argparse.Namespace, script: str, committed: Path) -> int:
    """Measure and write a JSON, unless only the table is asked for; show it.

    Returns 1 where a peer that could have been run was not: the table says why.
    """
    path = args.out or (committed if args.tables_only else pages.record_path(script, args.machine))
    failed: list[str] = []
    if not args.tables_only:
        setting = {
            key: getattr(args, key) for key in ("count", "seconds", "threads", "rounds", "device")
        }
        about = {"machine": args.machine, "torch": torch.__version__, "load": os.getloadavg()[0]}
        found = measure(args)
        write_json(path, about | {"setting": setting} | found)
        failed = [name for name, why in found["not run"].items() if not why.startswith(NOT_GIVEN)]
    print(table(path, script))
    if path == committed:
        pages.show(script.replace("_", "-"), table(path, script))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(report(parse(BESIDE), "pretrain_step", COMMITTED))
