"""The report's sections on scores and layers: what there is, or which command makes it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import layer_weights
from analysis.probes import layer_plots, probe_tasks
from analysis.records import head_files, superb_score
from analysis.records.score import ARROWS
from analysis.report import figures as report_figures
from analysis.report import inputs
from analysis.report import page as html
from analysis.report.inputs import RunFiles
from analysis.report.page import Section
from analysis.tables import leaderboard
from analysis.tables.leaderboard import Table
from mt4ssl_core.files import reading

# --- Scores ---------------------------------------------------------------------------------------


def scores(
    run: RunFiles, tables: Sequence[Table], own: Collection[str], given: Collection[str]
) -> Section:
    """Tables, and plots beside published models where they are comparable, else without.

    ``own``: models of this run; ``given``: of all runs.
    """
    command = f"mt4ssl superb run -k CKPT --out {run.folder}/superb"
    shown = [table for table in tables if any(model in given for model in table.frame.index)]
    if not shown:
        return Section("scores", "Scores", html.missing("No scores on SUPERB's tasks", command))
    body = []
    for place, table in enumerate(shown):
        body.append(html.table(leaderboard.grid(table), own))
        found = _score_figures(table, own)
        drawn = [report_figures.shown(*f, f"scores-{place}-{n}") for n, f in enumerate(found)]
        if drawn:
            body.append(html.figures(drawn))
    return Section("scores", "Scores", "\n".join(body))


def _score_figures(table: Table, own: Collection[str]) -> list[tuple[Any, str]]:
    with report_figures.themed():
        if not table.scored:
            return report_figures.bars(table)
        found = [report_figures.total(table), report_figures.points(table, own)]
        return [each for each in found if each is not None]


# --- Layer weights --------------------------------------------------------------------------------


def weights(run: RunFiles) -> Section:
    """Heat maps of the heads' weights; scaled ones where `mt4ssl layer-weights` left them."""
    body = []
    folders = [folder for _, folders in run.scored for folder in folders]
    for place, folder in enumerate(folders):
        try:
            frame = layer_weights.weights_table(head_files.read(folder))
        except ValueError as error:
            body.append(html.paragraph(f"No layer weights: {error}", "missing"))
            continue
        frame = _with_scaled(frame, folder)
        with report_figures.themed():
            figure = layer_weights.heat_map(frame)
        body.append(
            html.figures([report_figures.shown(figure, _told_weights(frame), f"weights-{place}")])
        )
        if "scaled" not in frame:
            command = f"mt4ssl layer-weights {folder} --audio DIR"
            body.append(html.missing("Weights times the norms of the layers", command))
    if not body:
        command = f"mt4ssl superb run -k CKPT --out {run.folder}/superb"
        body.append(html.missing("No heads, so no weights of layers", command))
    return Section("layer-weights", "Which layers the tasks use", "\n".join(body))


def _with_scaled(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add norms and scaled weights from layer_weights.csv, if it is of these same weights."""
    path, keys = folder / f"{layer_weights.NAME}.csv", ["model", "task", "layer"]
    if not path.is_file():
        return frame
    with reading(path, "remove it, or make it again with `mt4ssl layer-weights`"):
        there = pd.read_csv(path)
        if not {*keys, "weight", "norm", "scaled"} <= set(there):
            return frame
        there = there.astype({"layer": int, "weight": float, "norm": float, "scaled": float})
        there = there.astype({"model": str, "task": str})
    both = frame[[*keys, "weight"]].merge(there, on=keys, how="left", suffixes=("", "_there"))
    if not ((both["weight"] - both["weight_there"]).abs() < 1e-6).all():
        return frame
    found = frame.assign(norm=both["norm"].to_numpy(), scaled=both["scaled"].to_numpy())
    found.attrs = frame.attrs
    return found


def _told_weights(frame: pd.DataFrame) -> str:
    top = frame.loc[frame.groupby(["model", "task"], sort=False)["weight"].idxmax()]
    several = frame["model"].nunique() > 1
    told = [
        f"{superb_score.name_of(str(row.task))}{f' ({row.model})' if several else ''} "
        f"layer {row.layer} ({row.weight:.2f})"
        for row in top.itertuples()
    ]
    layers = frame["layer"].max() + 1
    return (
        f"Share of each of {layers} layers in the weighted sum that a task's head listens to "
        f"(1/{layers} = {1 / layers:.2f} each would be all alike). Largest: {', '.join(told)}."
    )


# --- Probes ---------------------------------------------------------------------------------------


def probes(run: RunFiles, others: Sequence[RunFiles], fingerprints: Collection[str]) -> Section:
    """Curves over the layers, a panel per measure, and heat maps of how alike layers are."""
    command = f"mt4ssl probe -k CKPT --data SOURCE --out {run.folder}/probe"
    if not run.probes:
        return Section("probes", "What each layer holds", html.missing("No probes", command))
    found = {
        each.name_of(path, each.probes): inputs.read(path)
        for each in (run, *others)
        for path in each.probes
    }
    body = [
        html.paragraph(
            f"{label}: probed another checkpoint (fingerprint {probe['fingerprint']}) than the "
            "one that was scored.",
            "warning",
        )
        for label, probe in list(found.items())[: len(run.probes)]
        if _differs(str(probe["fingerprint"]), fingerprints)
    ]
    body.append(html.figures(_curves(found)))
    body.append(
        html.paragraph(
            "Bands: 95 % intervals; of CCA, fitted on either half of the speech. Dotted: baseline, "
            "the commonest label. Dashed: control task, labels drawn at random; a probe well above "
            "it reads the layer rather than memorises. Layers of linear probes named below a plot "
            "are the best on held-out training data.",
            "notes",
        )
    )
    maps = [
        (probe, {**probe, "matrices": [matrix]})
        for probe in found.values()
        for matrix in probe["matrices"]
    ]
    drawn = []
    for place, (_, one) in enumerate(maps):
        with report_figures.themed():
            figure = layer_plots.matrices(one)[0]
        drawn.append(report_figures.shown(figure, _told_matrix(one), f"alike-{place}"))
    if drawn:
        body += ["<h3>How alike layers are</h3>", html.figures(drawn)]
    for kind, what, option in (
        ("cca", "Layers of the model against each other (CCA)", "--alignments PATH"),
        ("cka", "Layers against those of another model (CKA)", "--compare OTHER_CKPT"),
    ):
        if kind not in {one["matrices"][0]["measure"] for _, one in maps}:
            body.append(html.missing(what, f"{command} {option}"))
    return Section("probes", "What each layer holds", "\n".join(body))


def _differs(fingerprint: str, others: Collection[str]) -> bool:
    """Whether a fingerprint is of another checkpoint than all others of its kind.

    Those of features are longer than those of checkpoints, and say nothing of them.
    """
    alike = [other for other in others if len(other) == len(fingerprint)]
    return bool(alike) and fingerprint not in alike


def _curves(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    drawn = []
    for place, (title, _, measures) in enumerate(layer_plots.PANELS):
        part = {
            label: {**probe, "rows": rows}
            for label, probe in found.items()
            if (rows := [row for row in probe["rows"] if row["measure"] in measures])
        }
        if part:
            with report_figures.themed():
                figure = report_figures.panel(layer_plots.layer_curves(part)[0])
            drawn.append(
                report_figures.shown(figure, _told_probe(title, part, measures), f"probe-{place}")
            )
    return drawn


def _told_probe(title: str, found: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> str:
    clauses = []
    for label, probe in found.items():
        for measure in measures:
            rows = [row for row in probe["rows"] if row["measure"] == measure]
            if rows:
                whose = f"{label}, " if len(found) > 1 else ""
                clauses.append(f"{whose}{_best(measure, rows)}")
    return f"{title}, layer by layer. {'; '.join(clauses)}."


def _best(measure: str, rows: Sequence[Mapping[str, Any]]) -> str:
    best = probe_tasks.best_row(rows)
    value = probe_tasks.table_value(best["value"])
    text = f"{measure} {ARROWS[best['direction']]} {value} at layer {best['layer']}"
    more = []
    if best.get("low") is not None:
        what = "fitted on either half" if measure.startswith("cca_") else "95 % interval"
        more.append(f"{what} {best['low']:.3f} to {best['high']:.3f}")
    more += [f"{k} {best[k]:.3f}" for k in ("baseline", "control") if best.get(k) is not None]
    return f"{text} ({', '.join(more)})" if more else text


def _told_matrix(probe: Mapping[str, Any]) -> str:
    (matrix,) = probe["matrices"]
    first, second = (matrix.get(key) or probe["model"] for key in ("first", "second"))
    cells = [(v, i, j) for i, row in enumerate(matrix["values"]) for j, v in enumerate(row)]
    if first == second:
        cells = [cell for cell in cells if cell[1] != cell[2]] or cells
    (high, i, j), (low, k, m) = max(cells), min(cells)
    return (
        f"{matrix['measure'].upper()} between layers of {first} (rows) and {second} (columns), 0 "
        f"to 1: most alike are {i} and {j} ({high:.2f}), least {k} and {m} ({low:.2f})."
    )
