"""From the states of a suite's jobs to the records of results.jsonl."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.files import reading
from upstream.door import tasks
from upstream.suite import jobs, protocol, run_folder, work
from upstream.suite.jobs import Job, TaskPlan
from upstream.suite.protocol import Candidate


def collect(out: Path, plan: TaskPlan, owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put the records of a task into results.jsonl, if all its tests are done; returns them."""
    first, tests = jobs.jobs_of(plan)
    if not all(work.done(out, job) for job in tests):
        return []
    place = out / run_folder.JOBS / f"{plan.code}.*.json"
    with reading(place, "remove what is damaged of these to do it again"):
        return _collect(out, plan, owner, first, tests)


def _collect(
    out: Path,
    plan: TaskPlan,
    owner: Mapping[str, Any],
    first: Sequence[Job],
    tests: Sequence[Job],
) -> list[dict[str, Any]]:
    by_seed = {
        seed: {
            job.variant.name: run_folder.read_state(out, job.name)["result"]
            for job in tests
            if job.seed == seed
        }
        for seed in (None, *plan.more_seeds)
    }
    results = {seed: next(iter(states.values())) for seed, states in by_seed.items()}
    chosen = {
        owner["seed"] if seed is None else seed: _chosen(plan, result["chosen"])
        for seed, result in results.items()
    }
    spent = [run_folder.read_state(out, job.name)["seconds"] for job in first]
    shared = {
        **next(iter(chosen.values())),
        "tried": [
            _tried(c, [result["devs"][c.name] for result in results.values()])
            for c in plan.candidates
        ],
        "train_seconds": round(sum(spent), 3) if plan.trains else 0.0,
        **{key: owner[key] for key in ("seed", "smoke", "upstream", "ckpt", "fingerprint")},
        **{key: owner.get(key) for key in ("params", "macs")},  # see model_size; None: not known
        **({"name": owner["name"]} if "name" in owner else {}),  # of an encoder of the user's own
        **({"heads": owner["heads"]} if "heads" in owner else {}),
        **({"protocol": plan.recipe.name} if plan.recipe else {}),
        "overrides": dict(plan.overrides),
        "corpus": plan.identity["corpus"],
    }
    records = []
    for metric in plan.header["metrics"]:
        found = [_averaged(states, metric) for states in by_seed.values()]
        if all(found):
            with_seeds = protocol.over_seeds(dict(zip(chosen, filter(None, found), strict=True)))
            for seed, more in (with_seeds.get("seeds") or {}).items():
                more |= chosen[int(seed)]
            records.append({**with_seeds, **shared, **_notes(metric)})
    if [r for r in run_folder.read_results(out) if r["task"] == plan.code] != records:
        run_folder.write_results(out, [plan.code], records)
    return records


def _chosen(plan: TaskPlan, name: str) -> dict[str, Any]:
    """Return what was chosen: the learning rate, or the layer."""
    found = next(c for c in plan.candidates if c.name == name)
    rate = found.rate if found.rate is not None or not plan.trains else _rate(plan)
    return {"rate": rate, "layer": found.layer}


def _tried(candidate: Candidate, devs: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Return what a candidate came to on dev, over all seeds and variants."""
    dev = protocol.mean([value for of_seed in devs for value in of_seed])
    return {"rate": candidate.rate, "layer": candidate.layer, "dev": dev}


def _averaged(
    states: Mapping[str | None, Mapping[str, Any]], metric: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the record of a metric over all variants; None where it was not tested in all."""
    of_variant = {
        name: [r for r in state["records"] if _is(r, metric)] for name, state in states.items()
    }
    if not all(of_variant.values()):
        return None
    best = {name: protocol.best_of(found) for name, found in of_variant.items()}
    return _plain(protocol.average(best))


def _is(record: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    return (record["metric"], record["stage"]) == (metric["name"], tasks.stage_of(dict(metric)))


def _rate(plan: TaskPlan) -> float | None:
    """The learning rate of a task that has no choice of them."""
    if "optimizer.lr" in plan.overrides:
        return float(plan.overrides["optimizer.lr"])
    optimizer = tasks.read(tasks.path_of(plan.code)).get("optimizer") or {}
    return optimizer.get("lr")


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "folder"}


def _notes(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {key: metric[key] for key in ("note", "reference") if key in metric}
