#!/usr/bin/env python
"""Keyword spotting on real speech: a part of Speech Commands, laid out as the real corpus.

    python benchmarks/real_keywords.py DATA CKPT [--machine NAME]

DATA has an index.csv with the columns path, label, speaker, split (training, validation, testing:
the corpus's own). Its keywords are those of SUPERB's ten that it has; every other word is
_unknown_, and _silence_ is cut from noise that we make. Test clips are those of the corpus's
testing split, which here has no keywords, and of half of its validation speakers; the other half is
s3prl's dev set.
"""

import argparse
import csv
import hashlib
import json
import platform
import shutil
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import demo  # noqa: E402
from analysis.tables import results_page  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
KEYWORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
HEAD = {
    "runner.total_steps": 500,
    "runner.eval_step": 250,
    "runner.save_step": 250,
    "optimizer.lr": 5e-3,
    "downstream_expert.datarc.num_workers": 0,
}
SILENCE_CLIPS = 64  # in the test set
SEEDS = 3


def lay_out(data: Path, out: Path) -> dict[str, int]:
    """Write the corpus as Speech Commands v0.01 and its test set; returns test clips per class."""
    train, test = out / "speech_commands_v0.01", out / "speech_commands_test_set_v0.01"
    with open(data / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unknown = 0
    for row in rows:
        second_half = hashlib.sha1(f"test {row['speaker']}".encode()).digest()[0] < 128
        is_test = row["split"] == "testing" or (row["split"] == "validation" and second_half)
        word = row["label"]
        folder = train / word
        if is_test:
            folder = test / (word if word in KEYWORDS else "_unknown_")
            unknown += word not in KEYWORDS
            if word not in KEYWORDS and unknown % 10:
                continue  # a tenth of the unknown words: classes of similar size
        name = f"{word}_{Path(row['path']).stem}" if is_test else Path(row["path"]).stem
        target = folder / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, load_wave(data / row["path"]), SAMPLE_RATE)
    rng = np.random.default_rng(0)
    for place, seconds, count in (
        (train / "_background_noise_", 60, 4),
        (test / "_silence_", 1, SILENCE_CLIPS),
    ):
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            soundfile.write(place / f"noise_{i:03d}.wav", noise(seconds, rng), SAMPLE_RATE)
    return dict(Counter(path.parent.name for path in test.rglob("*.wav")))


def noise(seconds: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls with a random power of the frequency, at a random level."""
    spectrum = np.fft.rfft(rng.standard_normal(seconds * SAMPLE_RATE))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0.0, 1.0)
    wave = np.fft.irfft(spectrum)
    return wave / np.abs(wave).max() * rng.uniform(0.02, 0.5)


def measure(data: Path, ckpt: Path, machine: str, work: Path) -> Path:
    """Train and test the heads; write benchmarks/results/real_keywords_MACHINE.json."""
    from upstream.heads import runner

    if not (work / "counts.json").exists():
        shutil.rmtree(work, ignore_errors=True)
        write_json(work / "counts.json", lay_out(data, work / "corpus"))
    counts: dict[str, int] = json.loads((work / "counts.json").read_text())
    rows: list[dict[str, Any]] = []
    for system, upstream in demo.SYSTEMS.items():
        for seed in range(1, SEEDS + 1):
            expdir = work / "runs" / f"{upstream}_{seed}"
            own = ckpt if upstream.startswith("mt4ssl") else None
            if not demo.is_done(expdir, upstream, ckpt, HEAD):
                runner.run(
                    "ks", upstream, expdir, ckpt=own, root=work / "corpus", overrides=HEAD,
                    seed=seed, device="cpu",
                )  # fmt: skip
            value = float(results_page.load([expdir]).value.iloc[0])
            rows += [{"system": system, "seed": seed, "accuracy": value}]
            print(rows[-1], flush=True)
    record = {
        "machine": machine,
        "versions": {name: version(name) for name in ("torch", "s3prl")},
        "setting": {
            "test clips per class": counts,
            "checkpoint": results_page.load([work / "runs"]).fingerprint.dropna().iloc[0],
            "head": HEAD,
        },
        "majority class": max(counts.values()) / sum(counts.values()),
        "rows": rows,
    }
    path = RESULTS / f"real_keywords_{machine}.json"
    write_json(path, record)
    return path


def table() -> str:
    """The paragraph of docs/results.md, from the committed JSON."""
    (path,) = sorted(RESULTS.glob("real_keywords_*.json"))[:1]
    record = json.loads(path.read_text())
    counts = record["setting"]["test clips per class"]
    parts = []
    for system in demo.SYSTEMS:
        values = [100 * r["accuracy"] for r in record["rows"] if r["system"] == system]
        parts.append(f"{system} {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}")
    return (
        f"Real keywords (Speech Commands, the {len(counts)}-class part described in "
        f"`benchmarks/{Path(__file__).name}`, {sum(counts.values())} test clips of speakers no "
        "head was trained on, though the encoder has heard this audio, unlabelled, in "
        f"pre-training; accuracy in %, {SEEDS} head seeds): {', '.join(parts)}, majority class "
        f"{100 * record['majority class']:.1f}. mt4ssl and fbank without CMVN do not differ by "
        "more than their spread."
    )


def main() -> None:
    """Measure, then put the figures into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--work", type=Path, default=Path("runs/real_keywords"))
    args = parser.parse_args()
    if args.data and args.checkpoint:
        print(measure(args.data, args.checkpoint, args.machine, args.work))
    pages.show("real-ks", table())


if __name__ == "__main__":
    main()
