"""What the checkpoints of pre-training runs score: probes, SUPERB, held-out loss, other numbers.

All come as a table of points (`point_table`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.abx.items import ItemFile
from analysis.convergence import point_table
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import probe_tasks, probing
from analysis.probes.kept_scores import KeptScores
from analysis.records import score as results
from analysis.records import score_files, training_runs
from analysis.records.score_files import SUPERB
from analysis.records.training_runs import VALID, TrainingRun, judged_alike
from mt4ssl_core.bars import Bar
from upstream.door import cache
from upstream.suite import run_folder, suite, suite_request

HELD_OUT = {  # in the log: (metric, unit, direction)
    "offline/loss": ("offline_loss", "nats", "min"),
    "offline/accuracy": ("offline_accuracy", "fraction", "max"),
}

LEFT_OUT = "held-out losses of {} are left out: their labels, masks, frames or audio differ"


def held_out(runs: Sequence[TrainingRun]) -> tuple[pd.DataFrame, list[str]]:
    """Return the loss and accuracy of the offline target on held-out audio, and notes.

    Of runs that are judged otherwise, those of the commonest kind count. Other targets are left
    out: a teacher's answers and random codes differ from run to run.
    """
    having = [
        run for run in runs if any(f"{VALID}{key}" in r for key in HELD_OUT for r in run.records)
    ]
    rows, alike = [], judged_alike(having)
    for run in alike:
        for record in run.records:
            for key, (metric, unit, direction) in HELD_OUT.items():
                if f"{VALID}{key}" in record:  # null in the log: no number
                    value = record[f"{VALID}{key}"]
                    value = math.nan if value is None else value
                    rows.append(
                        point_table.point(run, record["update"], metric, value, unit, direction)
                    )
    others = [run.name for run in having if run not in alike]
    return point_table.from_rows(rows), [LEFT_OUT.format(", ".join(others))] if others else []


def probed(
    runs: Sequence[TrainingRun],
    utterances: Sequence[LabelledUtterance],
    probes: Sequence[str],
    layer: str = "auto",
    seed: int = 0,
    minutes: float = probing.MINUTES,
    broken: list[str] | None = None,
    items: ItemFile | None = None,
) -> pd.DataFrame:
    """Return the score of every probe at every checkpoint.

    What was probed is kept beside the run (`analysis.probes.kept_scores`).

    Args:
        runs: with checkpoints.
        utterances: the labelled speech, and ``probes``: names that `analysis.probes.probing` has.
        layer: auto, the best layer on training data held out for that, or a number.
        seed: of the probes; ``minutes``: of speech to train one on, and to test it on.
        broken: gets a line on each probe that is not possible, and each checkpoint that cannot be
            probed; None: the first one is refused.
        items: what ABX compares, instead of triphones of the alignments.

    Raises:
        ValueError: a layer that is not there, or a run without checkpoints.
    """
    if broken is not None:
        probes = _possible(probes, utterances, minutes, broken, items)
    if not probes:
        return point_table.from_rows([])
    todo = [(run, update, path) for run in runs for update, path in _checkpoints(run)]
    scores, rows = KeptScores(utterances, seed, minutes, items), []
    with Bar("probing checkpoint", len(todo)) as bar:
        for run, update, path in bar.over(todo):
            bar.show(of=f"{run.name} {path.stem}")
            try:
                found = _chosen(scores.score_layers(run.folder, path, probes), layer, path)
                training_runs.check_update(path, update)
            except (ValueError, OSError) as error:
                if broken is None:
                    raise
                broken.append(f"not probed: {run.name} at update {update}: {error}")
                continue
            for row in found:
                name = f"{path}: {row['measure']}"
                if not _is_number(row["value"]):
                    raise ValueError(
                        f"{name} is {row['value']}; remove "
                        f"{scores.path(run.folder, path)} to probe again"
                    )
                facts = (row["measure"], row["value"], row["unit"], row["direction"])
                rows.append(point_table.point(run, update, *facts, row["layer"]))
    return point_table.from_rows(rows)


def _possible(
    probes: Sequence[str],
    utterances: Sequence[LabelledUtterance],
    minutes: float,
    broken: list[str],
    items: ItemFile | None,
) -> list[str]:
    """The probes that the labels allow; why others are not is told."""
    try:
        possible, lacking = probe_tasks.possible_probes(utterances, probes, minutes, items)
    except ValueError as error:
        possible, lacking = [], [str(error)]
    broken += [f"not probed: {why}" for why in lacking]
    return [task.name for task in possible]


def _chosen(rows: Sequence[dict[str, Any]], layer: str, ckpt: Path) -> list[dict[str, Any]]:
    """The rows of the layer asked for, one per probe."""
    if layer == "auto":
        return [row for row in rows if row.get("chosen")]
    found = [row for row in rows if row["layer"] == int(layer)]
    if not found:
        last = max(row["layer"] for row in rows)
        raise ValueError(f"--layer {layer}: {ckpt} has the layers 0 to {last}; choose one of them")
    return found


def run_superb(
    runs: Sequence[TrainingRun], tasks: str, roots: str, settings: Sequence[str], **more: Any
) -> list[str]:
    """Score every checkpoint on SUPERB tasks; return notes on those that failed.

    What `mt4ssl superb run` has done in RUN/superb/CHECKPOINT is not done again.

    Raises:
        ValueError: a run without checkpoints, or what `superb run` refuses.
    """
    failed = []
    for run in runs:
        for update, path in _checkpoints(run):
            print(f"{run.name}, update {update}: {tasks}", flush=True)
            out = run.folder / SUPERB / path.stem
            asked = suite_request.SuiteRequest(
                out=out, roots=roots, ckpt=str(path), tasks=tasks, set=settings, **more
            )
            if suite.run(asked):
                failed.append(f"{run.name}: SUPERB failed at update {update}: see {out / 'logs'}")
    return failed


def superb(runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """Return the test scores in RUN/superb/CHECKPOINT, as TASK/METRIC.

    Raises:
        ValueError: what `analysis.records.score_files` refuses, another checkpoint's results, or
        one task
            on different corpora or under different settings.
    """
    rows = []
    first: dict[str, tuple[tuple[Any, ...], str]] = {}
    for run in runs:
        for update, path in run.checkpoints.items():
            folder = run.folder / SUPERB / path.stem
            if not (folder / run_folder.RESULTS).is_file():
                continue
            _check_fingerprint(folder, path)
            for score in score_files.read([folder]).scores:
                setting = score.setting
                here = (setting.corpus_id, *setting.table)
                there, place = first.setdefault(score.task, (here, score.source))
                if here != there:
                    raise ValueError(
                        f"{score.task}: scored on different corpora or under different settings: "
                        f"{there} in {place}, {here} in {score.source}; score them alike"
                    )
                metric = f"{score.task}/{results.spoken(score.metric, setting.stage)}"
                facts = (metric, score.value, score.unit, score.direction)
                rows.append(point_table.point(run, update, *facts))
    return point_table.from_rows(rows)


def _check_fingerprint(folder: Path, ckpt: Path) -> None:
    """See that a folder's results are those of a checkpoint."""
    now = cache.file_fingerprint(ckpt)
    for record in run_folder.read_results(folder):
        if record.get("fingerprint") not in (None, now):
            raise ValueError(
                f"{folder / run_folder.RESULTS}: scores of another checkpoint than {ckpt} is now; "
                "remove the folder, and score the checkpoint again with --tasks"
            )


def _checkpoints(run: TrainingRun) -> list[tuple[int, Path]]:
    if not run.checkpoints:
        raise ValueError(
            f"{run.folder}: no checkpoints to score; pre-train with run.keep_every=N, or leave the "
            "run out"
        )
    return list(run.checkpoints.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
