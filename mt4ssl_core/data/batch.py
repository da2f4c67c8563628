"""A batch for pre-training, and how it is read: crops with their labels aligned, padded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor

from mt4ssl_core.config import MaskingConfig
from mt4ssl_core.data.audio import HOP, SAMPLE_RATE, audio_name, load_wave, num_samples
from mt4ssl_core.data.cuts import stable_hash
from mt4ssl_core.data.labels import LabelStore, Unusable
from mt4ssl_core.data.masking import Places, frame_labels, span_mask
from mt4ssl_core.data.normalization import normalize
from mt4ssl_core.data.shards.shard_labels import ShardLabels
from mt4ssl_core.settings.frames import num_frames

Labels = LabelStore | ShardLabels


class Skipped(NamedTuple):
    """An utterance that could not be used: its file (or cut), why, its length as used (s)."""

    name: str
    reason: str
    seconds: float


@dataclass
class Batch:
    """Utterances that go through the encoder together.

    waves: (B, N) float32, zero after the end. lengths: (B,) int64, samples.
    labels: (B, T) int64 class ids, -1 after the end; None without offline labels.
    ids: of the utterances. epoch: they were cropped for. seconds: of real audio.
    padded_seconds: B * N / 16000. skipped: the utterances that could not be loaded.
    mask: (R * B, T) bool, True at frames to hide, R masks per utterance (see `span_mask`); places:
        where these are. None if none were asked for.

    B is 0 (waves (0, 0)) when no utterance of the batch could be loaded, and on the processes for
    which the last round of an epoch has no batch left: their loss is zero.
    """

    waves: Tensor
    lengths: Tensor
    labels: Tensor | None
    ids: list[str]
    epoch: int
    seconds: float
    padded_seconds: float
    skipped: list[Skipped]
    mask: Tensor | None = None
    places: Places | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch with its tensors on ``device``; lengths stay on the CPU, where what
        depends on them is decided.
        """
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from where copies to a GPU are faster."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        labels = None if self.labels is None else change(self.labels)
        mask = None if self.mask is None else change(self.mask)
        places = None if self.places is None else self.places.map(change)
        return replace(self, waves=change(self.waves), labels=labels, mask=mask, places=places)


@dataclass(frozen=True)
class BatchReader:
    """Turns cuts into a batch: all that a worker process needs to know."""

    labels: Labels | None
    normalize: bool
    normalize_eps: float
    seed: int
    longest: int | None  # samples; None: no cropping
    strict: bool
    masking: MaskingConfig | None = None  # None: no frames are hidden
    hop: int = HOP  # samples from one frame of the encoder to the next

    def read(self, cuts: Sequence[Cut], epoch: int) -> Batch:
        """Load, normalise, crop and collate. ValueError: bad labels; strict and a bad file."""
        ids, waves, labels, skipped = [], [], [], []
        for cut in cuts:
            try:
                wave = _wave(cut)
                row = self._labels_of(cut, len(wave))
            except Unusable as error:
                if self.strict:
                    raise
                skipped.append(self._skipped(cut, error))
                continue
            if self.normalize:
                wave = normalize(wave, self.normalize_eps)
            wave, row = self._crop(cut.id, epoch, wave, row)
            ids.append(cut.id)
            waves.append(torch.from_numpy(wave))
            labels.append(row)
        lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
        padded = _pad(waves, 0.0, torch.float32)
        classes = None if self.labels is None else _pad(labels, -1, torch.int64)
        mask, places = self._hide(lengths, ids, epoch, classes)
        return Batch(
            waves=padded,
            lengths=lengths,
            labels=classes,
            ids=ids,
            epoch=epoch,
            seconds=int(lengths.sum()) / SAMPLE_RATE,
            padded_seconds=padded.numel() / SAMPLE_RATE,
            skipped=skipped,
            mask=mask,
            places=places,
        )

    def _hide(
        self, lengths: Tensor, ids: Sequence[str], epoch: int, labels: Tensor | None
    ) -> tuple[Tensor | None, Places | None]:
        if self.masking is None:
            return None, None
        frames = [num_frames(samples, self.hop) for samples in lengths.tolist()]
        mask = span_mask(frames, ids, self.masking, seed=self.seed, epoch=epoch)
        return mask, Places.of(mask, frame_labels(labels, self.hop, mask.shape[1]))

    def _skipped(self, cut: Cut, error: ValueError) -> Skipped:
        name, samples = audio_name(cut), num_samples(cut)
        if self.longest is not None:
            samples = min(samples, self.longest)
        return Skipped(name, str(error).removeprefix(f"{name}: "), samples / SAMPLE_RATE)

    def _labels_of(self, cut: Cut, samples: int) -> Tensor | None:
        if self.labels is None:
            return None
        return torch.from_numpy(self.labels.of_cut(cut, num_frames(samples)))

    def _crop(
        self, id: str, epoch: int, wave: np.ndarray, labels: Tensor | None
    ) -> tuple[np.ndarray, Tensor | None]:
        """Cut a window out at a place that depends on (seed, epoch, id), at a whole frame."""
        if self.longest is None or len(wave) <= self.longest:
            return wave, labels
        places = (len(wave) - self.longest) // HOP + 1
        frame = stable_hash("crop", self.seed, epoch, id) % places
        wave = wave[frame * HOP : frame * HOP + self.longest]
        if labels is not None:
            labels = labels[frame : frame + num_frames(len(wave))]
        return wave, labels


def _wave(cut: Cut) -> np.ndarray:
    try:
        return load_wave(cut)
    except ValueError as error:
        raise Unusable(str(error)) from error


def _pad(rows: list, value: float, dtype: torch.dtype) -> Tensor:
    """Stack rows of different lengths: (B, longest), filled up with ``value``; (0, 0) if none."""
    padded = torch.full((len(rows), max(map(len, rows), default=0)), value, dtype=dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
