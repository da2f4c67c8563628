"""s3prl's datasets without decoding what is known.

The functions with which a dataset reads audio return, while `Reading.lazily` is active, a
`LazyWave` in the place of samples. The dataset and its collate function squeeze, cut and hand it
on as they do with any waveform; what comes out is an `Utterance`, which has samples only where
features are not stored yet. Whatever else is done with a `LazyWave` reads the audio, and goes on
with the samples as if nothing had happened.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.store.store import FeatureStore, Space, content_key
from upstream.door.stand_in import StandIn
from upstream.store.audio_sources import (
    SOUNDFILE,
    TORCHAUDIO,
    Recent,
    Source,
    Utterance,
    mono,
    part_of,
    switched_to,
)
from upstream.store.lazy_readers import patched
from upstream.store.lazy_wave import Audio, LazyWave, plain

__all__ = ["LazyWave", "Reading", "Source", "Utterance", "let_utterances_pass", "preloading"]

RECENT_BYTES = 64 << 20  # of files that crops were cut from, in each process


class Reading:
    """What a loader needs to be lazy.

    Args:
        store: the store; its ``audio`` knows what files hold.
        space: where features are; what is in it needs no samples.
        crops: a random crop of a file is one of so many, drawn once; 0: it is as random as ever,
            and never stored.

    ``seen`` counts the utterances of all batches so far, ``decoded`` the files read for them.
    """

    looks_up = True  # how long a piece of audio is

    def __init__(self, store: FeatureStore, space: Space, crops: int = 0) -> None:
        self.store, self.space, self.crops = store, space, crops
        self.seen = self.decoded = 0
        self._recent = Recent(RECENT_BYTES)
        self._pool: ThreadPoolExecutor | None = None  # which reads features for a GPU

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_recent": Recent(RECENT_BYTES), "_pool": None}

    def for_gpu(self) -> None:
        """Let a thread read the features of each batch while the one before is trained on."""
        self._pool = ThreadPoolExecutor(1, "store")

    @property
    def reads_ahead(self) -> bool:
        """Whether `begin` does something."""
        return self._pool is not None

    def begin(self, batch: Any) -> None:
        """Begin to read what is stored of a batch, into memory that a GPU copies from by itself."""
        for wave in batch[0] if isinstance(batch, tuple) and isinstance(batch[0], list) else ():
            if not self._pool or not isinstance(wave, Utterance) or wave.key is None:
                continue
            if wave.key in self.space:
                wave.read_ahead = self._pool.submit(self._pinned, wave.key)

    def _pinned(self, key: bytes) -> torch.Tensor | None:
        found = self.space.get(key)
        return found.pin_memory() if found is not None and torch.cuda.is_available() else found

    @contextmanager
    def lazily(self, dataset: Any) -> Iterator[None]:
        """Let the functions with which ``dataset`` reads audio be lazy."""
        with patched(dataset), switched_to(self):
            yield

    def open(self, source: Source, read: Callable[[], tuple[Any, int]]) -> tuple[Any, int]:
        """Return a `LazyWave` of a file, which is read only if it is not known, and its rate.

        What is not mono at 16 kHz is returned as it is.
        """
        array = source.reader == SOUNDFILE
        audio = self.known(source)
        if audio is None:
            identity = source.identity()
            kept = self._recent.get(identity)
            if kept is None:
                raw, rate = self._read(read)
                kept = mono(raw, rate)
                if kept is None:
                    return raw, rate
                audio = Audio(source, identity, None, len(kept), kept)
                if identity != source.identity():  # replaced at this moment
                    audio.identity = None
            else:
                audio = Audio(source, identity, None, len(kept), kept)
                audio.shared = True
        return LazyWave(audio, array, array, np.float64 if array else np.float32), SAMPLE_RATE

    def known(self, source: Source, before: bytes | None = None) -> Audio | None:
        """Return what the store knows of a piece of audio; None: nothing, or not as ``before``."""
        identity = source.identity()
        if identity is None or (before is not None and identity != before):
            return None
        found = self.store.audio.find(identity)
        return None if found is None else Audio(source, identity, *found)

    def cut(self, audio: Audio, begin: int, end: int, fixed: bool) -> Audio:
        """Return a part of a file; one of the bank, if there is one and the part is not fixed."""
        width = end - begin
        if self.crops and not fixed:
            begin = self._from_bank(audio, begin, width)
        span = begin, begin + width
        source = audio.source._replace(span=span)
        if not (self.crops or fixed):
            wave = self._file(audio)[slice(*span)].copy()
            return Audio(source, None, None, width, wave)
        identity = audio.identity and part_of(audio.identity, span)
        found = self.store.audio.find(identity) if identity else None
        part = Audio(source, identity, found[0] if found else None, width)
        if part.key is None or part.key not in self.space:
            file = self._file(audio)
            part.wave = file[slice(*span)].copy()
            if audio.identity is None:  # replaced since it was looked up
                part.identity = part.key = None
            if audio.identity and audio.key is None:
                audio.key = content_key(file)
                part.whole = audio.identity, audio.key, len(file)
        return part

    def _from_bank(self, audio: Audio, begin: int, width: int) -> int:
        places = (audio.samples or 0) - width + 1
        name = "/".join(Path(audio.source.path).parts[-3:])
        key = hashlib.blake2b(repr((name, width, self.crops)).encode()).digest()
        starts = np.random.default_rng(list(key)).integers(0, places, self.crops)
        return int(starts[begin * self.crops // places])

    def _file(self, audio: Audio) -> np.ndarray:
        """Return the samples of a file that a part is cut from: not to be changed."""
        file = audio.wave if audio.wave is not None else self._recent.get(audio.identity)
        if file is None:
            file = self._samples(audio)
        audio.wave, audio.shared = file, True
        self._recent.put(audio.identity, file)
        return file

    def _samples(self, audio: Audio) -> np.ndarray:
        """Read a file; where it was replaced since it was looked up, it is another piece."""
        samples = self._read(audio.source.read)
        if audio.source.identity() != audio.identity:
            audio.identity = audio.key = None
            audio.samples = len(samples)
        return samples

    def _read(self, read: Callable[[], Any]) -> Any:
        self.decoded += 1
        with switched_to(None):
            return read()

    def resolve(self, batch: Any) -> Any:
        """Return (wavs, *others) with an `Utterance` in the place of each `LazyWave` in wavs.

        Waveforms that are no `LazyWave` stay as they are, except beside one.
        """
        if isinstance(batch, dict | torch.Tensor):
            return batch
        wavs, *others = batch
        if isinstance(wavs, list | tuple):
            with switched_to(self):
                found = [self._resolved(wave) for wave in wavs]
            if any(isinstance(wave, Utterance) for wave in found):
                found = [_uttered(wave) for wave in found]
            self.seen += len(found)
            wavs = found
        return (wavs, *map(plain, others))

    def _resolved(self, wave: Any) -> Any:
        lazy = wave.looked_up() if isinstance(wave, LazyWave) else wave
        if not isinstance(lazy, LazyWave):
            return lazy
        audio = lazy.audio
        random = audio.source.span is not None and audio.identity is None
        if audio.wave is None and (audio.key is None or audio.key not in self.space):
            audio.wave = self._samples(audio)
        if audio.wave is not None and audio.key is None and not random:
            audio.key = content_key(audio.wave)
        samples = audio.wave
        if samples is not None and audio.shared:
            samples = samples.copy()
        size = audio.samples or 0
        return Utterance(audio.source, audio.identity, audio.key, size, samples, whole=audio.whole)

    def remember(self, batch: Any) -> None:
        """Note in the store what is known of the files that a batch's crops were cut from."""
        for wave in batch[0] if isinstance(batch, tuple) and isinstance(batch[0], list) else ():
            if isinstance(wave, Utterance) and wave.whole is not None:
                self.store.audio.add(*wave.whole)
                wave.whole = None


def _uttered(wave: Any) -> Utterance:
    """Return a waveform as an utterance that is never stored."""
    if isinstance(wave, Utterance):
        return wave
    samples = np.array(wave, np.float32)
    return Utterance(None, None, None, len(samples), samples)


class _Preloading:
    """Reading while s3prl builds a task: nothing but headers."""

    looks_up = False

    def open(self, source: Source, read: Callable[[], tuple[Any, int]]) -> tuple[Any, int]:
        try:
            header = soundfile.info(source.path)
        except soundfile.LibsndfileError:
            return read()
        if source.reader != TORCHAUDIO or (header.samplerate, header.channels) != (SAMPLE_RATE, 1):
            return read()
        return LazyWave(Audio(source), False, False), SAMPLE_RATE


@contextmanager
def preloading() -> Iterator[None]:
    """Let a task that loads its whole corpus when it is built not decode it (ER)."""
    with patched(None), switched_to(_Preloading()):
        yield


def let_utterances_pass(runner: Any) -> None:
    """Let a module's ``torch.FloatTensor`` return utterances as they are."""
    make = runner.torch.FloatTensor

    def float_tensor(wave: Any) -> Any:
        return wave if isinstance(wave, Utterance) else make(plain(wave))

    if not isinstance(runner.torch, StandIn):
        runner.torch = StandIn(runner.torch, FloatTensor=float_tensor)
