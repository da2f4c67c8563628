"""How much each layer counts in each task: the weights of s3prl's weighted sum, as a heat map.

SUPERB hands a head the sum of all layers h_l with weights softmax(w)_l, and learns w with the head.
Weights alone mislead where layers differ in scale: a layer of small values needs a large weight to
say anything at all. The scaled weights are the weights times the mean norm of each layer's frames,
made to sum to 1.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import plots
from analysis.probes.layer_features import LayerFeatures, open_upstream
from analysis.records import head_files, model_names, superb_score
from analysis.records.head_files import Head
from analysis.tables import formats
from mt4ssl_core.bars import Bar
from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.files import check_out, remove_leftovers
from upstream.door import cache, tasks
from upstream.suite import protocol, roots

NAME = "layer_weights"  # of the files that are written
UTTERANCES = 200  # of the audio, evenly spaced, that norms are the mean over
_CELL, _ROW = 0.33, 0.25  # inches
_TITLES = {"weight": "Weights", "scaled": "Weights times layer norms"}


def draw(
    run: str | Path,
    out: str | Path | None = None,
    audio: str | Path | None = None,
    ckpt: str | Path | None = None,
    device: str = "auto",
    broken: list[str] | None = None,
) -> pd.DataFrame:
    """Write layer_weights.svg, .png and .csv of a run and return what is in the CSV.

    Args:
        run: what ``mt4ssl superb run`` made, or a folder with s3prl experiments in it.
        out: where to write; the run's folder by default.
        audio: adds norms and scaled weights, from this folder of audio (or .tsv, or CutSet).
        ckpt: where the upstream's checkpoint is, if not where the results say.
        device: that encodes the audio.
        broken: gets a line on each head that cannot be read (`head_files.read`).

    Raises:
        ValueError: what `head_files.read`, `weights_table` and `scaled` refuse, or an ``out`` that
            cannot be written.
    """
    place = out or run
    check_out(place, "--out" if out else "RUN")
    remove_leftovers(place)
    found = head_files.read(run, broken)
    frame = weights_table(found)
    frame.attrs["notes"] += broken or []
    if audio is not None:
        frame = scaled(frame, found, audio, ckpt, device)
    plots.save(weights_heat_map(frame), Path(place) / NAME, frame)
    return frame


# --- Table ----------------------------------------------------------------------------------------


def weights_table(found: Sequence[Head]) -> pd.DataFrame:
    """Return the weights: columns model, task, layer, weight, spread, heads.

    ``weight`` is the mean over the task's heads (folds, seeds) and ``spread`` their sample standard
    deviation. What has no weights is told in ``attrs["notes"]``.

    Raises:
        ValueError: no head has weights, or two have different numbers of layers.
    """
    groups: dict[tuple[Any, ...], list[Head]] = {}
    for head in found:
        if head.weights is not None:
            groups.setdefault((*head.model, head.task), []).append(head)
    told = without_weights(found)
    if not groups:
        raise ValueError(
            f"no head has weights of layers ({'; '.join(told)}); score an upstream with several "
            "layers, and leave --upstream_layer_selection out"
        )
    for (*_, task), group in groups.items():
        _check_once(task, group)
    _check_layers([head for group in groups.values() for head in group])
    names = names_of(group[0] for group in groups.values())
    rows = []
    for (*model, task), group in groups.items():
        weights = np.stack([head.weights for head in group if head.weights is not None])  # (K, L)
        spread = weights.std(0, ddof=1) if len(group) > 1 else np.full(weights.shape[1], math.nan)
        for layer, weight in enumerate(weights.mean(0)):
            rows.append((names[tuple(model)], task, layer, weight, spread[layer], len(group)))
    order = roots.in_order({task for *_, task in groups})
    rows.sort(key=lambda row: (order.index(row[1]), row[0]))
    frame = pd.DataFrame(rows, columns=["model", "task", "layer", "weight", "spread", "heads"])
    frame.attrs["notes"] = told
    return frame


def markdown(frame: pd.DataFrame) -> str:
    """Return a row per task and model, a column per layer; scaled weights where there are any."""
    column = "scaled" if "scaled" in frame else "weight"
    layers = sorted(frame["layer"].unique())
    title = "weight times the layer's norm" if column == "scaled" else "weight"
    lines = [f"| {title} of layer | {' | '.join(map(str, layers))} |"]
    lines.append("| --- |" + " ---: |" * len(layers))
    several = frame["model"].nunique() > 1
    for (task, model), part in frame.groupby(["task", "model"], sort=False):
        name = superb_score.name_of(str(task))
        name += f" ({formats.markdown_text(str(model))})" if several else ""
        values = part.sort_values("layer")[column]
        cells = [f"{v:.3f}" if v < values.max() else f"**{v:.3f}**" for v in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    notes = map(formats.markdown_text, frame.attrs["notes"])
    return "\n".join([*lines, "", *notes]) + "\n"


def without_weights(found: Iterable[Head]) -> list[str]:
    """Say which tasks have no weights, and why: "KS, SID: fbank has a single layer"."""
    why: dict[str, dict[str, None]] = {}
    for head in found:
        if head.weights is None:
            why.setdefault(head.why, {})[superb_score.name_of(head.task)] = None
    return [f"{', '.join(names)}: {reason}" for reason, names in why.items()]


def _check_once(task: str, group: Sequence[Head]) -> None:
    """See that heads of a task are of different folds or seeds."""
    for seed, number in Counter(head.seed for head in group).items():
        if number > len(protocol.variants(tasks.header(task))):
            paths = " and ".join(str(head.path) for head in group if head.seed == seed)
            raise ValueError(
                f"{task} twice with seed {seed}: {paths}; give only one of them, or runs with "
                "different seeds"
            )


def _check_layers(found: list[Head]) -> None:
    first = found[0]
    for head in found:
        assert head.weights is not None and first.weights is not None
        if len(head.weights) != len(first.weights):
            raise ValueError(
                f"{first.path} has {len(first.weights)} layers, {head.path} {len(head.weights)}: "
                "upstreams of different size in one run; give a folder of one upstream"
            )


def names_of(found: Iterable[Head]) -> dict[tuple[str, str | None], str]:
    """Return short names of the upstreams: with their fingerprints where one name is of several."""
    models = {}
    for head in found:
        tuned = " fine-tuned" if head.finetuned else ""
        models[head.model] = model_names.of_model(head.upstream, head.ckpt) + tuned
    short = list(models.values())
    return {
        model: name if short.count(name) == 1 else f"{name} ({str(model[1])[:6]})"
        for model, name in models.items()
    }


# --- Scale ----------------------------------------------------------------------------------------


def mean_norms(features: LayerFeatures, waves: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean Euclidean norm of each layer's frames over some utterances, (L,) float64."""
    total, frames = np.zeros(features.layers), 0
    for wave in waves:
        layers = features.frames(wave).astype(np.float64)  # (L, T, D)
        total += np.linalg.norm(layers, axis=2).sum(1)
        frames += layers.shape[1]
    if not frames:
        raise ValueError("no audio to take norms over; give some with --audio")
    return total / frames


def scaled(
    frame: pd.DataFrame,
    found: Sequence[Head],
    audio: str | Path,
    ckpt: str | Path | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """Return a table with columns ``norm`` and ``scaled``: weight * norm, made to sum to 1.

    Up to 200 utterances of ``audio``, evenly spaced, are encoded by the upstream of each model.

    Raises:
        ValueError: no audio there, or no checkpoint, or another one than the heads listened to.
    """
    cuts = list(open_manifest(audio, min_seconds=0.1).cuts)
    cuts = cuts[:: math.ceil(len(cuts) / UTTERANCES)]
    weighted = [head for head in found if head.weights is not None]
    names = names_of(weighted)
    norms = {}
    for head in {head.model: head for head in weighted}.values():
        features = open_upstream(_checkpoint(head, ckpt), head.upstream, device)
        waves = Bar("encoding utterance", len(cuts)).over(map(load_wave, cuts))
        norms[names[head.model]] = mean_norms(features, waves)
        if head.normalized:  # of values with mean 0 and variance 1, whatever they were before
            norms[names[head.model]] = np.full(features.layers, math.sqrt(features.dim))
    frame = frame.copy()
    places = zip(frame.model, frame.layer, strict=True)
    frame["norm"] = [norms[model][layer] for model, layer in places]
    product = frame.weight * frame.norm
    frame["scaled"] = product / product.groupby([frame.model, frame.task]).transform("sum")
    frame.attrs["notes"] = [*frame.attrs["notes"], f"norms: mean over {len(cuts)} utterances"]
    return frame


def _checkpoint(head: Head, ckpt: str | Path | None) -> str | None:
    """Return where the checkpoint of a head's upstream is."""
    if head.finetuned:
        raise ValueError(
            f"{head.path}: the upstream was trained with this head, so that the checkpoint has "
            "other norms; leave --audio out"
        )
    if head.ckpt is None:
        return None
    path = python_file.of_user(str(ckpt)) if ckpt else head.ckpt
    there = cache.fingerprint_of(path)
    if there is None:
        raise ValueError(f"{path}: no such checkpoint; say with --ckpt where it is now")
    if there != head.fingerprint:
        raise ValueError(
            f"{path}: fingerprint {there}, but {head.path} listened to {head.fingerprint}; give "
            "that checkpoint with --ckpt"
        )
    return path


# --- Figure ---------------------------------------------------------------------------------------


def weights_heat_map(frame: pd.DataFrame) -> Any:
    """Return the heat map of a table: tasks by layers, scaled weights beside the raw ones."""
    several = frame.model.nunique() > 1
    labels = frame.task.map(superb_score.name_of) + (", " + frame.model if several else "")
    rows, layers = labels.drop_duplicates().tolist(), int(frame.layer.max()) + 1
    columns = [column for column in _TITLES if column in frame]
    shares = frame[columns].to_numpy()
    low, top = float(shares.min()), float(shares.max())
    rest, cells = 0.08 * max(map(len, rows)) + 1.0, max(_CELL * layers, 2.3)
    stacked = len(columns) * cells + rest > plots.WIDTH
    shape = (len(columns), 1) if stacked else (1, len(columns))
    width = min(cells + rest, plots.WIDTH) if stacked else cells + rest / len(columns)
    drawn, axes = plots.new(*shape, width, _ROW * max(len(rows), 5) + 1.2)
    for axis, column in zip(axes.flat, columns, strict=True):
        values = frame[column].to_numpy().reshape(len(rows), layers)
        plots.tidy(axis, _TITLES[column], "layer", "")
        image = plots.heat_map(axis, values, low, top, aspect="auto")
        plots.layer_ticks(axis.xaxis, layers)
        named = stacked or column == columns[0]
        axis.set_yticks(range(len(rows)) if named else [], rows if named else [])
        _write_values(axis, values, image)
    bar = drawn.colorbar(image, ax=axes, label="share of a row")
    bar.ax.axhline(1 / layers, color="white", lw=2)
    notes = ["layer 0: input of the first transformer layer; white line: all layers alike"]
    notes += frame.attrs.get("notes", [])
    lines = [line for note in notes for line in textwrap.wrap(note, int(15 * width * shape[1]))]
    drawn.supxlabel("\n".join(lines), fontsize=7)
    return drawn


def _write_values(axis: Any, values: np.ndarray, image: Any) -> None:
    """Write values (rows, L) into their cells, the largest of a row in bold."""
    shown = values.round(2)
    for row, layer in np.ndindex(values.shape):
        best = (shown[row] < shown[row, layer]).sum() == values.shape[1] - 1
        axis.text(
            layer,
            row,
            f"{shown[row, layer]:.2f}".lstrip("0"),
            ha="center",
            va="center",
            fontsize=7,
            color=plots.ink_on(image, float(values[row, layer])),
            fontweight="bold" if best else "normal",
        )
