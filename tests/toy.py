"""A toy corpus and a toy run: seconds on one core."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from mt4ssl_core import config
from mt4ssl_core.data import tsv as lists

ROOT = Path(__file__).parent.parent
CLASSES = 8
ENCODER = {
    "conv_layers": "[[8,10,5],[8,3,2],[8,3,2],[8,3,2],[8,3,2],[8,2,2],[8,2,2]]",
    "layers": 2,
    "dim": 16,
    "heads": 2,
    "ffn_dim": 32,
    "pos_conv_groups": 4,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "layerdrop": 0.2,
}


def corpus(folder, utterances=24, seed=0):
    """Tones in noise whose pitch tells the label of each frame; returns (tsv, km)."""
    rng = np.random.default_rng(seed)
    rows, lines = [], []
    audio = Path(folder) / "audio"
    audio.mkdir(parents=True)
    for i in range(utterances):
        size = int(rng.integers(12_000, 24_000))
        frames = 1 + (size - 400) // 320
        ids = np.repeat(rng.integers(0, CLASSES, frames // 8 + 1), 8)[:frames]
        pitch = np.repeat(150.0 * 1.4**ids, 320)
        pitch = np.pad(pitch, (0, size - len(pitch)), mode="edge")
        wave = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)
        wave += 0.01 * rng.standard_normal(size)
        soundfile.write(audio / f"u{i:02d}.wav", wave, 16_000)
        rows.append(lists.TsvRow(f"u{i:02d}.wav", audio / f"u{i:02d}.wav", size))
        lines.append(" ".join(map(str, ids)))
    tsv, km = Path(folder) / "train.tsv", Path(folder) / "train.km"
    lists.write_tsv(tsv, audio, rows)
    km.write_text("\n".join(lines) + "\n")
    return tsv, km


def overrides(corpus, out, **changes):
    """Dotted overrides of the shipped tiny config for a toy run on (audio source, labels)."""
    tsv, km = corpus
    values = {
        "data.train": tsv,
        "data.labels": "null" if km is None else km,
        "data.max_seconds": 2.0,
        "data.batch_seconds": 6.0,
        "data.workers": 0,
        "data.valid_share": 0.1,
        "offline.num_classes": CLASSES,
        "online.top_k": 2,
        "optim.max_updates": 10,
        "run.out": out,
        "run.device": "cpu",
        "run.log_every": 1,
        "run.save_every": 5,
        "run.validate_every": 5,
        **{f"encoder.{k}": v for k, v in ENCODER.items()},
        **{k.replace("__", "."): v for k, v in changes.items()},
    }
    first = [f"{k}={v}" for k, v in values.items() if str(v) in ("{}", "null")]
    last = [f"{k}={v}" for k, v in values.items() if str(v) not in ("{}", "null")]
    off = [line.split("=")[0] + "." for line in first if line.endswith("=null")]
    return first + [line for line in last if not line.startswith(tuple(off) or ("\0",))]


def configuration(corpus, out, **changes):
    return config.load(ROOT / "mt4ssl_core/configs/tiny.yaml", overrides(corpus, out, **changes))


def cli(*arguments):
    """The command line as a list, for subprocess."""
    return [sys.executable, "-m", "mt4ssl_cli", *map(str, arguments)]


def run(*arguments, **options):
    return subprocess.run(cli(*arguments), capture_output=True, text=True, timeout=300, **options)
