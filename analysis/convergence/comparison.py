"""How fast pre-training runs converge: curves, scores of checkpoints, updates to reach a score."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analysis import plots
from analysis.abx.items import read_items
from analysis.convergence import (
    checkpoint_scores,
    cost_curves,
    point_table,
    scoring_checks,
    updates_to_reach,
)
from analysis.convergence.cost_curves import COSTS, PANELS
from analysis.convergence.scoring import Scoring
from analysis.convergence.updates_to_reach import TargetScore
from analysis.labelled_speech.speech import read_speech
from analysis.probes.probe_request import probe_names
from analysis.records import training_runs
from analysis.records.score import ARROWS
from analysis.records.training_runs import TrainingRun, curves
from analysis.tables.formats import markdown_text
from mt4ssl_core.files import check_out, remove_leftovers, user_path, write_json, write_text
from mt4ssl_core.threads import cores

__all__ = ["Scoring", "compare", "curves", "plot"]
JSON, TABLE = "convergence.json", "table.md"


def compare(
    runs: Sequence[str | Path],
    out: str | Path = "convergence",
    labels: Sequence[str] | None = None,
    scoring: Scoring | None = None,
    told: Sequence[str] = (),
    broken: list[str] | None = None,
) -> str:
    """Compare pre-training runs; write figures, tables and convergence.json to ``out``.

    Args:
        runs: folders of runs, of groups (GROUP/seed1, ...) or of groups of runs.
        out: folder to write.
        labels: names of groups, one for each of ``runs``; runs of one label are its seeds.
        scoring: how checkpoints are scored; by default held-out losses and what is there.
        told: what else the tables should say, a line each.
        broken: gets a line on each run, checkpoint or probe that is left out, as the tables do;
            None: the first one is refused.

    Returns:
        The tables, as Markdown.

    Raises:
        ValueError: runs that cannot be compared, nothing to compare, or what the scores refuse; of
            ``out`` and ``scoring`` before anything is measured.
    """
    if not runs:
        raise ValueError("no runs to compare; give run.out folders of `mt4ssl pretrain`")
    scoring, out = scoring or Scoring(), Path(out)
    check_out(out)
    scoring_checks.check(scoring)
    remove_leftovers(out)
    found, notes = training_runs.find_runs(runs, labels, broken)
    notes += [*told, *training_runs.check(found)]
    curves_table = training_runs.frame(found, PANELS)
    if curves_table.empty:
        raise ValueError(f"{', '.join(map(str, runs))}: the logs are empty; train longer")
    points, more = _scored(found, scoring, broken)
    notes += [*more, *(broken or [])]
    targets, more = updates_to_reach.targets_of(points, scoring.target)
    notes += more
    reach = updates_to_reach.reach_rows(points, targets)
    _draw(curves_table, points, targets, out)
    text = _markdown(points, targets, reach, notes)
    write_text(out / TABLE, text)
    write_json(out / JSON, _record(found, points, reach, notes, scoring))
    return text


def plot(
    runs: Mapping[str, str | Path],
    out: str | Path,
    references: Mapping[str, tuple[float, str]] | None = None,
) -> Path:
    """Draw the curves of runs (label -> folder) against updates; return ``out`` (.png or .svg).

    The other of the two formats and the CSV are written beside it. ``references`` draws horizontal
    lines: key -> (value, label), e.g. the entropy of the labels under "offline/loss".

    Raises:
        ValueError: a run without a log, none with anything to draw, or another format.
    """
    out = Path(out)
    if out.suffix not in (".png", ".svg"):
        raise ValueError(f"{out}: cannot draw {out.suffix or 'this'}; end it in .png or .svg")
    found = [training_runs.open_run(Path(folder), label) for label, folder in runs.items()]
    table = training_runs.frame(found, PANELS)
    if table.empty:
        raise ValueError(f"{', '.join(map(str, runs.values()))}: the logs are empty; train longer")
    figure, drawn = cost_curves.draw_training(table, "update", references)
    plots.save(figure, out.with_suffix(""), drawn)
    return out


def _scored(
    runs: Sequence[TrainingRun], scoring: Scoring, broken: list[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Points of all sources, with their costs."""
    held_out, notes = checkpoint_scores.held_out(runs)
    parts = []
    if scoring.probe_data:
        speech = read_speech(scoring.probe_data, scoring.alignments, notes)
        probes = probe_names(scoring.probes)
        setting = (scoring.layer, scoring.probe_seed, scoring.probe_minutes)
        items = None if scoring.items is None else read_items(user_path(scoring.items))
        parts.append(checkpoint_scores.probed(runs, speech, probes, *setting, broken, items))
    if scoring.superb and scoring.roots:
        asked = (scoring.superb, scoring.roots, scoring.set)
        failed = checkpoint_scores.run_superb(runs, *asked, allow_partial=scoring.allow_partial)
        (notes if broken is None else broken).extend(failed)
    parts.append(checkpoint_scores.superb(runs))
    if scoring.scores:
        parts.append(point_table.from_csv(scoring.scores, runs))
    parts.append(held_out)
    points = point_table.joined([part for part in parts if len(part)])
    return training_runs.with_costs(points, runs), notes


def _draw(
    table: pd.DataFrame, points: pd.DataFrame, targets: Sequence[TargetScore], out: Path
) -> None:
    for cost, (name, _) in COSTS.items():
        if len(cost_curves.summary(table, cost)):
            figure, drawn = cost_curves.draw_training(table, cost)
            plots.save(figure, out / f"curves_{name}", drawn)
        if len(points) and len(cost_curves.summary(points, cost)):
            figure, drawn = cost_curves.draw_scores(points, cost, targets)
            plots.save(figure, out / f"scores_{name}", drawn)


def _markdown(
    points: pd.DataFrame,
    targets: Sequence[TargetScore],
    reach: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    if points.empty:
        text = "Nothing was scored: give --probe-data, --tasks or --scores.\n"
    else:
        text = _last_scores(points)
    if reach:
        directions = dict(zip(points["metric"], points["direction"], strict=True))
        text += "\n" + updates_to_reach.markdown(reach, directions)
    lines = [f"{target.metric} {target.value:.4g}: {target.origin}" for target in targets]
    lines += [_EXPLAINED, *notes] if reach else notes
    told = "".join(f"- {markdown_text(line)}\n" for line in lines)
    return text + ("\n" + told if told else "")


_EXPLAINED = (
    "Updates to reach a score: mean over seeds, linear between checkpoints; ≤: reached by the "
    "first checkpoint. Ratios are to the fastest, where all seeds reach the score. Training hours "
    "are spent in updates, without validation and saving, and depend on what else the machine did."
)


def _last_scores(points: pd.DataFrame) -> str:
    """A row per group with its scores at the last checkpoints: mean (range of seeds)."""
    metrics = list(dict.fromkeys(points["metric"]))
    facts = points.drop_duplicates("metric").set_index("metric")
    heads = [
        f"{markdown_text(m)} ({facts.unit[m] or '-'}) {ARROWS[facts.direction[m]]}" for m in metrics
    ]
    ordered = points.sort_values("update", kind="stable")
    last = ordered.drop_duplicates(["metric", "run"], keep="last")
    seeds = points.groupby("group")["run"].nunique()
    lines = [f"| last checkpoint | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for group in dict.fromkeys(points["group"]):
        cells = [markdown_text(group)]
        for metric in metrics:
            values = last[(last["metric"] == metric) & (last["group"] == group)]["value"]
            cells.append(_spread(values, seeds[group]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: pd.Series, seeds: int) -> str:
    """Mean and range over seeds, and how many there are where some are missing or no number."""
    known = values[values.abs() < math.inf]
    if values.empty:
        return "-"
    if known.empty:
        return "nan"
    text = f"{known.mean():.4g}"
    text += f" ({known.min():.4g}-{known.max():.4g})" if len(known) > 1 else ""
    return text + (f", {len(known)} of {seeds} seeds" if len(known) < seeds else "")


def _record(
    runs: Sequence[TrainingRun],
    points: pd.DataFrame,
    reach: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    scoring: Scoring,
) -> dict[str, Any]:
    """What convergence.json holds; numbers that are not known are null."""
    said = asdict(scoring).items()
    asked = {k: v for k, v in said if v not in (None, (), []) and v is not False}
    asked |= {
        k: Path(asked[k]).name for k in ("alignments", "items", "roots", "scores") if k in asked
    }
    if "probe_data" in asked:
        asked["probe_data"] = [Path(source).name for source in asked["probe_data"]]
    known = points.replace([math.inf, -math.inf], math.nan).notna()
    plain = points.astype(object).where(known, None)
    plain["layer"] = plain["layer"].replace(point_table.NO_LAYER, None)
    return {
        "machine": _machine(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy", "pandas")},
        "setting": {**training_runs.shared_settings(runs), "scoring": asked},
        "runs": [
            {"run": r.name, "group": r.group, "seed": r.seed, "folder": str(r.folder)} for r in runs
        ],
        "points": plain.to_dict("records"),
        "reach": list(reach),
        "notes": list(notes),
    }


def _machine() -> str:
    """The processor, its cores, and the GPU if there is one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    parts = [
        names[0] if names else platform.machine(),
        "1 core" if cores() == 1 else f"{cores()} cores",
    ]
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}")
    return ", ".join(parts)
