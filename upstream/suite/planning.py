"""How a task of a suite is to be done: what is chosen from, tested, changed, and read."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upstream.door import tasks
from upstream.store import decision
from upstream.suite import jobs, preparation, protocol, recipe
from upstream.suite.jobs import TaskPlan
from upstream.suite.recipe import Recipe
from upstream.suite.suite_request import SuiteRequest
from upstream.suite.upstream_trial import Probe


def plan_task(
    request: SuiteRequest, name: str, root: Path, corpus: Mapping[str, Any], encoder: Probe
) -> TaskPlan:
    """Return how a task is to be done."""
    config = tasks.read(tasks.path_of(name))
    header = config.pop("superb")
    rate = (config.get("optimizer") or {}).get("lr")
    other = recipe.of(header, request.protocol, root)
    paths = tasks.paths_under(header, root)
    chosen, left_out = protocol.planned_stages(header, paths, request.stages)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    heads = header["heads"][request.other_heads] if request.other_heads else {}
    smoke = header["smoke"] if request.smoke else {}
    changes = {**heads, **smoke, **request.changes_of.get(name, {})}
    every = {**(other.changes if other else {}), **changes}
    stored = decision.planned(request.store, header, encoder.batch_dependent, every)
    rates = request.rates_of.get(name) or (other.rates if other else None)
    return TaskPlan(
        code=name,
        header=header,
        root=root,
        candidates=tuple(protocol.candidates(header, rate, encoder.layers, rates, request.smoke)),
        variants=tuple(protocol.variants(header)),
        overrides=changes,
        stages=tuple(chosen),
        more_seeds=jobs.more_seeds(request.out, header, request.seed, request.seeds),
        identity={
            "config": preparation.value_fingerprint(config),
            "corpus": _trained_on(corpus, other),
            **({"store": stored.deviations} if stored and stored.deviations else {}),
            **(other.identity if other else {}),
            **request.transformed,
        },
        stored=stored is not None,
        recipe=other,
    )


def _trained_on(corpus: Mapping[str, Any], other: Recipe | None) -> dict[str, Any]:
    """Return what a record says of the corpus: also of the part that is trained on."""
    if other is None:
        return dict(corpus)
    part = dict(other.part)
    fingerprint = preparation.value_fingerprint([corpus["fingerprint"], part])
    return {**corpus, "part": part, "fingerprint": fingerprint}
