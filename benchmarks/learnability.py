#!/usr/bin/env python
"""Can every task of mini_superb be learned, and is it no giveaway? Filter banks against a constant.

    python benchmarks/learnability.py [--machine NAME] [--work runs/learnability] [--tables-only]

Each task is trained and tested once with its ``learn:`` settings (downstream_configs/TASK.yaml) on
filter banks: s3prl's ``fbank``, without its CMVN where the head takes the mean over time. Beside
the result stands what can be had without listening: the most frequent class, the best constant
output (of all the test references themselves), one speaker speaking all the time, the unprocessed
mixture. The settings were tried out on these corpora, so the figures say that the labels can be
learned, and nothing about filter banks.
"""

import argparse
import csv
import json
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import editdistance
import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import mini_superb  # noqa: E402
from analysis.records import score  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from upstream.corpora.rttm import read_rttm  # noqa: E402
from upstream.door import tasks  # noqa: E402
from upstream.scores import diarization  # noqa: E402
from upstream.suite import roots  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"

Baseline = Callable[[Path, dict[str, Any]], float]  # (experiments of the task, config) -> value


def majority(folder: Path, config: dict[str, Any]) -> float:
    """Share of the most frequent class of the test split; the mean over folds."""
    shares = []
    for path in sorted(folder.rglob("test*_truth.*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        labels = Counter(line.replace(",", " ").split(maxsplit=1)[1] for line in lines)
        shares.append(max(labels.values()) / len(lines))
    return float(np.mean(shares))


def references(folder: Path) -> list[str]:
    """The test transcripts that s3prl has written beside the hypotheses."""
    path = next(p for p in sorted(folder.rglob("test*-ref.ark")) if "-LM-" not in p.name)
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[2] for line in lines]


def constant_errors(unit: Callable[[str], Sequence[str]], scale: float) -> Baseline:
    """Error rate of the constant output, of nothing and all references, that errs least."""

    def baseline(folder: Path, config: dict[str, Any]) -> float:
        texts = [unit(text) for text in references(folder)]
        total = sum(map(len, texts))
        candidates: Iterable[Sequence[str]] = [(), *texts]
        errors = [sum(editdistance.eval(c, text) for text in texts) for c in candidates]
        return scale * min(errors) / total

    return baseline


def constant_slots(name: str, best: Callable[[Iterable[float]], float]) -> Baseline:
    """One of s3prl's slot metrics for the reference that does best as constant output."""

    def baseline(folder: Path, config: dict[str, Any]) -> float:
        from s3prl.metric import slot_filling

        texts, metric = references(folder), getattr(slot_filling, name)
        return best(float(metric([text] * len(texts), texts)) for text in texts)

    return baseline


def constant_bleu(folder: Path, config: dict[str, Any]) -> float:
    """BLEU of the reference sentence that does best as constant output."""
    import sacrebleu

    path = next(folder.rglob("output-st-test.tsv"))
    with open(path, newline="", encoding="utf-8") as file:
        texts = [row["ref"] for row in csv.DictReader(file, delimiter="\t")]
    return max(sacrebleu.corpus_bleu([t] * len(texts), [texts]).score for t in sorted(set(texts)))


def one_speaker_always(folder: Path, config: dict[str, Any]) -> float:
    """DER of the answer that one person speaks from beginning to end."""
    test, total = Path(config["downstream_expert"]["loaderrc"]["test_dir"]), diarization.NONE
    durations = dict(line.split() for line in (test / "reco2dur").read_text().splitlines())
    for recording, turns in read_rttm(test / "rttm").items():
        total += diarization.errors(turns, [("one", 0.0, float(durations[recording]))])
    return total.rate


def noisy_pesq(folder: Path, config: dict[str, Any]) -> float:
    """PESQ of the noisy test recordings as they are."""
    from upstream.compat._separation_metrics import pesq

    test = Path(config["downstream_expert"]["loaderrc"]["test_dir"])
    scp = {
        kind: dict(line.split() for line in (test / kind / "wav.scp").read_text().splitlines())
        for kind in ("noisy", "clean")
    }
    values = []
    for name, path in scp["clean"].items():
        clean, rate = soundfile.read(path)
        values.append(pesq(clean, soundfile.read(scp["noisy"][name])[0], rate))
    return float(np.mean(values))


def unconverted(folder: Path, config: dict[str, Any]) -> float:
    """MCD of the source speakers' recordings as they are; the mean over target speakers."""
    from upstream.scores import vc

    values = []
    for target in config["superb"]["variants"]["values"]:
        config["downstream_expert"]["trgspk"] = target
        values.append(vc.unconverted(config)["mcd"])
    return float(np.mean(values))


CLASS = "most frequent class"
BASELINES: dict[tuple[str, str], tuple[str, Baseline]] = {
    ("pr", "per"): ("best constant output", constant_errors(str.split, 1.0)),
    ("asr", "wer"): ("best constant output", constant_errors(str.split, 100.0)),
    ("ks", "acc"): (CLASS, majority),
    ("qbe", "mtwv"): ("nothing found", lambda *_: 0.0),
    ("sid", "acc"): (CLASS, majority),
    ("asv", "eer"): ("45 %, a little below chance", lambda *_: 0.45),
    ("sd", "der"): ("one speaker, always", one_speaker_always),
    ("ic", "acc"): (CLASS, majority),
    ("sf", "slot_type_f1"): ("best constant output", constant_slots("slot_type_f1", max)),
    ("sf", "slot_value_cer"): ("best constant output", constant_slots("slot_value_cer", min)),
    ("er", "acc"): (CLASS, majority),
    ("se", "pesq"): ("the noisy recording", noisy_pesq),
    ("ss", "si_sdri"): ("the mixture", lambda *_: 0.0),
    ("st", "bleu"): ("best constant sentence", constant_bleu),
    ("vc", "mcd_griffinlim"): ("the source speaker", unconverted),
    ("ood", "wer"): ("best constant output", constant_errors(str.split, 1.0)),
}


def run(upstream: str, names: Sequence[str], corpora: Path, out: Path) -> None:
    """Train and test the tasks with their ``learn:`` settings, through `mt4ssl superb run`."""
    words = [sys.executable, "-m", "mt4ssl_cli", "superb", "run", "--upstream", upstream]
    words += ["--tasks", ",".join(names), "--roots", str(corpora / "roots.yaml")]
    words += ["--out", str(out), "--device", "cpu", "--jobs", "2"]
    words += ["--store", "frames", "--store-precision", "fp32", "--set"]
    for name in names:
        words += [f"{name}:{key}={value!r}" for key, value in tasks.header(name)["learn"].items()]
    subprocess.run(words, check=True, cwd=ROOT)


def measure(work: Path, machine: str) -> Path:
    """Make the corpora, run every task, write benchmarks/results/learnability_MACHINE.json."""
    corpora = (work / "mini_superb").absolute()
    started = time.perf_counter()
    made = mini_superb.make(corpora, [name for name in mini_superb.TASKS if name != "pretrain"])
    seconds = round(time.perf_counter() - started, 1)
    names = roots.in_order(tasks.names())
    pooled = [name for name in names if tasks.header(name)["pooled"]]
    rows: list[dict[str, Any]] = []
    for upstream, some in (
        ("fbank_no_cmvn", pooled),
        ("fbank", [n for n in names if n not in pooled]),
    ):
        out = (work / upstream).absolute()
        run(upstream, some, corpora, out)
        records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        rows += [row(out, r, made[r["task"]]["root"]) for r in records if _key(r) in BASELINES]
    rows.sort(key=lambda r: names.index(r["task"]))
    path = RESULTS / f"learnability_{machine}.json"
    old = json.loads(path.read_text())["setting"] if path.exists() else {}
    setting = {
        "corpora": "mini_superb, default size, seed 0 (synthesised)",
        "seconds to make them": old["seconds to make them"] if seconds < 5 and old else seconds,
        "head": "learn: of downstream_configs/TASK.yaml, one seed",
        "jobs": 2,
    }
    names_of = ("torch", "s3prl", "numpy")
    record = {
        "machine": machine,
        "versions": {n: version(n) for n in names_of} | {"python": platform.python_version()},
        "setting": setting,
        "rows": rows,
    }
    write_json(path, record)
    return path


def _key(record: dict[str, Any]) -> tuple[str, str]:
    return record["task"], record["metric"] if record["stage"] == "test" else ""


def row(out: Path, record: dict[str, Any], root: Path) -> dict[str, Any]:
    """A result beside what can be had without listening."""
    task = record["task"]
    config = tasks.read(tasks.path_of(task))
    for key, path in tasks.paths_under(config["superb"], root).items():
        section = tasks.get(config, key.rpartition(".")[0])
        section[key.rpartition(".")[2]] = path
    what, baseline = BASELINES[_key(record)]
    floor, value = baseline(out / task, config), record["value"]
    keys = ("task", "metric", "value", "unit", "direction", "upstream", "train_seconds", "variants")
    better = value > floor if record["direction"] == "max" else value < floor
    return {key: record[key] for key in keys} | {
        "baseline": floor,
        "baseline_is": what,
        "better": bool(better),
    }


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    (path,) = sorted(RESULTS.glob("learnability_*.json"))[:1]
    record = json.loads(path.read_text())
    lines = [
        "| task | metric | filter banks | without listening | which is | trained in |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in record["rows"]:
        value, floor = (f"{x:.3g}" for x in (r["value"], r["baseline"]))
        arrow = score.ARROWS[r["direction"]]
        minutes = "-" if not r["train_seconds"] else f"{r['train_seconds'] / 60:.1f} min"
        lines.append(
            f"| {r['task']} | {r['metric']} ({r['unit']}) {arrow} | {value} | {floor} | "
            f"{r['baseline_is']} | {minutes} |"
        )
    setting = record["setting"]
    return "\n".join(lines) + (
        f"\n\n`benchmarks/learnability.py` on {record['machine']}, two jobs at a time, one seed; "
        f"making the corpora took {setting['seconds to make them']:.0f} s. "
        f"{'Minutes are upper bounds: the machine had other work. ' if 'busy' in setting else ''}"
        "er and vc: means over five folds and four "
        "target speakers. Settings were tried out on these corpora: the table says that the labels "
        "can be learned, nothing about filter banks."
    )


def main() -> None:
    """Measure, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--work", type=Path, default=Path("runs/learnability"))
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args()
    if not args.tables_only:
        print(measure(args.work, args.machine))
    pages.show("learnability", table())


if __name__ == "__main__":
    main()
