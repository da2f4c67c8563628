"""A toy corpus of words for fine-tuning, and a toy run: seconds on one core."""

from pathlib import Path

import numpy as np
import soundfile

from mt4ssl_core.settings import finetuning

WORDS = ("AB", "BA", "CAB", "AC'B")
PITCH = {"A": 200.0, "B": 400.0, "C": 800.0, "'": 1600.0}
SHAPE = """
encoder:
  conv_layers: [[8,10,5],[8,3,2],[8,3,2],[8,3,2],[8,3,2],[8,2,2],[8,2,2]]
  layers: 2
  dim: 16
  heads: 2
  ffn_dim: 32
  pos_conv_groups: 4
offline: null
online: null
random_projection: {}
"""


def corpus(folder, utterances=16, seed=0):
    """Words spelled in tones, 0.2 s a letter, as LibriSpeech lays them out; returns the folder."""
    rng = np.random.default_rng(seed)
    folder = Path(folder) / "7" / "1"
    folder.mkdir(parents=True)
    lines = []
    for i in range(utterances):
        words = rng.choice(WORDS, rng.integers(1, 3))
        letters = " ".join(words)
        pitch = np.concatenate([np.repeat(PITCH.get(mark, 0.0), 3200) for mark in letters])
        pitch = np.pad(pitch, (1600, 1600))
        wave = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)
        wave += 0.01 * rng.standard_normal(len(wave))
        soundfile.write(folder / f"7-1-{i:04d}.flac", wave, 16_000)
        lines.append(f"7-1-{i:04d} {letters}\n")
    (folder / "7-1.trans.txt").write_text("".join(lines))
    return folder.parent.parent


def overrides(train, out, **changes):
    """Dotted overrides of the shipped tiny_ctc for a toy run from an untrained encoder."""
    shape = Path(out).parent / "shape.yaml"
    shape.write_text(SHAPE)
    values = {
        "data.train": train,
        "data.valid": train,
        "data.batch_seconds": 6.0,
        "data.workers": 0,
        "encoder.shape": shape,
        "encoder.layerdrop": 0.2,
        "encoder.dropout": 0.1,
        "encoder.final_dropout": 0.1,
        "optim.max_updates": 10,
        "run.out": out,
        "run.device": "cpu",
        "run.loggers": "[]",
        "run.log_every": 1,
        "run.save_every": 5,
        "run.validate_every": 5,
        **{k.replace("__", "."): v for k, v in changes.items()},
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def configuration(train, out, **changes):
    return finetuning.load("tiny_ctc", overrides(train, out, **changes), files=True)
