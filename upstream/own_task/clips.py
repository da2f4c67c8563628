"""The clips of a split as s3prl's runner loads them. Imported once s3prl can be."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf  # under this name the feature store finds it
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchaudio.sox_effects import apply_effects_file, apply_effects_tensor

from mt4ssl_core.settings.frames import SAMPLE_RATE, WINDOW
from upstream.own_task import splits, table
from upstream.own_task.table import SPLITS, TRAIN, Row

UNSET = "???"


class Clips(Dataset[Any]):
    """Items: waveform (N,) at 16 kHz, target, name of the clip.

    Args:
        rows: the clips.
        targets: what each stands for.
        gain: decibels by which the level is changed.
        longest: seconds; of longer clips a part is drawn. None: all of a clip.
    """

    def __init__(
        self, rows: Sequence[Row], targets: Sequence[Any], gain: float, longest: float | None
    ) -> None:
        self.rows, self.targets = list(rows), list(targets)
        self.longest = None if longest is None else round(longest * SAMPLE_RATE)
        self.effects = [["channels", "1"], ["rate", str(SAMPLE_RATE)]]
        self.effects += [["gain", str(gain)]] if gain else []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, Any, str]:
        row = self.rows[index]
        wav = self._part(row) if row.start is not None or row.end is not None else self._file(row)
        if self.longest is not None and len(wav) > self.longest:
            offset = random.randint(0, len(wav) - self.longest)
            wav = wav[offset : offset + self.longest]
        return wav, self.targets[index], name(row)

    def _file(self, row: Row) -> Any:
        wav, _ = apply_effects_file(str(row.path), self.effects)
        return wav.squeeze(0).numpy()

    def _part(self, row: Row) -> Any:
        rate = sf.info(str(row.path)).samplerate
        begin = round((row.start or 0.0) * rate)
        end = None if row.end is None else round(row.end * rate)
        wav, _ = sf.read(str(row.path), start=begin, stop=end)  # (N,) or (N, C)
        if len(self.effects) == 2 and not isinstance(wav, np.ndarray):  # not read yet, and as it is
            return wav.astype(np.float32)
        wave = torch.from_numpy(np.atleast_2d(np.asarray(wav, np.float32).T).copy())  # (C, N)
        return apply_effects_tensor(wave, rate, self.effects)[0].squeeze(0).numpy()

    def collate_fn(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """Return (waveforms, targets, names), a list each."""
        return tuple(map(list, zip(*items, strict=True)))


def least_crop(frames: int, rate: int) -> float:
    """Return the seconds that surely have so many frames of ``rate`` samples: the last one's
    window is up to twice as wide.
    """
    return (max(WINDOW, 2 * rate) + (frames - 1) * rate) / SAMPLE_RATE


def name(row: Row) -> str:
    """Return what a clip is called in lists of results: without spaces."""
    part = "" if row.start is None and row.end is None else f"@{row.start or 0:g}-{row.end or ''}"
    return "_".join(f"{row.name}{part}".split())


class OwnExpert(nn.Module):
    """What the experts of all kinds share: the table's clips by split, and loaders of them."""

    sets: dict[str, Clips]
    datarc: dict[str, Any]
    expdir: str
    best_score: torch.Tensor
    least_crop = 0.0  # seconds that its head needs

    def read_rows(self, kind: str) -> dict[str, list[Row]]:
        """Return the clips of the table by split.

        Raises:
            ValueError: as of `table.read`, or no table was given.
        """
        if self.datarc["csv"] == UNSET:
            raise ValueError(
                "config.downstream_expert.datarc.csv: no table is given; use mt4ssl task train"
            )
        rows, _ = splits.fill(table.read(self.datarc["csv"], kind), kind)
        return {split: [row for row in rows if row.split == split] for split in SPLITS}

    def clips(self, split: str, rows: Sequence[Row], targets: Sequence[Any]) -> Clips:
        """Return a split as a dataset.

        Raises:
            ValueError: no time to crop to, or one that is too short for the head.
        """
        longest = self.datarc.get("crop_seconds")
        if longest is not None and not max(1e-6, self.least_crop) <= longest < 1e6:
            least = f"{self.least_crop:.3g} s, which its head needs,"
            raise ValueError(f"datarc.crop_seconds: {longest}; give {least} or more, or null")
        cropped = split in self.datarc.get("crop_splits", ())
        return Clips(rows, targets, self.datarc["gain"], longest if cropped else None)

    def get_dataloader(self, split: str) -> DataLoader[Any]:
        """Return the loader of a split (s3prl's interface)."""
        clips, trained = self.sets[split], split == TRAIN
        size = self.datarc["batch_size"] if trained else self.datarc["eval_batch_size"]
        sampler = None
        if split in self.datarc.get("balanced_splits", ()):
            counts = Counter(clips.targets)
            weights = [len(clips) / counts[target] for target in clips.targets]
            sampler = WeightedRandomSampler(weights, len(weights))
        return DataLoader(
            clips,
            batch_size=size,
            sampler=sampler,
            shuffle=trained and sampler is None,
            drop_last=trained and len(clips) >= size,
            num_workers=self.datarc["num_workers"],
            collate_fn=clips.collate_fn,
        )


def write_lines(path: Path, names: Sequence[str], values: Sequence[Any]) -> None:
    """Write what is said of each clip, a line each: its name, a space, the value."""
    lines = [f"{name} {value}\n" for name, value in zip(names, values, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
