"""Items of a dataset that are the same every time, made once.

Some of s3prl's datasets look things up in tables for each item, which takes longer than all else
once nothing is decoded. An item is remembered if no random number was drawn for it, and if it holds
nothing but whole `LazyWave`s, arrays and constants, such as names and labels.
"""

import random
from pathlib import PurePath
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from upstream.store.lazy_audio import Reading
from upstream.store.lazy_wave import Audio, LazyWave

LIMIT_BYTES = 256 << 20  # of arrays beside the audio, for each dataset
CONSTANTS = (str, bytes, int, float, np.generic, PurePath, type(None))


class Changed(Exception):
    """A file is not known, or not as it was."""


class Refused(Exception):
    """An item holds something else."""


class Items:
    """What is remembered of a dataset."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._refused: set[int] = set()
        self._bytes = 0

    def get(self, dataset: Any, index: int, reading: Reading) -> Any:
        """Return ``dataset[index]``, which shares nothing with what was returned before."""
        if index in self._refused:
            return dataset[index]
        if index in self._kept:
            try:
                return _renewed(self._kept[index], reading)
            except Changed:
                self._forget(index)
        before = _random_state()
        made = dataset[index]
        try:
            kept = _kept(made) if _has_audio(made) else None
        except Refused:
            kept = None
        if kept is None or _random_state() != before or self._bytes > LIMIT_BYTES:
            self._refused.add(index)
        else:
            self._kept[index] = kept
            self._bytes += _size(kept)
        return made

    def _forget(self, index: int) -> None:
        self._bytes -= _size(self._kept.pop(index))


_datasets: "WeakKeyDictionary[Any, Items]" = WeakKeyDictionary()


def item(dataset: Any, index: int, reading: Reading) -> Any:
    """Return ``dataset[index]`` while ``reading`` is lazy, made anew only if it has to be."""
    try:
        items = _datasets.get(dataset) or _datasets.setdefault(dataset, Items())
    except TypeError:  # a dataset that cannot be a weak key
        return dataset[index]
    return items.get(dataset, index, reading)


def _random_state() -> tuple[Any, ...]:
    """Return what changes when a random number is drawn."""
    numpys: Any = np.random.get_state()
    torchs = torch.get_rng_state().numpy().tobytes()
    return random.getstate(), numpys[1].tobytes(), numpys[2:], torchs


def _has_audio(item: Any) -> bool:
    """Tell whether there is a waveform, or a list of them, among the parts of an item."""
    parts = item if isinstance(item, list | tuple) else ()
    firsts = [part[0] if isinstance(part, list) and part else part for part in parts]
    return any(isinstance(first, LazyWave) for first in firsts)


def _kept(part: Any) -> Any:
    """Return what to keep of a part of an item."""
    if type(part) in (list, tuple):
        return type(part)([_kept(each) for each in part])
    if isinstance(part, LazyWave) and part.audio.is_known_file:
        return part.like(Audio(part.audio.source, part.audio.identity))
    if isinstance(part, np.ndarray | torch.Tensor):
        return _copy(part)
    if isinstance(part, CONSTANTS):
        return part
    raise Refused


def _renewed(part: Any, reading: Reading) -> Any:
    if isinstance(part, LazyWave):
        audio = reading.known(part.audio.source, part.audio.identity)
        if audio is None:
            raise Changed
        return part.like(audio)
    if isinstance(part, list | tuple):
        return type(part)([_renewed(each, reading) for each in part])
    return _copy(part) if isinstance(part, np.ndarray | torch.Tensor) else part


def _copy(array: Any) -> Any:
    return array.clone() if isinstance(array, torch.Tensor) else array.copy()


def _size(kept: Any) -> int:
    if isinstance(kept, list | tuple):
        return sum(map(_size, kept))
    return kept.nbytes if isinstance(kept, np.ndarray | torch.Tensor) else 0
