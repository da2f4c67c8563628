"""What is refused of `mt4ssl convergence` before anything is trained or probed."""

from collections.abc import Sequence
from pathlib import Path

from analysis.abx.items import read_items
from analysis.convergence import point_table, updates_to_reach
from analysis.convergence.scoring import JOBS, SEEDS, Scoring
from analysis.probes.probe_request import probe_names
from analysis.probes.probe_tasks import ABX, PROBES
from mt4ssl_core.data import csv_tables
from mt4ssl_core.files import user_path
from upstream.suite import roots
from upstream.suite.suite_request import SuiteRequest

_SAY_NOTHING_WITHOUT = {  # option: fields of `Scoring`
    "--probe-data": ("probes", "layer", "probe_minutes", "alignments", "items"),
    "--tasks": ("roots", "set", "allow_partial"),
}


def check(scoring: Scoring) -> None:
    """See that a request can be met, as far as it says itself.

    Raises:
        ValueError: an option that would do nothing, an unknown probe, task or setting, no such file
            or another kind of file, or words that are no target.
    """
    given = {"--probe-data": scoring.probe_data, "--tasks": scoring.superb}
    for option, fields in _SAY_NOTHING_WITHOUT.items():
        for name in fields:
            if not given[option] and getattr(scoring, name) != getattr(Scoring, name):
                raise ValueError(
                    f"--{name.removeprefix('probe_').replace('_', '-')}: says nothing without "
                    f"{option}; give that, or leave it out"
                )
    if scoring.probe_data:
        _check_probes(scoring)
    if scoring.superb:
        _check_tasks(scoring, scoring.superb)
    if scoring.scores:
        csv_tables.read_table(Path(scoring.scores), point_table.GIVEN)
    updates_to_reach.read_targets(scoring.target)


def check_study(study: bool, labels: Sequence[str] | None, seeds: int, jobs: int) -> None:
    """See that only a study has options of studies, and only others ``labels``.

    Raises:
        ValueError: not so.
    """
    if study and labels:
        raise ValueError("--labels: groups of a study are called after its configs; leave it out")
    for name, value, default in (("seeds", seeds, SEEDS), ("jobs", jobs, JOBS)):
        if value != default and not study:
            raise ValueError(f"--{name} {value}: of `convergence study CONFIG ...`; leave it out")


def _check_probes(scoring: Scoring) -> None:
    names = probe_names(scoring.probes)
    if unknown := [name for name in names if name not in PROBES]:
        raise ValueError(f"--probes {unknown[0]}: unknown; choose from {', '.join(PROBES)}")
    if scoring.layer != "auto" and not scoring.layer.isdecimal():
        raise ValueError(f"--layer {scoring.layer}: expected auto or a number from 0 on")
    paths = [("--probe-data", source) for source in scoring.probe_data]
    for option, path in [*paths, ("--alignments", scoring.alignments)]:
        if path is not None and not user_path(path).exists():
            raise ValueError(f"{option} {path}: no such file or folder; correct the path")
    if scoring.items is not None:
        if not {*ABX} & {*names}:
            raise ValueError(
                f"--items {scoring.items}: says what {' and '.join(ABX)} compare; name one of them "
                "in --probes, or leave it out"
            )
        read_items(user_path(scoring.items))


def _check_tasks(scoring: Scoring, tasks: str) -> None:
    if scoring.roots is None:
        raise ValueError("--tasks: where are the corpora? give --roots as for `mt4ssl superb run`")
    asked = SuiteRequest(Path(), scoring.roots, upstream="fbank", tasks=tasks, set=scoring.set)
    roots.read(scoring.roots, asked.names)
