#!/usr/bin/env python
"""Do both targets converge faster than either? Models, seeds and real speech, piece by piece.

    python benchmarks/real_small.py prepare AUDIO WORK
    python benchmarks/real_convergence.py train WORK [--recipe CONFIG] [--set KEY=VALUE ...]
        [--seeds 3] [--only GROUP/seedK ...] [--jobs 2]
    python benchmarks/real_convergence.py score WORK [the same settings]
        [--measures probes wer heads] [--tuned-at UPDATE ...]
    python benchmarks/real_convergence.py show WORK [the same settings] [--tuned-at UPDATE ...]
        [--target METRIC=VALUE ...] [--add]

All models (MODELS) are trained by one recipe. Every command does what --only names and is not done
yet, so that several may run at once with other names, and an interrupted one goes on. ``show``
scores what is not scored yet, as ``score`` does, before it writes analysis/scores/convergence;
with ``--add`` the runs that are committed there stay, to which other ones are added.
Without a command only the plots and the table in docs/results.md are written, from those files.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.abx.items import read_items  # noqa: E402
from analysis.convergence import checkpoint_scores, comparison, study  # noqa: E402
from analysis.convergence.study import Planned  # noqa: E402
from analysis.labelled_speech.speech import read_speech, speech_fingerprint  # noqa: E402
from analysis.probes import probing  # noqa: E402
from analysis.records import training_runs  # noqa: E402
from analysis.records.training_runs import TrainingRun  # noqa: E402
from benchmarks import (  # noqa: E402
    convergence_page,
    convergence_record,
    ctc_real,
    pages,
    real_heads,
    real_superb,
)
from benchmarks.convergence_page import BOTH, CURVES, LINES, OFFLINE, SCORES  # noqa: E402
from benchmarks.ctc_starts import PRE_TRAINED, UNTRAINED, Start  # noqa: E402
from benchmarks.real_small import CLUSTERS, MINUTES, PROBED, SHORTEST, SYSTEMS  # noqa: E402
from benchmarks.real_small import PROBES as LINEAR  # noqa: E402
from mt4ssl_core import config  # noqa: E402
from mt4ssl_core.checkpoints.convert import load_encoder  # noqa: E402
from mt4ssl_core.command_line import guarded  # noqa: E402
from mt4ssl_core.data import tsv  # noqa: E402
from mt4ssl_core.files import read_json, write_json, write_text  # noqa: E402
from mt4ssl_core.finetuning.finetune import finetune  # noqa: E402
from mt4ssl_core.labelling.kmeans_fit import fit_corpus  # noqa: E402
from mt4ssl_core.labelling.kmeans_label import label_corpus  # noqa: E402
from mt4ssl_core.locks import lock  # noqa: E402
from mt4ssl_core.settings.config_files import find_config  # noqa: E402
from upstream.door import cache  # noqa: E402

RECIPE = SCORES / "recipe.yaml"
SECOND = "second_labels"
ALONE: dict[str, Any] = {  # data2vec's decay, layers and rate; see docs/results.md
    "offline": None, "optim": {"lr": 5e-4},
    "online": {"weight": 1.0, "top_k": 6, "ema_start": 0.999, "ema_end": 0.9999},
}  # fmt: skip
PAPER_MASKS = {"masking": {"prob": 0.65, "length": 10}}
MODELS: dict[str, dict[str, Any]] = {  # what each has of its own: sections of its config
    BOTH: {},
    OFFLINE: {"online": None},
    "online_only": ALONE,
    SECOND: {},  # both targets, with labels from a layer of BOTH
    f"{BOTH}_paper_masks": PAPER_MASKS,
    f"{OFFLINE}_paper_masks": {"online": None, **PAPER_MASKS},
    "online_only_paper_masks": {**ALONE, **PAPER_MASKS},
}
LABEL_LAYER, LABEL_SEED = 5, 1  # of the run of BOTH that second labels are from
PROBES = (*LINEAR, "abx_across")
WORD_SPEAKERS = 10  # of ABX
TUNED = {  # on AN4; see docs/results.md
    "optim.lr": "1e-3", "optim.head_lr": "1e-2", "encoder.freeze_extractor": "true",
}  # fmt: skip
TUNED_UPDATES = 300
HEAD = "ks"  # SUPERB's task with a head for every checkpoint
MEASURES = ("probes", "wer", "heads")
PATIENCE = 3600.0  # seconds for another process to make what both need
RATES = {"an4_wer": "wer", "an4_cer": "cer"}  # metric: name in decode.json


def plans(args: argparse.Namespace, write: bool = False) -> list[Planned]:
    """The runs that ``--only`` names, or all; seed after seed. ``write``: configs, if missing."""
    configs = [str(_config(args, name, write)) for name in MODELS]
    found = study.plan(configs, args.seeds, args.work / "runs", args.set)
    names = [item.name for item in found]
    if unknown := [name for name in args.only if name not in names]:
        raise ValueError(f"--only {unknown[0]}: no such run; choose from {', '.join(names)}")
    return [item for item in found if not args.only or item.name in args.only]


def _config(args: argparse.Namespace, model: str, write: bool) -> Path:
    """The config of a model, which has to be that of the recipe asked for."""
    path, prepared = args.work / "configs" / f"{model}.yaml", args.work / "pretrain"
    labels = _second_labels(args.work) if model == SECOND else prepared / "train.km"
    data = {"train": str(prepared / "train.tsv"), "labels": str(labels), "workers": 1}
    recipe = str(find_config(args.recipe).resolve())
    text = yaml.safe_dump({"extends": recipe, "data": data, **MODELS[model]})
    if not path.exists():
        if not write:
            raise ValueError(f"{path}: no such config; train first, which writes it")
        write_text(path, text)
    if path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path}: made of another recipe, other data or another model than now; give the "
            "--recipe of before, or another WORK"
        )
    return path


def train(args: argparse.Namespace) -> None:
    """Pre-train what is not done; the models with second labels last, which are made for them."""
    wanted = plans(args, write=True)
    for second in (False, True):
        part = [item for item in wanted if (item.group == SECOND) == second]
        if todo := [i for i in part if study.updates_done(i) < i.cfg.optim.max_updates]:
            if second:
                relabel(args)
            if failed := study.train_runs(part, todo, args.jobs):
                lines = [f"{name} failed: {why}" for name, why in failed.items()]
                raise ValueError("\n".join(lines))


def _second_labels(work: Path) -> Path:
    return work / SECOND / "train.km"


def relabel(args: argparse.Namespace) -> None:
    """Make labels from a layer of a run of BOTH, which has to be complete; one process does."""
    labels = _second_labels(args.work)
    with lock(labels.with_name(".lock"), f"making {labels}", PATIENCE):
        if not labels.exists():
            _relabel(args, labels)


def _relabel(args: argparse.Namespace, labels: Path) -> None:
    name = f"{BOTH}/seed{LABEL_SEED}"
    (source,) = plans(argparse.Namespace(**{**vars(args), "only": [name]}))
    if study.updates_done(source) < source.cfg.optim.max_updates:
        raise ValueError(f"{SECOND}: its labels are from {name}, which is not done; train it first")
    km, features = labels.with_name("km.safetensors"), f"ckpt:{source.folder / 'last.pt'}"
    listed = args.work / "pretrain" / "train.tsv"
    fit_corpus(listed, km, features=f"{features}:{LABEL_LAYER}", k=CLUSTERS, min_seconds=SHORTEST)
    label_corpus(km, listed, labels.parent, min_seconds=SHORTEST)


# ---- Scores


def runs_of(args: argparse.Namespace) -> list[TrainingRun]:
    """The runs of `plans` that have begun."""
    begun = [p for p in plans(args) if (p.folder / training_runs.LOG).exists()]
    if not begun:
        raise ValueError(f"{args.work}: none of the runs has begun; train them first")
    return training_runs.find_runs([p.folder for p in begun], [p.group for p in begun])[0]


def score(args: argparse.Namespace) -> None:
    """Probe the checkpoints, fine-tune them on AN4 and train SUPERB's head for keywords, as
    `real_heads` does; what is done is kept beside them.
    """
    runs = runs_of(args)
    if "probes" in args.measures:
        speech, items = read_speech(_sources(args.work)), read_items(word_items(args.work))
        checkpoint_scores.probed(runs, speech, PROBES, minutes=MINUTES, items=items)
    if "wer" in args.measures:
        recognition(runs, args)
    if "heads" in args.measures:
        heads(runs, args.work)


def heads(runs: Sequence[TrainingRun], work: Path) -> None:
    """Train and test a head for every checkpoint, which `checkpoint_scores.superb` then reads.

    Raises:
        ValueError: one that failed.
    """
    roots, heard = work / "corpora" / "roots.yaml", work / "heard.tsv"
    with lock(roots.parent / ".lock", f"laying out {roots.parent}", PATIENCE):
        if not roots.exists():
            real_superb.lay_out(tsv.read_root(heard), roots.parent)
    settings = [f"{HEAD}:{key}={value}" for key, value in real_heads.changes(HEAD).items()]
    if failed := checkpoint_scores.run_superb(
        runs, HEAD, str(roots), settings, allow_partial=True, executor="inline", device="cpu"
    ):
        raise ValueError("\n".join(failed))


def fingerprints(work: Path) -> dict[str, str]:
    """Of the MFCC clusters that are learned from, and of what is probed and compared."""
    return {
        "labels": read_json(work / "pretrain" / "train.stats.json")["km_sha256"],
        "speech": speech_fingerprint(read_speech(_sources(work))),
        "items": cache.file_fingerprint(word_items(work)),
    }


def _sources(work: Path) -> list[str]:
    return [str(work / "test" / name) for name in PROBED]


def word_items(work: Path) -> Path:
    """Write what ABX compares: whole keywords, of the test speakers who say most of them."""
    path = work / "words.item"
    table = pd.read_csv(work / "test" / PROBED[-1] / "index.csv", dtype=str)
    table = table[table["split"] == "test"]
    said = table.groupby("speaker").size().sort_values(ascending=False, kind="stable")
    lines = ["#file onset offset #phone prev-phone next-phone speaker"]
    for row in table[table["speaker"].isin(said.index[:WORD_SPEAKERS])].to_dict("records"):
        name, word = "/".join(Path(row["path"]).with_suffix("").parts[-2:]), row["label"]
        seconds = int(row["num_samples"]) / 16_000
        lines.append(f"{name} 0 {seconds:.4f} {word} SIL SIL {row['speaker']}")
    write_text(path, "\n".join(lines) + "\n")
    return path


def recognition(runs: Sequence[TrainingRun], args: argparse.Namespace) -> pd.DataFrame:
    """Error rates of AN4's test after a short fine-tuning of each checkpoint, or those asked for;
    as a table that `mt4ssl convergence --scores` reads.
    """
    rows = []
    for run in runs:
        for update, ckpt in run.checkpoints.items():
            if args.tuned_at and update not in args.tuned_at:
                continue
            start = Start(f"{run.group}_{update}", PRE_TRAINED, ckpt, TUNED)
            for metric, rate in recognised(start, args.work, run.seed or 0).items():
                rows.append((run.name, update, metric, rate, "fraction", "min"))
    return pd.DataFrame(rows, columns=["run", "update", "metric", "value", "unit", "direction"])


def recognised(start: Start, work: Path, seed: int) -> dict[str, float]:
    """{metric: error rate} of a start that is fine-tuned, unless it was before."""
    folder = work / "recognition" / "an4"
    with lock(folder / ".lock", f"preparing {folder}", PATIENCE):
        if not (folder / "test.csv").exists():
            ctc_real.prepare(work / "test", folder.parent, "an4")
    out = start.piece(folder, seed, TUNED_UPDATES)
    done = out / "greedy" / "decode.json"
    if not done.exists():
        cfg = start.settings(folder, seed, TUNED_UPDATES, out)
        cfg.run.validate_every = cfg.run.save_every = TUNED_UPDATES
        finetune(cfg)
        ctc_real.score(folder, out, None, ["greedy"])
        for weights in out.glob("*.pt"):
            weights.unlink()
    found = read_json(done)
    return {metric: found[name]["rate"] for metric, name in RATES.items()}


def references(args: argparse.Namespace, ckpt: Path) -> dict[str, dict[str, float]]:
    """What an untrained copy of a checkpoint and filter banks score, at their best layer; kept in
    WORK/references.json while encoder, probes and speech are the same.
    """
    speech, items = read_speech(_sources(args.work)), read_items(word_items(args.work))
    key = {
        "encoder": config.to_dict(load_encoder(ckpt).cfg), "probes": PROBES, "minutes": MINUTES,
        "speech": speech_fingerprint(speech), "items": cache.file_fingerprint(items.path),
        "version": probing.VERSION, "rate": TUNED["optim.lr"], "updates": TUNED_UPDATES,
    }  # fmt: skip
    key = json.loads(json.dumps(key))  # as it is read again
    kept = args.work / "references.json"
    known = read_json(kept) if kept.exists() else {}
    found: dict[str, dict[str, float]] = known["scores"] if known.get("key") == key else {}
    if found:
        return found
    for name in LINES:
        own = ckpt if name == "untrained" else None
        rows = probing.score_layers(
            own, speech, PROBES, minutes=MINUTES, upstream=SYSTEMS[name], items=items
        )
        found[name] = {row["measure"]: row["value"] for row in rows if row["chosen"]}
    untrained = Start(UNTRAINED, UNTRAINED, ckpt, {"optim.lr": TUNED["optim.lr"]})
    found["untrained"] |= recognised(untrained, args.work, 1)
    write_json(kept, {"key": key, "scores": found})
    return found


def show(args: argparse.Namespace) -> None:
    """Compare all runs that have begun, scored where they are not yet; keep what docs/results.md
    shows.
    """
    runs, out, shown = runs_of(args), args.work / "compared", SCORES / "results.json"
    if args.add:
        convergence_record.check_names(read_json(shown), [run.name for run in runs])
    scores = out.with_suffix(".csv")
    write_text(scores, recognition(runs, args).to_csv(index=False))
    scoring = comparison.Scoring(
        probe_data=_sources(args.work), probes=",".join(PROBES), probe_minutes=MINUTES,
        items=str(word_items(args.work)), scores=str(scores), target=args.target,
    )  # fmt: skip
    groups = [run.group for run in runs]
    print(comparison.compare([run.folder for run in runs], out, groups, scoring))
    record = read_json(out / comparison.JSON)
    for run in record["runs"]:
        del run["folder"]  # of this machine
    record["notes"] = [note.replace(f"{args.work}/", "") for note in record["notes"]]
    record["setting"] |= {
        "word_speakers": WORD_SPEAKERS, "tuning": {"optim.max_updates": TUNED_UPDATES, **TUNED},
        "heads": {HEAD: real_heads.changes(HEAD)}, "fingerprints": fingerprints(args.work),
    }  # fmt: skip
    record, curves = json.loads(json.dumps(record)), pd.read_csv(out / f"{CURVES}.csv")
    drawn = SCORES / f"{CURVES}.csv"
    if args.add:
        record = convergence_record.joined(read_json(shown), record)
        curves = convergence_record.joined_curves(pd.read_csv(drawn), curves)
    else:
        record["references"] = references(args, runs[0].checkpoints[max(runs[0].checkpoints)])
    write_json(shown, record)
    write_text(drawn, curves.to_csv(index=False))


def main() -> None:
    """Train, score or show; then draw, and put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command")
    for name in ("train", "score", "show"):
        one = commands.add_parser(name)
        one.add_argument("work", type=Path)
        one.add_argument("--recipe", default=str(RECIPE), help="a config of pre-training")
        one.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
        one.add_argument("--seeds", type=int, default=3)
        one.add_argument("--only", nargs="+", default=[], metavar="GROUP/seedK")
        if name == "train":
            one.add_argument("--jobs", type=int, default=1, help="runs at the same time")
        else:
            one.add_argument("--tuned-at", type=int, nargs="+", help="default: all checkpoints")
        if name == "score":
            one.add_argument("--measures", nargs="+", choices=MEASURES, default=MEASURES[:2])
        if name == "show":
            one.add_argument("--target", nargs="+", default=[], metavar="METRIC=VALUE")
            one.add_argument("--add", action="store_true", help="to the runs that are committed")
    args = parser.parse_args()
    if args.command:
        args.work = args.work.resolve()
        {"train": train, "score": score, "show": show}[args.command](args)
    if args.command in (None, "show"):
        convergence_page.draw()
        pages.show("convergence", convergence_page.table())


if __name__ == "__main__":
    sys.exit(guarded("real_convergence", main))
