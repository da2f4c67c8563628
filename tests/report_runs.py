"""What the tests of the report share: folders of runs with all that a report can show."""

import json
from pathlib import Path
from typing import Any

import head_runs
import pretraining_runs
import score_runs

from analysis.records import score as results
from analysis.records import score_files


def published(folder: Path, model: str = "HuBERT Base", **changes: Any) -> Path:
    """The folder of a suite with the scores of a published model."""
    records = []
    for score in score_files.published().scores:
        if score.model == model:
            metric = results.metric_of(score.task, score.metric, score.setting.stage)
            value = score.value_in(metric["unit"])
            stage = score.setting.stage
            records.append(score_runs.record(score.task, value, score.metric, stage=stage))
    return score_runs.suite(folder, *records, **changes)


def mini(folder: Path, **weights: Any) -> Path:
    """The folder of a mini_superb suite with heads: task=weights."""
    head_runs.small(folder, **weights)
    records = [
        score_runs.record(task, 0.5 + 0.01 * place, corpus=score_runs.MINI)
        for place, task in enumerate(weights)
    ]
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return folder


def row(layer: int, measure: str, value: float, **changes: Any) -> dict[str, Any]:
    """A row of probe.json."""
    return {
        "layer": layer, "measure": measure, "value": value, "low": value - 0.02,
        "high": value + 0.02, "baseline": 0.12, "control": 0.15, "unit": "fraction",
        "direction": "max", "count": 500, "of": "frames", **changes,
    }  # fmt: skip


def probe(folder: Path, model: str = "mt4ssl (last.pt)", other: str = "hubert", **changes: Any):
    """A folder with a probe.json of three layers; the phone probe is best at layer 1."""
    rows = [row(layer, "phone", value) for layer, value in enumerate((0.3, 0.41, 0.35))]
    nothing = {"low": None, "high": None, "baseline": None, "control": None}
    rows += [row(layer, "cca_mel", 0.9 - 0.1 * layer, **nothing) for layer in range(3)]
    alike = [[1.0, 0.8, 0.5], [0.8, 1.0, 0.7], [0.5, 0.7, 1.0]]
    found = {
        "model": model, "checkpoint": "/ckpt/last.pt", "fingerprint": "f0", "layers": 3, "dim": 8,
        "versions": {"torch": "2.11.0"}, "setting": {"minutes": 20}, "rows": rows, "notes": [],
        "matrices": [{"measure": "cca", "first": model, "second": model, "values": alike},
                     {"measure": "cka", "first": model, "second": other, "values": alike}],
        **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "probe.json").write_text(json.dumps(found))
    return folder


def convergence(folder: Path, groups: tuple[str, ...] = ("both", "offline")) -> Path:
    """A folder with a convergence.json: two groups of two seeds with three checkpoints each."""
    points = [
        {"run": f"{group}/seed{seed}", "group": group, "seed": seed, "update": update,
         "audio_hours": update / 100, "wall_hours": update / 1000, "metric": "phone_ctc",
         "value": 0.9 - 0.002 * update + 0.1 * place, "unit": "fraction", "direction": "min",
         "layer": None}
        for place, group in enumerate(groups) for seed in (1, 2) for update in (50, 100, 150)
    ]  # fmt: skip
    reach = [
        {"metric": "phone_ctc", "target": 0.7, "origin": "asked for", "group": group,
         "updates": 100.0 + 50 * place, "low": 90.0, "high": 160.0, "audio_hours": 1.0,
         "wall_hours": 0.1, "at_most": False, "seeds_reached": 2, "seeds": 2,
         "ratio": 1.0 + 0.5 * place, "ratio_at_least": False}
        for place, group in enumerate(groups)
    ]  # fmt: skip
    runs = [{"run": p["run"], "group": p["group"], "seed": p["seed"]} for p in points]
    found = {"machine": "two cores", "versions": {}, "setting": {}, "notes": []}
    folder.mkdir(parents=True)
    everything = {**found, "runs": runs, "points": points, "reach": reach}
    (folder / "convergence.json").write_text(json.dumps(everything))
    return folder


def whole(folder: Path) -> Path:
    """A run with everything: its log, scores with heads, probes, and scores of checkpoints."""
    pretraining_runs.run(folder, online=1.0)
    mini(folder / "superb", ks=[0.0, 1.0, 0.0], sid=[1.0, 0.0, 0.0], pr=[0.0, 0.0, 2.0])
    probe(folder / "probe")
    convergence(folder / "convergence")
    return folder
