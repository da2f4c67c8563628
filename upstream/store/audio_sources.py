"""Where a waveform comes from, how it is read again, and what a batch holds in its place.

A piece of audio is known by its file (path, size, times of change) and by how it was read from it,
so that it need not be decoded to be recognised.
"""

import functools
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.store.store import content_key

TORCHAUDIO, SOX, SOUNDFILE = "torchaudio", "sox", "soundfile"  # whose function reads
FORMAT = 1  # of an identity; another one when upstream.compat's readers give other samples


class Now(threading.local):
    """What this thread's readers do at the moment: ``mode`` None is reading as ever."""

    mode: Any = None


now = Now()


@contextmanager
def switched_to(mode: Any) -> Iterator[None]:
    """Let this thread's readers be those of ``mode``."""
    before, now.mode = now.mode, mode
    try:
        yield
    finally:
        now.mode = before


@functools.cache
def _readers() -> str:
    """Name the libraries that decode: another version may give other samples."""
    libsndfile = soundfile.__libsndfile_version__
    return f"{FORMAT} torchaudio {version('torchaudio')} libsndfile {libsndfile}"


class Source(NamedTuple):
    """How to read a piece of audio again.

    ``arguments`` are SoX effects, or start and stop in the file; ``span`` is the part of what the
    reader gives (None: all of it).
    """

    reader: str
    path: str
    arguments: tuple[Any, ...] = ()
    span: tuple[int, int] | None = None

    def identity(self) -> bytes | None:
        """Return 16 bytes that change when the file does; None: there is no such file."""
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return None
        path = self.path if self.path.startswith(os.sep) else os.path.abspath(self.path)
        times = found.st_mtime_ns, found.st_ctime_ns
        facts = (_readers(), self.reader, path, found.st_size, times, self.arguments)
        whole = _digest(repr(facts).encode(errors="surrogateescape"))
        return whole if self.span is None else part_of(whole, self.span)

    def open(self) -> tuple[Any, int]:
        """Return what the dataset's reader returns, all of it, and the sample rate."""
        with switched_to(None):
            if self.reader == SOUNDFILE:
                start, stop = self.arguments
                audio, rate = soundfile.read(self.path, start=start, stop=stop)
                return audio, rate
            import torchaudio  # after upstream.compat

            if self.reader == TORCHAUDIO:
                return torchaudio.load(self.path)
            effects = [list(effect) for effect in self.arguments]
            return torchaudio.sox_effects.apply_effects_file(self.path, effects)

    def read(self) -> np.ndarray:
        """Return the samples as the dataset would have got them, float32 (N,).

        Raises:
            ValueError: the file is no longer mono, or of another sample rate.
        """
        samples = mono(*self.open())
        if samples is None:
            raise ValueError(
                f"{self.path}: was mono audio at {SAMPLE_RATE} Hz, and no longer is; "
                "it was replaced during the run: start it again"
            )
        return samples if self.span is None else samples[slice(*self.span)].copy()


def part_of(identity: bytes, span: tuple[int, int]) -> bytes:
    """Return the identity of a part of the piece that has ``identity``."""
    return _digest(identity + repr(span).encode())


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def mono(audio: Any, rate: int) -> np.ndarray | None:
    """Return the samples of what a reader returned, float32 (N,); None: not mono at 16 kHz."""
    if rate != SAMPLE_RATE:
        return None
    if isinstance(audio, torch.Tensor):
        plain = audio.ndim == 2 and len(audio) == 1 and audio.dtype == torch.float32
        return audio[0].numpy() if plain and audio.numel() else None
    plain = audio.ndim == 1 and audio.size and audio.dtype in (np.float32, np.float64)
    return audio.astype(np.float32) if plain else None


@dataclass(eq=False)
class Utterance:
    """What a batch holds in the place of a waveform.

    ``identity`` of the piece of audio and ``key`` of its samples are None for a random crop, which
    is never stored. ``wave`` is None where features are stored under ``key``: nothing was decoded.
    ``frames``, once set, is how many the head is to see, at ``rate`` samples each; ``whole`` are
    facts about the file it was cut from, not yet in the store's index; ``read_ahead`` are its
    features, (L, T, D) or None where there are none, which a thread is reading.
    """

    source: Source | None
    identity: bytes | None
    key: bytes | None
    samples: int
    wave: np.ndarray | None
    frames: int | None = None
    rate: int = 0
    whole: tuple[bytes, bytes, int] | None = None  # identity, key, samples
    read_ahead: "Future[torch.Tensor | None] | None" = None

    def __len__(self) -> int:
        """Count samples, as s3prl's featurizer asks of a waveform."""
        return self.samples if self.frames is None else self.frames * self.rate

    def to(self, device: Any) -> "Utterance":
        """Stay: s3prl moves every waveform to the device."""
        return self

    def read(self) -> np.ndarray:
        """Return the samples, float32 (N,); those of a file that was replaced get their own key."""
        if self.wave is not None:
            return self.wave
        if self.source is None:
            raise ValueError("an utterance without its samples and without a file; give it either")
        samples = self.source.read()
        key = content_key(samples)
        if key != self.key:
            self.identity, self.key, self.samples = None, key, len(samples)
        return samples


class Recent:
    """Arrays by identity, the most recently used ones up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._arrays: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def get(self, identity: bytes | None) -> np.ndarray | None:
        """Return an array that is not to be changed, if it is kept."""
        if identity is None or identity not in self._arrays:
            return None
        self._arrays.move_to_end(identity)
        return self._arrays[identity]

    def put(self, identity: bytes | None, array: np.ndarray) -> None:
        """Keep an array in the place of those not used for longest."""
        if identity is None or identity in self._arrays or array.nbytes > self._limit:
            return
        self._arrays[identity] = array
        self._bytes += array.nbytes
        while self._bytes > self._limit:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes
