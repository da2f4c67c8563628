#!/usr/bin/env python
"""Do monitors without labels put checkpoints and layers in the order that probes do?

    python benchmarks/choose.py RUN_OR_CKPT ... --labels SOURCE ... [--minutes 1.5] [--machine NAME]

Every checkpoint is looked at as `mt4ssl choose` does, without labels and with them. What is told is
Spearman's correlation of each monitor with each probe, and with each score of SUPERB that
`mt4ssl convergence --tasks` has left in a run, turned so that 1 is the same order, -1 the opposite
one. Without arguments only the table in docs/results.md is written.
"""

import argparse
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.choosing import candidates, judging, signals  # noqa: E402
from analysis.choosing.candidates import Candidate  # noqa: E402
from analysis.choosing.choice_request import ChoiceRequest  # noqa: E402
from analysis.choosing.ranking import Criterion  # noqa: E402
from analysis.convergence import checkpoint_scores  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

STUDY = ROOT / "analysis" / "scores" / "convergence" / "results.json"
LOSSES = {"offline_loss": "offline/loss", "offline_accuracy": "offline/accuracy"}
STUDIED = ("phone_ctc", "keyword", "speaker", "ks/acc")
LEAST = 4  # points of a correlation
Row = dict[str, Any]


def agreement(monitor: Sequence[float], score: Sequence[float], signs: tuple[int, int]) -> float:
    """Spearman's correlation; ``signs``: 1 where more is better, else -1; NaN of a constant."""
    both = pd.DataFrame({"monitor": monitor, "score": score}, dtype=float).dropna().rank()
    if len(both) < LEAST or (both.nunique() < 2).any():
        return math.nan
    return signs[0] * signs[1] * float(np.corrcoef(both["monitor"], both["score"])[0, 1])


def sign(direction: str) -> int:
    """1 where more is better, else -1."""
    return 1 if direction == "max" else -1


def study_rows() -> list[Row]:
    """The committed convergence study: held-out loss and accuracy against scores, in each run."""
    points = pd.DataFrame(json.loads(STUDY.read_text())["points"])
    signs = points.groupby("metric")["direction"].first().map(sign).to_dict()
    rows = []
    for metric, monitor in LOSSES.items():
        for probe in STUDIED:
            found, count = [], 0
            for _, part in points.groupby("run"):
                table = part.pivot(index="update", columns="metric", values="value")
                if metric in table and probe in table:
                    both = (signs[metric], signs[probe])
                    values = table[metric].tolist(), table[probe].tolist()
                    found.append(agreement(values[0], values[1], both))
                    count += len(table[[metric, probe]].dropna())
            rows.append(_row("study", monitor, probe, found, count))
    return rows


def _row(part: str, monitor: str, probe: str, found: Sequence[float], count: int) -> Row:
    known = [value for value in found if not math.isnan(value)]
    mean = float(np.mean(known)) if known else None
    return {"part": part, "monitor": monitor, "probe": probe, "spearman": mean, "points": count}


def compared(
    part: str,
    groups: Sequence[Sequence[tuple[Mapping[str, float], Mapping[str, float]]]],
    monitors: Sequence[Criterion],
    probes: Sequence[Criterion],
) -> list[Row]:
    """The mean over groups of the agreement in each, of pairs (monitors, scores of probes)."""
    rows = []
    for monitor in monitors:
        for probe in probes:
            signs = sign(monitor.direction), sign(probe.direction)
            found = [
                agreement(
                    [values.get(monitor.name, math.nan) for values, _ in group],
                    [scores.get(probe.name, math.nan) for _, scores in group],
                    signs,
                )
                for group in groups
            ]
            count = sum(monitor.name in values for group in groups for values, _ in group)
            rows.append(_row(part, monitor.name, probe.name, found, count))
    return rows


def measure(asked: ChoiceRequest) -> list[Row]:
    """Agreement over all checkpoints, within each run, and over the layers of each checkpoint."""
    broken: list[str] = []
    found, notes = candidates.find(asked.candidates, broken)
    judged, _ = judging.by_signals(found, asked, broken)
    probed, probes, _ = judging.by_probes(found, asked, notes, broken)
    print(*notes, *broken, sep="\n", file=sys.stderr)
    if min(len(judged), len(probed)) < len(found):
        raise ValueError("not every checkpoint can be measured; give others")
    scored, heads = superb_scores(found)
    shown = [other.shown | heads.get(other.candidate.path, {}) for other in probed]
    pairs = [(one.values, scores) for one, scores in zip(judged, shown, strict=True)]
    whole = [*probes, *scored]
    runs: dict[str, list] = {}
    for candidate, pair in zip(found, pairs, strict=True):
        if candidate.run is not None:
            runs.setdefault(candidate.run.name, []).append(pair)
    layers = [
        list(zip(one.layers, other.layers, strict=True))
        for one, other in zip(judged, probed, strict=True)
    ]
    return [
        *compared("checkpoints", [pairs], signals.OF_CHECKPOINTS, whole),
        *compared("within runs", list(runs.values()), signals.OF_CHECKPOINTS, whole),
        *compared("layers", layers, signals.OF_LAYERS, probes),
    ]


def superb_scores(
    found: Sequence[Candidate],
) -> tuple[list[Criterion], dict[Path, dict[str, float]]]:
    """The scores of SUPERB in the runs, and {checkpoint: {TASK/METRIC: score}}."""
    runs = list({c.run.name: c.run for c in found if c.run is not None}.values())
    places = {(c.run.name, c.update): c.path for c in found if c.run is not None}
    ways: dict[str, str] = {}
    out: dict[Path, dict[str, float]] = {}
    for row in checkpoint_scores.superb(runs).to_dict("records"):
        if path := places.get((row["run"], row["update"])):
            ways[row["metric"]] = row["direction"]
            out.setdefault(path, {})[row["metric"]] = row["value"]
    return [Criterion(name, name, way, 1.0) for name, way in ways.items()], out


PARTS = {
    "study": "checkpoints of one run of the convergence study, mean over runs",
    "checkpoints": "all checkpoints together",
    "within runs": "checkpoints of one run, mean over runs",
    "layers": "layers of one checkpoint, mean over checkpoints",
}


def table() -> str:
    """The table of docs/results.md: the study's rows from its scores, the others from the JSON."""
    rows = study_rows()
    for record in pages.records("choose"):
        rows += record["rows"]
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    lines = ["| over | monitor | " + " | ".join(probes) + " | points |"]
    lines.append("| --- | --- |" + " ---: |" * (len(probes) + 1))
    for part, told in PARTS.items():
        here = [row for row in rows if row["part"] == part]
        for monitor in dict.fromkeys(row["monitor"] for row in here):
            own = {row["probe"]: row for row in here if row["monitor"] == monitor}
            if all(row["spearman"] is None for row in own.values()):
                continue
            values = [own.get(probe, {}).get("spearman") for probe in probes]
            cells = ["-" if value is None else f"{value:+.2f}" for value in values]
            points = max(row["points"] for row in own.values())
            lines.append(f"| {told} | {monitor} | {' | '.join(cells)} | {points} |")
        if not here:
            lines.append(f"| {told} | not run yet |" + " - |" * (len(probes) + 1))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure where checkpoints are given; write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("candidates", nargs="*", help="run folders and checkpoints")
    parser.add_argument("--labels", nargs="+", default=[], help="labelled speech")
    parser.add_argument("--audio", help="looked at without labels")
    parser.add_argument("--probes", default="phone_ctc,keyword,speaker")
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--machine", default=platform.node(), help="in the result's name")
    args = parser.parse_args(argv)
    if args.candidates:
        asked = ChoiceRequest(
            args.candidates, audio=args.audio, labels=args.labels, probes=args.probes,
            minutes=args.minutes,
        )  # fmt: skip
        rows = measure(asked)
        names = ["/".join(Path(name).parts[-2:]) for name in args.candidates]
        setting = {"candidates": names, "probes": args.probes, "minutes": args.minutes}
        versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
        found = {"machine": args.machine, "setting": setting, "versions": versions, "rows": rows}
        write_json(pages.record_path("choose", args.machine), found)
    print(table())
    pages.show("choose", table())


if __name__ == "__main__":
    main()
