"""All SUPERB tasks of one upstream: check everything, train, choose on dev, test, collect.

What was done is never done again; what was interrupted goes on; what failed, or cannot be done
here, does not stop the rest.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.files import remove_leftovers
from mt4ssl_core.lines import say
from upstream.door import cache, signals
from upstream.heads import blank_share
from upstream.suite import (
    collecting,
    executors,
    jobs,
    planning,
    preparation,
    recipe,
    roots,
    run_folder,
    work,
)
from upstream.suite.display import Display
from upstream.suite.jobs import Job, SuiteSetting, TaskPlan
from upstream.suite.scheduling import Executor, Handle, JobBatch, schedule
from upstream.suite.suite_request import SuiteRequest
from upstream.suite.table import render_table
from upstream.suite.upstream_trial import Probe, try_upstream


def run(request: SuiteRequest) -> int:
    """Do what is asked; returns 0, or 1 when a job failed or a task could not be done here.

    Raises:
        ValueError: something that is asked for cannot be, found before anything was started.
    """
    return max(_run(request.of_kind(kind)) for kind in dict.fromkeys(request.heads))


def _run(request: SuiteRequest) -> int:
    """Do what is asked, with one kind of heads."""
    started = time.perf_counter()
    folders, impossible = roots.read_each(request.roots, request.names)
    impossible |= preparation.lacking_packages(list(folders))
    _go_on(request, impossible)
    owner, executor, encoder = begin(request)
    ready = [name for name in request.names if name not in impossible]
    found, wrong = preparation.prepare(ready, folders, request.allow_partial)
    impossible |= wrong
    _go_on(request, impossible)
    if impossible:
        print(preparation.told(impossible, "left out"), file=sys.stderr)
    plans = [
        planning.plan_task(request, name, folders[name], found[name], encoder) for name in found
    ]
    failed = carry_out(request, plans, executor, owner)
    print(f"\n{request.out / run_folder.RESULTS}, {time.perf_counter() - started:.0f} s")
    if failed:
        say_failed(request, failed)
    if impossible:
        print(preparation.told(impossible, "left out"), file=sys.stderr)
    return 1 if failed or impossible else 0


def begin(request: SuiteRequest) -> tuple[dict[str, Any], Executor, Probe]:
    """Return whose results these will be, where jobs run, and what the encoder is.

    Raises:
        ValueError: the folder is another's, or there is no such executor or encoder.
    """
    owner = owner_of(request)
    run_folder.check(request.out, owner)
    run_folder.read_results(request.out)
    submitted = request.out / run_folder.LOGS / "submitit"
    executor = executors.make(
        request.executor, submitted, request.device, request.jobs, request.slurm
    )
    encoder = try_upstream(str(request.upstream), request.ckpt)
    owner |= {"params": encoder.params, "macs": encoder.macs}
    owner |= {"name": name} if (name := cache.own_name(request.ckpt)) else {}
    return owner, executor, encoder


def carry_out(
    request: SuiteRequest, plans: Sequence[TaskPlan], executor: Executor, owner: Mapping[str, Any]
) -> dict[str, str]:
    """Do what is not done of the plans, and print the table; returns what failed: job -> why.

    Raises:
        ValueError: heads of other settings are there.
    """
    _refuse_other_settings(request.out, plans)
    with run_folder.claimed(request.out, owner) as token, signals.like_ctrl_c():
        for place in (request.out, request.out / run_folder.JOBS):
            remove_leftovers(place)
        try:
            failed = _work(request, plans, executor, token, owner)
        except KeyboardInterrupt:
            if request.executor == executors.SLURM:
                print("SLURM goes on with what it has; scancel ends it", file=sys.stderr)
            raise
    done = [r for r in run_folder.read_results(request.out) if r["task"] in request.names]
    print(render_table(sorted(done, key=lambda record: request.names.index(record["task"]))))
    return failed


def _go_on(request: SuiteRequest, impossible: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError if no task is left."""
    if set(request.names) <= set(impossible):
        raise ValueError(preparation.told(impossible, "cannot be run here"))


def owner_of(request: SuiteRequest) -> dict[str, Any]:
    """Return whose results these are."""
    return {
        "upstream": request.upstream,
        "ckpt": request.ckpt,
        "fingerprint": cache.fingerprint_of(request.ckpt),
        "hub_model": hub_models.origin(request.ckpt),
        "seed": request.seed,
        "smoke": request.smoke,
        **({"heads": kind} if (kind := request.other_heads) else {}),
        **({"protocol": request.protocol} if request.protocol != recipe.SUPERB else {}),
    }


def _refuse_other_settings(out: Path, plans: Sequence[TaskPlan]) -> None:
    """Raise ValueError for heads that were trained otherwise or on another corpus."""
    problems = []
    for plan in plans:
        for job in jobs.jobs_of(plan)[0]:
            there = run_folder.read_state(out, job.name).get("settings")
            asked = job.settings()
            if there is not None and there != asked:
                differ = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
                problems.append(
                    f"{out / job.name} was made with another {' and '.join(differ)} "
                    f"({'; '.join(_difference(there.get(key), asked.get(key)) for key in differ)})"
                )
    if problems:
        raise ValueError(
            "\n  ".join(["results are not mixed:", *problems])
            + f"\n  give another --out, or remove these folders and their files in "
            f"{out / run_folder.JOBS}"
        )


def _difference(there: Any, asked: Any) -> str:
    if not isinstance(there, dict | None) or not isinstance(asked, dict | None):
        return f"{there}, now {asked}"
    there, asked = there or {}, asked or {}
    keys = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
    return ", ".join(f"{key} {there.get(key)}, now {asked.get(key)}" for key in keys[:3])


def batches_of(
    request: SuiteRequest, plan: TaskPlan, begin: Callable[[Sequence[Job], str | None], Any]
) -> list[JobBatch]:
    """Return what of a task is not done.

    One batch per job; one for all in a smoke run, and where they share an upstream's features, so
    that none of them is computed twice.
    """

    def batch(name: str, chosen: list[Job], needs: Sequence[str]) -> JobBatch:
        return JobBatch(name, lambda gpu: begin(chosen, gpu), needs, [job.name for job in chosen])

    first, tests = jobs.jobs_of(plan)
    left = [job for job in first if not work.done(request.out, job)]
    tests = [job for job in tests if not work.done(request.out, job)]
    if request.smoke or plan.stored:
        return [batch(plan.code, left + tests, [])] if left + tests else []
    found = [batch(job.name, [job], []) for job in left]
    for test in tests:
        needs = [job.name for job in first if job.seed == test.seed]
        found.append(batch(test.name, [test], needs))
    return found


def _work(
    request: SuiteRequest,
    plans: Sequence[TaskPlan],
    executor: Executor,
    token: str,
    owner: Mapping[str, Any],
) -> dict[str, str]:
    """Do all jobs that are not done; returns what failed: job -> why."""
    out, upstream = request.out, str(request.upstream)
    shared = (request.ckpt, request.seed, request.device, request.store, request.feature_transform)
    setting = SuiteSetting(out, upstream, *shared)
    watched = token if request.executor == executors.LOCAL else None

    def task(chosen: Sequence[Job], gpu: str | None) -> work.Work:
        return work.Work(setting, chosen, watched, gpu)

    by_job = {job.name: job for plan in plans for part in jobs.jobs_of(plan) for job in part}
    batches = [batch for plan in plans for batch in batches_of(request, plan, task)]
    failed: dict[str, str] = {}
    for plan in plans:  # of an earlier session that did not get to writing them
        collecting.collect(out, plan, owner)
    left = [name for batch in batches for name in batch.jobs]
    display = Display(out, by_job, left, executor.slots)

    def begun(batch: JobBatch) -> None:
        logs = batch.jobs[0] if len(batch.jobs) == 1 else f"{batch.name}/*"
        say(f"begun: {batch.name}, log: {run_folder.log_path(out, logs)}")
        display.begun(batch)

    def ended(batch: JobBatch, handle: Handle) -> None:
        display.ended(batch)
        broken = _broken(out, [by_job[name] for name in batch.jobs])
        for name in broken:
            failed[name] = _why(out, name, handle)
            say(f"failed: {name}: {failed[name]}")
        if not broken:
            handle.clean()
        for plan in plans:
            if plan.code == batch.name.split("/")[0]:
                _say_only_blanks(collecting.collect(out, plan, owner))

    with display:
        done = lambda name: work.done(out, by_job[name])  # noqa: E731
        schedule(batches, executor, done, begun, ended)
    return failed


def _say_only_blanks(records: Sequence[Mapping[str, Any]]) -> None:
    found = {r["task"]: r for r in records if blank_share.only_blanks(r)}
    for task, record in found.items():
        say(blank_share.advice(task, record, record.get("step")))


def _broken(out: Path, batch: Sequence[Job]) -> list[str]:
    """Return the jobs of a batch that is over that went wrong, but not those left out for them."""
    left = [job.name for job in batch if not work.done(out, job)]
    states = {job.name: run_folder.read_state(out, job.name) for job in batch}
    begun = [job.name for job in batch if states[job.name].get("settings") == job.settings()]
    broken = [n for n in left if n in begun and states[n]["state"] != work.DONE]
    return broken or left[:1]


def _why(out: Path, name: str, handle: Handle) -> str:
    state = run_folder.read_state(out, name)
    if state.get("state") == work.FAILED:
        return str(state["error"])
    return f"its process ended too early ({handle.error() or 'killed?'})"


def say_failed(request: SuiteRequest, failed: Mapping[str, str]) -> None:
    """Say on stderr why jobs failed, and how they are tried again."""
    print(f"\n{len(failed)} job(s) failed:", file=sys.stderr)
    for name, why in failed.items():
        print(f"  {name}: {why}\n    {run_folder.log_path(request.out, name)}", file=sys.stderr)
    names = roots.in_order({name.split("/")[0] for name in failed})
    print(f"without all their results: {', '.join(names)}", file=sys.stderr)
    print(f"to try these again: {request.command(names)}", file=sys.stderr)
