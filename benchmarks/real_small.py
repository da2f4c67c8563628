#!/usr/bin/env python
"""A small model on real speech: who is heard, and what its layers hold for speakers who are not.

    python benchmarks/real_small.py prepare AUDIO WORK
    mt4ssl pretrain mel_small data.train=WORK/pretrain/train.tsv \\
        data.labels=WORK/pretrain/train.km optim.max_updates=4000 run.out=WORK/first
    mt4ssl kmeans fit WORK/pretrain/train.tsv WORK/hidden.safetensors \\
        --features ckpt:WORK/first/last.pt:5 --clusters 100
    mt4ssl kmeans label WORK/hidden.safetensors WORK/pretrain/train.tsv WORK/second
    mt4ssl pretrain small data.train=WORK/pretrain/train.tsv \\
        data.labels=WORK/second/train.km run.out=WORK/small
    python benchmarks/real_small.py score WORK WORK/small/last.pt [--on dev]

AUDIO holds folders with an index.csv each (columns path, num_samples, speaker, split, label,
phones). Never heard in pre-training are the speakers of every test and validation split, and a
tenth of the training speakers: settings are chosen on these (``--on dev``), never on the former.
"""

import argparse
import json
import platform
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.labelled_speech.speech import read_speech  # noqa: E402
from analysis.probes import layer_features, probe_tasks, probe_training, splits  # noqa: E402
from analysis.probes.probe_data import gather  # noqa: E402
from analysis.records.score import ARROWS  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.checkpoints import checkpoint  # noqa: E402
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint  # noqa: E402
from mt4ssl_core.data import tsv  # noqa: E402
from mt4ssl_core.files import write_json, write_text  # noqa: E402
from mt4ssl_core.labelling.kmeans_fit import fit_corpus  # noqa: E402
from mt4ssl_core.labelling.kmeans_label import label_corpus  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "real_small.json"
SEARCH = RESULTS.with_name("real_small_search.json")
PROBED = ("speechocean762", "an4", "speech_commands_12")
PROBES = ("phone_ctc", "keyword", "speaker")
SYSTEMS = {
    "mt4ssl": "mt4ssl",
    "untrained": "mt4ssl_untrained",
    "filter banks, CMVN": "fbank",
    "filter banks, no CMVN": "fbank_no_cmvn",
}
OURS = ("mt4ssl", "untrained")
SEEDS = (1, 2, 3)
DEV_SHARE, CLUSTERS, MINUTES, SHORTEST = 0.1, 100, 10.0, 0.5


def split_of(row: Mapping[Hashable, str], folder: str) -> str:
    """Return train, dev or test."""
    if "train" not in row["split"]:
        return "test"
    return "dev" if splits.drawn(f"dev {folder}/{row['speaker']}", DEV_SHARE) else "train"


def prepare(audio: Path, work: Path) -> None:
    """Write lists, tables for the probes and labels of what is pre-trained on, below ``work``."""
    heard: list[tsv.TsvRow] = []
    excluded: list[str] = []
    for index in sorted(audio.resolve().glob("*/index.csv")):
        folder = index.parent.name
        table = pd.read_csv(index, dtype=str, keep_default_na=False)
        table["split"] = [split_of(row, folder) for row in table.to_dict("records")]
        table["path"] = [str(index.parent / path) for path in table["path"]]
        kept = set(table.loc[table["split"] == "train", "speaker"]) - set(
            table.loc[table["split"] != "train", "speaker"]
        )
        mine = table[table["speaker"].isin(kept)]
        excluded += sorted({f"{folder}/{s}" for s in table["speaker"] if s not in kept})
        for path, size in zip(mine["path"], mine["num_samples"], strict=True):
            heard.append(
                tsv.TsvRow(str(Path(path).relative_to(audio.resolve())), Path(path), int(size))
            )
        if folder in PROBED:
            for name in ("dev", "test"):
                rows = table[table["split"].isin([name]) | table["speaker"].isin(kept)]
                rows = rows.assign(split=rows["split"].replace("dev", "test"))
                target = work / name / folder / "index.csv"
                target.parent.mkdir(parents=True, exist_ok=True)
                rows.to_csv(target, index=False)
    write_text(work / "excluded_speakers.txt", "".join(f"{name}\n" for name in excluded))
    tsv.write_tsv(work / "heard.tsv", audio.resolve(), heard)
    km = work / "km.safetensors"
    fit_corpus(work / "heard.tsv", km, k=CLUSTERS, min_seconds=SHORTEST)
    label_corpus(km, work / "heard.tsv", work / "pretrain", min_seconds=SHORTEST)


def score(
    work: Path,
    ckpt: Path,
    on: str,
    systems: Iterable[str],
    probes: Sequence[str],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Return what every layer of some systems scores in the probes, on speakers never heard."""
    speech = read_speech([work / on / name for name in PROBED])
    chosen, _ = probe_tasks.possible_probes(speech, probes, MINUTES)
    rows: list[dict[str, Any]] = []
    for system in systems:
        upstream = SYSTEMS[system]
        own = ckpt if upstream.startswith("mt4ssl") else None
        features = layer_features.open_upstream(own, upstream, "cpu")
        kept = gather(features, probe_tasks.means_of(chosen), probe_tasks.frames_of(chosen))
        for seed in seeds:
            found = probe_training.run_probes(chosen, kept, features.layers, seed, show=False)
            rows += [{"system": system, "seed": seed, **row} for row in found]
            for row in found:
                if row["chosen"]:
                    print(system, seed, row["measure"], row["layer"], row["value"], flush=True)
    return rows


def keep(out: Path, setting: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the rows, in place of those of the same setting that were there."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["system"], row["measure"], row["seed"]

    known = json.loads(out.read_text()) if out.exists() else {}
    if known.get("setting") != setting:
        known = {}
    new = set(map(key, rows))
    rows = [row for row in known.get("rows", []) if key(row) not in new] + rows
    about = {"setting": setting, "machine": platform.machine()}
    write_json(out, {**known, **about, "rows": rows})


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    record = json.loads(RESULTS.read_text())
    rows = pd.DataFrame(record["rows"])
    chosen = rows[rows["chosen"]]
    signs = chosen.groupby("measure")["direction"].first()
    heads = [f"{name} {ARROWS[signs[name]]}" for name in PROBES]
    lines = [pages.line(["system", *heads]), "| --- |" + " ---: |" * len(heads)]
    for system in SYSTEMS:
        cells = [system]
        for name in PROBES:
            found = chosen[(chosen["system"] == system) & (chosen["measure"] == name)]
            low, high = found["low"].min(), found["high"].max()
            layers = sorted(set(found["layer"]))
            where = f", layer {', '.join(map(str, layers))}" if system in OURS else ""
            cells.append(f"{found['value'].mean():.3f} ({low:.3f}-{high:.3f}){where}")
        lines.append(pages.line(cells))
    return "\n".join([*lines, "", _told(record["setting"], rows["seed"].nunique())])


def _told(setting: dict[str, Any], seeds: int) -> str:
    return (
        "Speakers that neither pre-training nor a probe heard (`speaker`: other utterances of "
        f"speakers that pre-training did not hear); {setting['minutes']:g} minutes to train a "
        f"probe on; seeds of the probe: {seeds} (those of keywords and speakers agree: it has one "
        "optimum); in brackets, from the lowest to the highest end of the seeds' bootstrap "
        "intervals over speakers; the layer is chosen on training data held out. "
        f"{setting['updates']} updates, {setting['audio_hours']:.1f} h heard of "
        f"{setting['train_hours']:.2f} h."
    )


def search_table() -> str:
    """The table of settings that were tried, from the committed JSON."""
    lines = [
        pages.line(["model", "tried", "updates", "masked accuracy ↑", "rank, first", "rank, last"]),
        "| --- | --- |" + " ---: |" * 4,
    ]
    for row in json.loads(SEARCH.read_text())["rows"]:
        ranks = row["ranks"] or ["-"]
        cells = [row["group"], row["what"], row["updates"], f"{row['masked_accuracy']:.3f}"]
        lines.append(pages.line([str(cell) for cell in [*cells, ranks[0], ranks[-1]]]))
    return "\n".join(lines)


def _about(work: Path, ckpt: Path) -> dict[str, Any]:
    """What a row's checkpoint is, and what it was trained on."""
    progress = checkpoint.load(ckpt)["progress"]
    return {
        "updates": progress["update"],
        "audio_hours": progress["audio_hours"],
        "train_hours": json.loads((work / "pretrain" / "train.stats.json").read_text())["hours"],
        "checkpoint": checkpoint_fingerprint(ckpt),
    }


def main() -> None:
    """Prepare, or score, write the rows and put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("audio", type=Path)
    first.add_argument("work", type=Path)
    second = commands.add_parser("score")
    second.add_argument("work", type=Path)
    second.add_argument("ckpt", type=Path)
    second.add_argument("--on", choices=("dev", "test"), default="test")
    second.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    second.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    second.add_argument("--probes", nargs="+", default=list(PROBES), choices=PROBES)
    second.add_argument("--out", type=Path, default=RESULTS)
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "prepare":
        prepare(args.audio, args.work)
    elif args.command == "score":
        setting = {"on": args.on, "minutes": MINUTES, **_about(args.work, args.ckpt)}
        rows = score(args.work, args.ckpt, args.on, args.systems, args.probes, args.seeds)
        keep(args.out, setting, rows)
    else:
        pages.show("real-small", table())
        pages.show("real-small-search", search_table())


if __name__ == "__main__":
    main()
