#!/usr/bin/env python
"""Do both targets converge faster than either? Three models, three seeds, real speech, one command.

    python benchmarks/real_convergence.py AUDIO [--work runs/real_convergence] [--jobs 2]

AUDIO holds folders with an index.csv each (columns path, num_samples, speaker, split, label,
phones). Pre-trained on are the training splits of the folders that are probed, and all of the
others, so speakers of the probes' test sets were never heard. Labels are k-means on MFCC.
Interrupted, it goes on where it stopped. Without AUDIO only the plots and the table
in docs/results.md are written, from the committed results.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import plots  # noqa: E402
from analysis.convergence import comparison, cost_curves, study  # noqa: E402
from analysis.labelled_speech.speech import read_speech  # noqa: E402
from analysis.probes import probing  # noqa: E402
from analysis.records.score import ARROWS  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.data import tsv  # noqa: E402
from mt4ssl_core.files import atomic_path, write_json  # noqa: E402
from mt4ssl_core.labelling.kmeans_fit import fit_corpus  # noqa: E402
from mt4ssl_core.labelling.kmeans_label import label_corpus  # noqa: E402

SCORES = ROOT / "analysis" / "scores" / "convergence"
CONFIGS = ("both_targets", "offline_only", "online_only")  # .yaml there
CURVES, PLOT = "curves_updates", "scores_updates"
SEEDS, CLUSTERS, MINUTES = 3, 100, 10.0
PROBES = ("phone_ctc", "keyword", "speaker")
PROBED = ("speechocean762", "an4", "speech_commands_12")  # those with phones, speakers or keywords
REFERENCES = {
    "untrained": "mt4ssl_untrained",
    "filter banks, CMVN": "fbank",
    "filter banks, no CMVN": "fbank_no_cmvn",
}
LINES = {"untrained": "-.", "filter banks, CMVN": "--", "filter banks, no CMVN": ":"}
DRAWN = (*PROBES, "offline_loss")
SIZE = (8.4, 6.4)  # inches: 840 pixels of a page


def heard(audio: Path, work: Path) -> Path:
    """Write the list of what is pre-trained on."""
    path, rows = work / "pretrain.tsv", []
    for index in sorted(audio.glob("*/index.csv")):
        table = pd.read_csv(index, dtype=str, keep_default_na=False)
        table = table[table["split"].str.contains("train") | (index.parent.name not in PROBED)]
        for row in table.to_dict("records"):
            name = f"{index.parent.name}/{row['path']}"
            rows.append(tsv.TsvRow(name, audio / name, int(row["num_samples"])))
    if not rows:
        raise ValueError(f"{audio}: no folder with an index.csv in it; give another")
    tsv.write_tsv(path, audio.resolve(), rows)
    return path


def measure(audio: Path, work: Path, jobs: int) -> None:
    """Cluster, label, pre-train, probe, draw; keep what docs/results.md shows."""
    km, made = work / "km.safetensors", work / "labels" / "train.km"
    if not made.exists():
        speech = heard(audio, work)
        fit_corpus(speech, km, k=CLUSTERS, min_seconds=0.5)
        label_corpus(km, speech, made.parent, min_seconds=0.5)
    data = [str(audio / name) for name in PROBED]
    scoring = comparison.Scoring(probe_data=data, probes=",".join(PROBES), probe_minutes=MINUTES)
    train = [f"data.train={made.with_suffix('.tsv')}", f"data.labels={made}", "data.workers=1"]
    configs = [str(SCORES / f"{name}.yaml") for name in CONFIGS]
    if study.study(configs, SEEDS, work / "runs", train, scoring, jobs):
        raise SystemExit(1)
    record = json.loads((work / "runs" / comparison.JSON).read_text())
    for run in record["runs"]:
        del run["folder"]  # of this machine
    record["references"] = references(work, data)
    write_json(SCORES / "results.json", record)
    with atomic_path(SCORES / f"{CURVES}.csv") as copy:
        shutil.copyfile(work / "runs" / f"{CURVES}.csv", copy)


def references(work: Path, data: Sequence[str]) -> dict[str, dict[str, float]]:
    """What an untrained copy and filter banks score in the same probes, at their best layer."""
    speech = read_speech(data)
    ckpt = work / "runs" / CONFIGS[0] / "seed1" / "last.pt"
    found = {}
    for name, upstream in REFERENCES.items():
        own = ckpt if upstream.startswith("mt4ssl") else None
        rows = probing.score_layers(own, speech, PROBES, minutes=MINUTES, upstream=upstream)
        found[name] = {row["measure"]: row["value"] for row in rows if row["chosen"]}
    return found


def draw(folder: Path = SCORES) -> None:
    """Draw the committed scores against updates, beside what needs no training; then the losses."""
    record = json.loads((SCORES / "results.json").read_text())
    points = pd.DataFrame(record["points"])
    shown = points[points["metric"].isin(DRAWN)]
    shown = shown.assign(group=shown["group"].str.replace("_", " "))
    figure, drawn = cost_curves.draw_scores(shown, "update")
    figure.set_size_inches(SIZE)
    for axis, metric in zip(figure.axes, dict.fromkeys(drawn["metric"]), strict=True):
        for name, scores in record["references"].items():
            if metric in scores:
                axis.axhline(scores[metric], color="0.35", lw=1.2, ls=LINES[name], label=name)
    figure.legends.clear()
    plots.legend_above(figure, plots.lines_of(figure.axes[:1]))
    plots.save(figure, folder / PLOT, cost_curves.summary(points, "update"))
    curves = pd.read_csv(SCORES / f"{CURVES}.csv")
    named = curves.assign(group=curves["group"].str.replace("_", " "))
    plots.save(cost_curves.training_figure(named), folder / CURVES, curves)


def table() -> str:
    """The tables of docs/results.md, from the committed results."""
    record = json.loads((SCORES / "results.json").read_text())
    points = pd.DataFrame(record["points"])
    metrics = {
        m: points[points.metric == m].direction.iloc[0] for m in dict.fromkeys(points.metric)
    }
    last = points.sort_values("update").drop_duplicates(["run", "metric"], keep="last")
    lines = [_line(["model", *(f"{m} {ARROWS[d]}" for m, d in metrics.items())])]
    lines.append("| --- |" + " ---: |" * len(metrics))
    for group in dict.fromkeys(points.group):
        cells = [group.replace("_", " ")]
        for metric in metrics:
            values = last[(last.group == group) & (last.metric == metric)].value
            spread = f" ({values.min():.3f}-{values.max():.3f})"
            cells.append(f"{values.mean():.3f}{spread}" if len(values) else "-")
        lines.append(_line(cells))
    for name, scores in record["references"].items():
        lines.append(_line([name, *(f"{scores[m]:.3f}" if m in scores else "-" for m in metrics)]))
    lines += ["", *_reached(record, metrics), "", _setting(record, last)]
    return "\n".join(lines)


def _setting(record: dict[str, Any], last: pd.DataFrame) -> str:
    setting, probed = record["setting"], record["setting"]["scoring"]["probe_minutes"]
    batch, heard_hours = setting["shared"]["data.batch_seconds"], last["audio_hours"].mean()
    return (
        f"After {last['update'].max()} updates of {batch:.0f} s: {heard_hours:.1f} h "
        f"heard of {setting['train_hours']:.2f} h; mean and range of {SEEDS} seeds. Probes: "
        f"{probed:.0f} minutes to train on, other speakers to test on (`speaker`: other utterances "
        "of speakers that pre-training did not hear), best layer on training data held out. The "
        "score to reach is what the worst run has in the end, among models that make progress; in "
        f"brackets, times the fastest. {record['machine']}; `python "
        "benchmarks/real_convergence.py AUDIO` repeats it."
    )


def _reached(record: dict[str, Any], metrics: dict[str, str]) -> list[str]:
    """Updates to reach a score, a line per metric, a column per model."""
    groups = list(dict.fromkeys(row["group"] for row in record["reach"]))
    lines = [_line(["updates to reach", *(group.replace("_", " ") for group in groups)])]
    lines.append("| --- |" + " ---: |" * len(groups))
    for metric in metrics:
        rows = {row["group"]: row for row in record["reach"] if row["metric"] == metric}
        if not rows:
            continue
        bound = {"max": "≥", "min": "≤"}[metrics[metric]]
        cells = [f"{metric} {bound} {next(iter(rows.values()))['target']:.3f}"]
        for group in groups:
            row = rows.get(group)
            if row is None or row["updates"] is None:
                cells.append("-" if row is None else f"{row['seeds_reached']} of {row['seeds']}")
                continue
            least = "≥ " if row["ratio_at_least"] else ""
            ratio = "" if row["ratio"] is None else f" ({least}{row['ratio']:.2f}x)"
            some = "" if row["seeds_reached"] == row["seeds"] else f", {row['seeds_reached']} seeds"
            cells.append(f"{'≤ ' if row['at_most'] else ''}{row['updates']:.0f}{ratio}{some}")
        lines.append(_line(cells))
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure, then draw, and put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("audio", type=Path, nargs="?")
    parser.add_argument("--work", type=Path, default=Path("runs/real_convergence"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (%(default)s)")
    args = parser.parse_args()
    if args.audio:
        measure(args.audio, args.work, args.jobs)
    draw()
    pages.show("convergence", table())


if __name__ == "__main__":
    main()
