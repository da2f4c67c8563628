"""The report's sections on scores and layers: what there is, or which command makes it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import layer_weights
from analysis.probes import layer_plots, probe_rows
from analysis.records import decodings, head_files, model_names
from analysis.records.decodings import Decoding
from analysis.report import figures as report_figures
from analysis.report import inputs, page
from analysis.report.inputs import RunFiles
from analysis.report.page import Block, Figures, Heading, Missing, Notes, Paragraph, Section
from analysis.tables import leaderboard, wer_table
from analysis.tables.formats import Grid
from analysis.tables.leaderboard import ScoreTable
from mt4ssl_core.files import reading

# --- Scores ---------------------------------------------------------------------------------------


def scores(
    run: RunFiles, tables: Sequence[ScoreTable], own: Collection[str], given: Collection[str]
) -> Section:
    """Tables, and plots beside published models where they are comparable, else without.

    ``own``: models of this run; ``given``: of all runs.
    """
    command = f"mt4ssl superb run -k CKPT --out {run.folder}/superb"
    shown = [table for table in tables if any(model in given for model in table.frame.index)]
    if not shown:
        return Section("scores", "Scores", [Missing("No scores on SUPERB's tasks", command)])
    blocks: list[Block] = []
    for place, table in enumerate(shown):
        blocks.append(page.Table(leaderboard.grid(table), own))
        drawn = [
            report_figures.inline(figure, f"scores-{place}-{number}", told)
            for number, (figure, told) in enumerate(_score_figures(table, own))
        ]
        blocks += [Figures(drawn)] if drawn else []
    return Section("scores", "Scores", blocks)


def _score_figures(table: ScoreTable, own: Collection[str]) -> list[tuple[Any, str]]:
    with report_figures.themed():
        if not table.scored:
            return report_figures.bars(table, own)
        found = [report_figures.total(table, own), report_figures.points(table, own)]
        return [each for each in found if each is not None]


# --- Word error rates -----------------------------------------------------------------------------


def word_errors(run: RunFiles, others: Sequence[RunFiles]) -> list[Section]:
    """The papers' tables, where something was decoded; with what cannot stand in them."""
    given = [each for each in (run, *others) if each.decodings]
    if not given:
        return []
    found = decodings.read([each.folder for each in given], called=[each.name for each in given])
    own = {one.model for one in found if one.model.split("/")[0] == run.name}
    made = wer_table.grids(found, decodings.published())
    blocks: list[Block] = [page.Table(grid, own) for grid in made if _holds(grid, found)]
    missing = [grid.title for grid in made if not _holds(grid, found)]
    blocks += [
        Missing(f"{title}: not run", "mt4ssl decode CKPT LibriSpeech/test-other --out DIR")
        for title in missing
    ]
    return [Section("word-errors", "Word error rates after fine-tuning", blocks)]


def _holds(grid: Grid, found: Sequence[Decoding]) -> bool:
    """Whether a table has a result of these models."""
    models = {one.model for one in found}
    return any(
        cell.text != wer_table.NOT_RUN
        for row in grid.rows
        if row[0].text in models
        for cell in row[1:]
    )


# --- Layer weights --------------------------------------------------------------------------------


def weights(run: RunFiles) -> Section:
    """Heat maps of the heads' weights; scaled ones where `mt4ssl layer-weights` left them."""
    blocks: list[Block] = []
    folders = [folder for _, folders in run.scored for folder in folders] + run.own_folders
    for place, folder in enumerate(folders):
        try:
            heads = head_files.read(folder)
            frame = layer_weights.weights_table(heads)
        except ValueError as error:
            blocks.append(Paragraph(f"No layer weights: {error}", "missing"))
            continue
        frame = _called(_with_scaled(frame, folder), heads, run.name)
        with report_figures.themed():
            figure = layer_weights.weights_heat_map(frame)
            figure.supxlabel("")  # its notes are text of the page
        told = report_figures.inline(figure, f"weights-{place}", _told_weights(frame))
        blocks.append(Figures([told]))
        blocks += [Notes(notes)] if (notes := frame.attrs.get("notes")) else []
        if "scaled" not in frame:
            command = f"mt4ssl layer-weights {folder} --audio DIR"
            blocks.append(Missing("Weights times the norms of the layers", command))
    if not blocks:
        command = f"mt4ssl superb run -k CKPT --out {run.folder}/superb"
        blocks.append(Missing("No heads, so no weights of layers", command))
    return Section("layer-weights", "Which layers the tasks use", blocks)


def _called(frame: pd.DataFrame, heads: Sequence[head_files.Head], name: str) -> pd.DataFrame:
    """Call the model that others are there to compare with as the page does."""
    names = layer_weights.names_of(head for head in heads if head.weights is not None)
    own = [called for (upstream, _), called in names.items() if not model_names.kind(upstream)]
    return frame.replace({"model": {own[0]: name}}) if len(own) == 1 else frame


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
    layers = frame["layer"].max() + 1
    scaled = (
        " The second map takes into account that layers differ in size: trust it more."
        if "scaled" in frame
        else " A layer of small values needs a large weight, so read it beside the scaled weights."
    )
    return (
        f"Each row is a task: how its head shares its attention among the {layers} layers. A row "
        f"adds up to 1; {1 / layers:.2f} everywhere would be no preference. Bright cells are what "
        f"the head listens to. Layer 0 is the input of the first transformer layer.{scaled}"
    )


# --- Probes ---------------------------------------------------------------------------------------


def probes(run: RunFiles, others: Sequence[RunFiles], fingerprints: Collection[str]) -> Section:
    """Curves over the layers, a panel per measure, and heat maps of how alike layers are."""
    command = f"mt4ssl probe -k CKPT --data SOURCE --out {run.folder}/probe"
    if not run.probes:
        return Section("probes", "What each layer holds", [Missing("No probes", command)])
    found = {
        each.name_of(path, each.probes): inputs.read(path)
        for each in (run, *others)
        for path in each.probes
    }
    blocks: list[Block] = [
        Paragraph(
            f"{label}: probed another checkpoint (fingerprint {probe['fingerprint']}) than the "
            "one that was scored.",
            "warning",
        )
        for label, probe in list(found.items())[: len(run.probes)]
        if _differs(str(probe["fingerprint"]), fingerprints)
    ]
    blocks.append(Figures(_curves(found)))
    blocks.append(
        Paragraph(
            "Bands: 95 % intervals; of CCA, fitted on either half of the speech. Dotted: baseline, "
            "the commonest label. Dashed: control task, labels drawn at random; a probe well above "
            "it reads the layer rather than memorises."
        )
    )
    maps = [
        (label, {**probe, "matrices": [matrix]})
        for label, probe in found.items()
        for matrix in probe["matrices"]
    ]
    drawn = []
    for place, (label, one) in enumerate(maps):
        with report_figures.themed():
            figure = layer_plots.matrices(one, label)[0]
        drawn.append(report_figures.inline(figure, f"alike-{place}", _told_matrix(one)))
    blocks += [Heading("How alike layers are"), Figures(drawn)] if drawn else []
    for kind, what, option in (
        ("cca", "Layers of the model against each other (CCA)", "--alignments PATH"),
        ("cka", "Layers against those of another model (CKA)", "--compare OTHER_CKPT"),
    ):
        if kind not in {one["matrices"][0]["measure"] for _, one in maps}:
            blocks.append(Missing(what, f"{command} {option}"))
    return Section("probes", "What each layer holds", blocks)


def _differs(fingerprint: str, others: Collection[str]) -> bool:
    """Whether a fingerprint is of another checkpoint than all others of its kind.

    Those of features are longer than those of checkpoints, and say nothing of them.
    """
    alike = [other for other in others if len(other) == len(fingerprint)]
    return bool(alike) and fingerprint not in alike


def _curves(found: Mapping[str, Mapping[str, Any]]) -> list[page.Figure]:
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
            told = " ".join([_TOLD[title], *_peaks(part, measures)])
            drawn.append(report_figures.inline(figure, f"probe-{place}", told))
    return drawn


_TOLD = {  # by the title of the panel
    "Phone of a frame": "Can the phone be read from a single frame of a layer?",
    "Phones of an utterance (CTC)": "Can phones be read in order, as in speech recognition?",
    "Keyword of an utterance": "Can the word be read from the mean over time?",
    "Speaker of an utterance": "Can the speaker be told? Layers that forget the voice fall here.",
    "Gender of the speaker": "Can the speaker's gender be told?",
    "Pitch, energy, tempo of an utterance": "Can it be told how something is said? The share of "
    "the variance that a linear regression explains; below 0 the mean would be better.",
    "ABX of triphones": "How often a phone is nearer to another phone than to itself, within a "
    "speaker and with another one. Nothing is trained.",
    "Effective rank (RankMe)": "How many directions the frames of a layer use. It is no score.",
    "CCA with mel, phones, words, layer 0": "How much of a layer is a linear function of the "
    "spectrum (mel), of phones, of words, or of the encoder's input. Mel usually falls and phones "
    "rise with depth.",
    "Clusters and phones: PNMI": "How much k-means clusters of a layer tell of the phone: how good "
    "its clusters would be as labels for the next pre-training.",
    "Clusters and phones: purity": "Phone purity: share of frames whose phone is the commonest of "
    "their cluster. Cluster purity: the other way round; it falls with more clusters.",
}


def _peaks(found: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    """Say which layer is best, where one measure is shown."""
    rows = [row for probe in found.values() for row in probe["rows"]]
    if len(measures) > 1 or any(row.get("unit") == probe_rows.DIRECTIONS for row in rows):
        return []
    best = {label: probe_rows.best_row(probe["rows"]) for label, probe in found.items()}
    several = len(best) > 1
    each = []
    for label, row in best.items():
        layer = f"layer {row['layer']}" if row["value"] is not None else "no layer has a number"
        each.append(f"{label} {layer}" if several else layer)
    where = " on training data held out" if all(row.get("chosen") for row in best.values()) else ""
    return [f"Best{where}: {', '.join(each)}."]


def _told_matrix(probe: Mapping[str, Any]) -> str:
    (matrix,) = probe["matrices"]
    scale = "Bright cells are layers that hold nearly the same; the scale begins at the least."
    if matrix["measure"] == "cka":
        return (
            f"Layers of this model (rows) against those of {matrix.get('second')} (columns). A "
            f"bright diagonal means that both learn the same in the same order. {scale}"
        )
    return (
        "Layers of the model against each other. Blocks of bright cells are layers that do nearly "
        f"the same; a dark corner means that the encoder changes much from end to end. {scale}"
    )
