"""Two parts of the convergence study (`real_convergence.py`) as one, such as more of its seeds."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.convergence import checkpoint_scores, updates_to_reach
from analysis.records.training_runs import judge, shared_and_own

_ALIKE = ("train_hours", "word_speakers", "tuning", "heads", "fingerprints")  # settings


def check_names(kept: Mapping[str, Any], names: Iterable[str]) -> None:
    """See that runs are others than those that are committed.

    Raises:
        ValueError: one is not.
    """
    if again := sorted({run["run"] for run in kept["runs"]} & {*names}):
        raise ValueError(f"{', '.join(again)}: committed already; name others with --only")


def joined(kept: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """One record of the runs of both; scores to reach are those of ``new``, else of ``kept``.

    Raises:
        ValueError: a run that is in both, or other settings, of the scores or of a group's runs.
    """
    check_names(kept, [run["run"] for run in new["runs"]])
    for name in _ALIKE:
        _check_alike(name, kept["setting"].get(name), new["setting"].get(name))
    groups = {**_settings(kept), **_settings(new)}
    for group, settings in _settings(kept).items():
        for key in {**settings, **groups[group]}:
            _check_alike(f"{group}: {key}", settings.get(key), groups[group].get(key))
    scoring = [record["setting"]["scoring"] for record in (kept, new)]
    for key in {**scoring[0], **scoring[1]}:
        if key != "target":
            _check_alike(key, scoring[0].get(key), scoring[1].get(key))
    points, left_out = _comparable(kept, new, groups)
    asked = scoring[1].get("target") or scoring[0].get("target", [])
    targets, notes = updates_to_reach.targets_of(pd.DataFrame(points), asked)
    shared, own = shared_and_own(groups)
    return {
        **kept, **new,
        "machine": _both(kept["machine"], new["machine"]),
        "versions": {k: _both(v, new["versions"][k]) for k, v in kept["versions"].items()},
        "setting": {
            **new["setting"], "shared": shared, "groups": own,
            "scoring": {**scoring[1], "target": asked},
        },
        "runs": _ordered([*kept["runs"], *new["runs"]]),
        "points": points,
        "reach": updates_to_reach.reach_rows(pd.DataFrame(points), targets),
        "notes": list(dict.fromkeys([*kept["notes"], *new["notes"], *left_out, *notes])),
    }  # fmt: skip


def _both(kept: str, new: str) -> str:
    return " and ".join(dict.fromkeys([*kept.split(" and "), new]))


def _comparable(
    kept: Mapping[str, Any], new: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The points in order, and notes; without held-out losses of other masks than the first, and
    of groups that had none.
    """
    points = _ordered([*kept["points"], *new["points"]])
    held_out = {metric for metric, *_ in checkpoint_scores.HELD_OUT.values()}
    having = _groups(points, held_out)
    silent = {run["group"] for run in kept["runs"]} - {*_groups(kept["points"], held_out)}
    others = [g for g in having if g in silent or judge(groups[g]) != judge(groups[having[0]])]
    left = [p for p in points if p["metric"] not in held_out or p["group"] not in others]
    return left, [checkpoint_scores.LEFT_OUT.format(", ".join(others))] if others else []


def _groups(points: Iterable[Mapping[str, Any]], metrics: Container[str]) -> list[str]:
    return list(dict.fromkeys(point["group"] for point in points if point["metric"] in metrics))


def joined_curves(kept: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The curves of both, of runs that are not in both: mean, lowest and highest of all."""
    both = pd.concat([kept, new])
    both["mean"] *= both["runs"]
    keys = [name for name in kept.columns if name not in ("mean", "low", "high", "runs")]
    found = both.groupby(keys, sort=False, as_index=False).agg(
        {"mean": "sum", "low": "min", "high": "max", "runs": "sum"}
    )
    found["mean"] /= found["runs"]
    return found[list(kept.columns)]


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group after group, as they come first, and the seeds of each in order."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    return sorted(rows, key=lambda row: (groups.index(row["group"]), row["seed"]))


def _settings(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    setting = record["setting"]
    return {group: {**setting["shared"], **own} for group, own in setting["groups"].items()}


def _check_alike(name: str, kept: Any, new: Any) -> None:
    if kept != new:
        raise ValueError(
            f"{name}: {kept!r:.200} of the committed runs, {new!r:.200} of these; leave --add out "
            "to show these in place of the committed ones"
        )
