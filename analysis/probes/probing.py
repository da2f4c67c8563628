"""`mt4ssl probe`: what every layer of a frozen encoder holds, as rows, figures and a table."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.abx.distances import DISTANCES
from analysis.abx.items import ItemFile, read_items
from analysis.labelled_speech import speech
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import (
    layer_features,
    layer_measures,
    layer_plots,
    probe_rows,
    probe_tasks,
    probe_training,
)
from analysis.probes.layer_features import LayerFeatures
from analysis.probes.probe_data import Kept, few_frames, frame_data, gather
from analysis.probes.probe_request import MINUTES, ProbeRequest, probe_names
from analysis.probes.probe_rows import Row
from analysis.probes.probe_tasks import PHONE, PROBES, ProbeTask
from analysis.records.score import ARROWS
from analysis.tables.formats import markdown_text, plain_csv
from mt4ssl_core.files import check_out, remove_leftovers, user_path, write_json, write_text
from mt4ssl_core.store.store import FeatureStore
from upstream.door import cache, hub
from upstream.door.cache import fingerprint_of

__all__ = ["MINUTES", "PROBES", "VERSION", "ProbeRequest", "probe", "score_layers"]
VERSION = 2  # of what a row says: goes up when the same speech is scored otherwise
RANKED = 4096  # frames that the effective rank is of
JSON, TABLE, MARKDOWN = "probe.json", "probe.csv", "table.md"


def score_layers(
    checkpoint: str | Path | None,
    utterances: Sequence[LabelledUtterance],
    probes: Sequence[str],
    seed: int = 0,
    minutes: float = MINUTES,
    upstream: str = "mt4ssl",
    store: FeatureStore | None = None,
    device: str = "auto",
    items: ItemFile | None = None,
) -> list[Row]:
    """Return the rows of some probes of every layer of a checkpoint (`run_probes`).

    ``items``: what ABX compares, instead of triphones of the alignments.

    Raises:
        ValueError: no such checkpoint or probe, or too little speech with its labels.
    """
    chosen, _ = probe_tasks.possible_probes(utterances, probes, minutes, items)
    features = layer_features.open_upstream(checkpoint, upstream, device, store)
    kept = gather(features, probe_tasks.means_of(chosen), probe_tasks.frames_of(chosen), show=False)
    return probe_training.run_probes(chosen, kept, features.layers, seed, show=False)


@dataclass(frozen=True)
class Probed:
    """What came of a command: the table, a last line on what was done, and why some was not."""

    table: str
    done: str
    failed: list[str]  # probes that were asked for: "name: reason"


def probe(asked: ProbeRequest) -> Probed:
    """Probe and measure every layer; write probe.json, probe.csv, table.md and figures to ``out``.

    A probe that is not possible does not stop the others, nor does a file that cannot be used.

    Raises:
        ValueError: no such checkpoint, upstream or probe, or data without labels for any probe.
    """
    asked = _of_user(asked)
    names = _checked(asked)
    notes: list[str] = []
    utterances = speech.read_speech(asked.data, asked.alignments, notes)
    items = None if asked.items is None else read_items(user_path(asked.items))
    chosen, lacking = probe_tasks.possible_probes(utterances, names, asked.minutes, items)
    probe_tasks.check_distance(asked.distance, chosen, lacking)
    failed: list[str] = lacking if names else []
    store = FeatureStore(asked.store_dir, asked.store_gb) if asked.store_dir else None
    features = layer_features.open_upstream(asked.ckpt, asked.upstream, asked.device, store)
    other = None if asked.compare is None else _other(asked, store)
    lost: dict[str, str] = {}
    sides = probe_tasks.means_of(chosen), probe_tasks.frames_of(chosen)
    kept = gather(features, *sides, left_out=lost)
    if lost:
        notes.append(f"{len(lost)} audio files are left out, first {next(iter(lost.values()))}")
        chosen, more = probe_tasks.without(chosen, lost)
        failed += more
    out, setting = user_path(asked.out), _told(asked, utterances)
    remove_leftovers(out)
    of_each = {key: value for key, value in setting.items() if key != "probes"}
    partial = _Partial(out, {"model": features.fingerprint, **of_each, "left_out": sorted(lost)})
    rows = probe_training.run_probes(
        chosen, kept, features.layers, asked.seed, known=partial.rows, keep=partial.keep,
        failed=failed, distance=asked.distance,
    )  # fmt: skip
    chosen = [task for task in chosen if any(row["measure"] == task.name for row in rows)]
    if not chosen:
        raise ValueError("no probe could be trained:\n  " + "\n  ".join(failed))
    matrices: list[dict[str, Any]] = []
    aligned = next((task for task in chosen if task.name == PHONE), None)
    if aligned is not None:
        measured, matrices, left_out = layer_measures.measure(
            frame_data(aligned.train, aligned.test, kept), asked.clusters, asked.seed
        )
        rows += measured
        notes += left_out
    whole = probe_tasks.frames_of(chosen)
    few = few_frames(whole or probe_tasks.means_of(chosen), kept, RANKED)
    rows += layer_measures.effective_ranks(few, "frames" if whole else "utterances")
    reasons = list(dict.fromkeys([*lacking, *failed]))
    notes = [*reasons, *notes]
    if other is not None:
        matrices.append(_cka(features.name, other, chosen, kept))
    found = _record(asked, setting, features, chosen, rows, matrices, notes)
    write_json(out / JSON, found)
    write_text(out / TABLE, plain_csv(pd.DataFrame(found["rows"])))
    layer_plots.write({features.name: found}, out)
    text = markdown_table(found)
    write_text(out / MARKDOWN, text)
    partial.path.unlink(missing_ok=True)
    used = {item.id for task in chosen for item in (*task.train, *task.test)}
    done = (
        f"{len(chosen)} of {len(chosen) + len(reasons)} probes done, on {len(used)} of "
        f"{len(utterances)} utterances: {out / JSON}, {out / TABLE} and figures beside them"
    )
    return Probed(text, done, failed)


def is_done(asked: ProbeRequest) -> bool:
    """Whether ``out`` holds the answer to what is asked, of the same file and speech."""
    found = _read(Path(asked.out) / JSON)
    if not asked.ckpt or found.get("fingerprint") != fingerprint_of(asked.ckpt):
        return False
    wanted = _told(asked, speech.read_speech(asked.data, asked.alignments, []))
    setting = found.get("setting")
    return isinstance(setting, dict) and {key: setting.get(key) for key in wanted} == wanted


def _checked(asked: ProbeRequest) -> list[str] | None:
    """Return the names of probes; refuse settings before anything is encoded."""
    if not 0 < asked.minutes < math.inf or asked.clusters < 2:
        raise ValueError(
            f"--minutes {asked.minutes}, --clusters {asked.clusters}: expected more than 0 and at "
            "least 2; correct them"
        )
    if asked.distance not in DISTANCES:
        raise ValueError(
            f"--distance {asked.distance}: unknown; choose from {', '.join(DISTANCES)}"
        )
    if not 0 <= asked.seed < 2**32:
        raise ValueError(f"--seed {asked.seed}: expected 0 to {2**32 - 1}; correct it")
    check_out(asked.out)
    return None if asked.probes is None else probe_names(asked.probes)


def _told(asked: ProbeRequest, utterances: Sequence[LabelledUtterance]) -> dict[str, Any]:
    """What decides the answer, but the checkpoint."""
    kept = ("upstream", "minutes", "clusters", "compare", "seed", "distance")
    return {
        "data": [Path(source).name for source in asked.data],
        "labels": speech.speech_fingerprint(utterances),
        **{key: getattr(asked, key) for key in kept},
        "probes": asked.probes and ",".join(sorted(probe_names(asked.probes))),
        "items": asked.items and cache.file_fingerprint(user_path(asked.items)),
        "version": VERSION,
    }


def _read(path: Path) -> dict[str, Any]:
    """An object in a file; an empty one where there is none, or the file is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Partial:
    """Rows of the probes that are trained, kept until all are: an interrupted command goes on."""

    def __init__(self, out: Path, key: dict[str, Any]) -> None:
        self.path, self.key = out / "probe.partial.json", key
        found = _read(self.path)
        same = found.get("key") == key and isinstance(found.get("rows"), dict)
        self.rows: dict[str, list[Row]] = found["rows"] if same else {}

    def keep(self, name: str, rows: list[Row]) -> None:
        """Add the rows of a probe."""
        self.rows[name] = [probe_rows.plain(row) for row in rows]
        write_json(self.path, {"key": self.key, "rows": self.rows})


def _of_user(asked: ProbeRequest) -> ProbeRequest:
    """Let encoders in Python files run, since the user has named them; find those of the hub."""
    upstream, ckpt = hub.named(asked.upstream, asked.ckpt)
    _, compare = hub.own("mt4ssl", asked.compare)
    return replace(asked, upstream=str(upstream), ckpt=ckpt, compare=compare)


def _other(asked: ProbeRequest, store: FeatureStore | None) -> LayerFeatures:
    """What ``compare`` names: a checkpoint, or an upstream, perhaps of the same checkpoint."""
    name = asked.compare or ""
    if cache.exists(name):
        return layer_features.open_upstream(name, "mt4ssl", asked.device, store)
    ckpt = asked.ckpt if name.startswith("mt4ssl") else None
    return layer_features.open_upstream(ckpt, name, asked.device, store)


def _cka(
    name: str, other: LayerFeatures, chosen: Sequence[ProbeTask], kept: Kept
) -> dict[str, Any]:
    """Layers of this model against those of another, on frames of the same utterances.

    Without utterances of which frames are kept, on means of utterances.
    """
    whole = probe_tasks.frames_of(chosen)
    pooled = [] if whole else probe_tasks.means_of(chosen)
    theirs = gather(other, pooled, whole)
    items = list({item.id: item for item in [*whole, *pooled]}.values())
    values = layer_measures.cka_between(kept.all_frames(items), theirs.all_frames(items))
    return {"measure": "cka", "first": name, "second": other.name, "values": values.tolist()}


def _record(
    asked: ProbeRequest,
    setting: dict[str, Any],
    features: LayerFeatures,
    chosen: Sequence[ProbeTask],
    rows: Sequence[Row],
    matrices: list[dict[str, Any]],
    notes: list[str],
) -> dict[str, Any]:
    sizes = {
        task.name: {
            side: {"utterances": len(items), "minutes": round(_minutes(items), 1)}
            for side, items in (("train", task.train), ("test", task.test))
        }
        for task in chosen
    }
    packages = ("torch", "numpy", "mt4ssl")
    return {
        "model": features.name,
        "checkpoint": asked.ckpt,
        "fingerprint": fingerprint_of(asked.ckpt) or features.fingerprint,
        "layers": features.layers,
        "dim": features.dim,
        "versions": {name: version(name) for name in packages},
        "setting": {**setting, "speech": sizes},
        "rows": [probe_rows.plain(row) for row in rows],
        "matrices": matrices,
        "notes": notes,
    }


def _minutes(items: Sequence[LabelledUtterance]) -> float:
    return sum(item.samples for item in items) / 960_000


def markdown_table(found: dict[str, Any]) -> str:
    """The rows of probe.json as Markdown: a line per measure, a column per layer.

    In bold: a probe's layer that was best on training data held out, the best of other scores.
    Probes have their baseline (the commonest label; for phone_ctc, saying nothing) and the control
    task's accuracy at that layer beside them.
    """
    rows = found["rows"]
    names = list(dict.fromkeys(row["measure"] for row in rows))
    head = ["measure", *(str(layer) for layer in range(found["layers"])), "baseline", "control"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name in names:
        part = sorted((row for row in rows if row["measure"] == name), key=lambda r: r["layer"])
        best = probe_rows.best_row(part)
        cells = {row["layer"]: probe_rows.table_value(row["value"]) for row in part}
        scored = best.get("unit") != probe_rows.DIRECTIONS
        bold = "**" if scored else ""
        cells[best["layer"]] = f"{bold}{cells[best['layer']]}{bold}"
        shown = [cells.get(layer, "-") for layer in range(found["layers"])]
        beside = [best.get("baseline"), best.get("control")]
        shown += ["-" if value is None else f"{value:.3f}" for value in beside]
        called = f"{name} {ARROWS[part[0]['direction']]}" if scored else name
        lines.append(f"| {called} | " + " | ".join(shown) + " |")
    title, notes = markdown_text(found["model"]), map(markdown_text, found["notes"])
    return "\n".join([f"{title}, layer by layer:", "", *lines, "", *notes]) + "\n"
