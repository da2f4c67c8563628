"""What a model card says of a run on SUPERB: its row, the weights of layers, the hub's files."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from analysis import layer_weights
from analysis.records import score as results
from analysis.records import score_files
from analysis.records.score import ARROWS, Score
from analysis.records.score_files import ModelScores
from analysis.records.superb_score import name_of
from analysis.tables import formats, leaderboard
from mt4ssl_core.checkpoints.foreign import hub_models
from upstream.door import cache
from upstream.suite import run_folder

BENCHMARK = "s3prl/superb"  # the dataset of SUPERB on the hub
PLOT, RESULTS = "layer_weights.png", ".eval_results"


def scores_of(run: str | Path, checkpoint: str | Path) -> tuple[str, dict[str, bytes]]:
    """Return the card's section about a run of ``mt4ssl superb run``, and the files beside it.

    These are the picture of the layers' weights, where its heads have any, and one file per task
    in the form of the hub's evaluation results, of what SUPERB's table may show.

    Raises:
        ValueError: no results there, or of another checkpoint than ``checkpoint``.
    """
    folder = _suite(Path(run))
    _check_same(folder, checkpoint)
    found = score_files.read([folder])
    tables = leaderboard.tables(found, ModelScores([], {}))
    grids = [leaderboard.grid(table) for table in tables if len(table.frame)]
    text = "## SUPERB\n\n" + formats.markdown(grids)
    files = {f"{RESULTS}/superb_{task}.yaml": content for task, content in _results(found.scores)}
    if (plot := _plot(folder)) is not None:
        files[PLOT] = plot
        text += f"\n![How much each layer counts in each task]({PLOT})\n"
    return text, files


def _suite(run: Path) -> Path:
    """The folder with the results: ``run`` itself or its superb/."""
    inside = run / score_files.SUPERB
    return inside if (inside / run_folder.RESULTS).is_file() else run


def _check_same(folder: Path, checkpoint: str | Path) -> None:
    """Raise ValueError where the results are of another checkpoint."""
    records = run_folder.read_results(folder)
    here = cache.file_fingerprint(hub_models.local(checkpoint))
    if other := {str(record.get("fingerprint")) for record in records} - {here}:
        raise ValueError(
            f"{folder}: scores of another checkpoint ({', '.join(sorted(other)[:3])}, and "
            f"{checkpoint} is {here}); give the run of this one, or score it with `mt4ssl superb "
            f"run -k {checkpoint}`"
        )


def _results(scores: Sequence[Score]) -> list[tuple[str, bytes]]:
    """(task, YAML) of each task that was scored as SUPERB has it, on the whole real corpus."""
    out = []
    for task in dict.fromkeys(score.task for score in scores if score.setting.comparable):
        entries = [_entry(s) for s in scores if s.task == task and s.setting.comparable]
        out.append((task, yaml.safe_dump(entries, sort_keys=False).encode()))
    return out


def _entry(score: Score) -> dict[str, object]:
    metric = results.metric_of(score.task, score.metric, score.setting.stage)
    unit = results.shown_unit(metric)
    notes = (
        f"{name_of(score.task)}: {results.spoken(score.metric, score.setting.stage)} "
        f"{ARROWS[score.direction]}, {unit}; frozen encoder, head of SUPERB"
    )
    return {
        "dataset": {"id": BENCHMARK, "task_id": score.task},
        "value": round(score.value_in(unit), 4),
        "notes": notes,
    }


def _plot(folder: Path) -> bytes | None:
    """The picture of the layers' weights, where the heads are still there and have any."""
    with tempfile.TemporaryDirectory() as out:
        try:
            layer_weights.draw(folder, out, broken=[])
        except ValueError:
            return None
        return (Path(out) / PLOT).read_bytes()
