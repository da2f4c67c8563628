"""From dry speech to a recording: vocal tract, silence, room, microphone, level, noise."""

import functools
from collections.abc import Callable

import numpy as np
import soxr

from mini_superb.clip import SAMPLE_RATE, Clip, Scene, random_of
from mini_superb.espeak import Phone, Spoken

CHANNEL_HZ = (100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
_CEILING = 0.95  # no sample is louder
_SILENCE = 10 ** (-45 / 20)  # speech ends where it stays 45 dB below its peak


def render(clip: Clip, spoken: Spoken | None) -> tuple[np.ndarray, list[Phone], float]:
    """The recording of ``clip``: int16 at 16 kHz, its phones, the end of the speech (seconds)."""
    rng = np.random.default_rng(clip.seed)
    if spoken is None or clip.speaker is None:
        assert clip.seconds, f"{clip.path}: a clip without speech needs its length"
        level = 10 ** (clip.scene.level_db / 20)
        return (
            _to_int16(NOISES[clip.scene.noise](round(clip.seconds * SAMPLE_RATE), rng) * level),
            [],
            0.0,
        )
    try:
        speech, phones = _dry(spoken, clip.speaker.tract)  # (N,)
    except ValueError as error:
        raise ValueError(f"{clip.path}: {error} for {clip.text!r}; leave it out") from error
    wave = np.pad(speech, (_samples(clip.before), _samples(clip.after)))
    if clip.seconds is not None:
        size = _samples(clip.seconds)
        wave = np.pad(wave, (0, max(0, size - len(wave))))[:size]
    duration = len(wave) / SAMPLE_RATE
    phones = [Phone(round(p.start + clip.before, 4), p.symbol) for p in phones]
    end = min(clip.before + len(speech) / SAMPLE_RATE, duration)
    wave = _through_room(wave, clip.scene, rng)
    active = slice(_samples(clip.before), _samples(end))
    wave *= 10 ** (clip.scene.level_db / 20) / max(_rms(wave[active]), 1e-6)
    loudness = 10 ** ((clip.scene.level_db - clip.scene.snr_db) / 20)
    wave += _background(clip.scene.noise, len(wave), rng) * np.float32(loudness)
    return _to_int16(wave), [p for p in phones if p.start < end], round(end, 4)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave)))) if len(wave) else 0.0


def _to_int16(wave: np.ndarray) -> np.ndarray:
    wave = wave * min(1.0, _CEILING / max(float(np.abs(wave).max()), 1e-9))
    return np.round(wave * 32767).astype(np.int16)


def _dry(spoken: Spoken, tract: float) -> tuple[np.ndarray, list[Phone]]:
    """Cut the silence off both ends and resample to 16 kHz.

    Samples read as if they came ``tract`` times faster have all formants and the pitch that much
    higher.
    """
    wave = spoken.samples.astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(wave) > _SILENCE * np.abs(wave).max(initial=0.0))
    if not len(loud):
        raise ValueError("espeak-ng gave no sound")
    first, last = int(loud[0]), int(loud[-1]) + 1
    wave = soxr.resample(wave[first:last], spoken.rate * tract, SAMPLE_RATE)
    phones: list[Phone] = []
    for phone in spoken.phones:
        start = max(0.0, phone.start - first / spoken.rate) / tract
        symbol = phone.symbol or "_"  # a pause
        if start < len(wave) / SAMPLE_RATE and not (phones and symbol == phones[-1].symbol == "_"):
            phones.append(Phone(start, symbol))
    return wave, phones


@functools.cache
def _tape(kind: str) -> np.ndarray:
    """Background noise to cut from: far cheaper than making some per clip."""
    return NOISES[kind](40 * SAMPLE_RATE, random_of("tape", kind)).astype(np.float32)


def make_tapes() -> None:
    """Make the background noises once, for a process that forks afterwards."""
    for kind in NOISES:
        _tape(kind)


def _background(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    tape = _tape(kind)
    start = int(rng.integers(len(tape)))
    return np.take(tape, np.arange(start, start + size), mode="wrap")


def _through_room(wave: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Add the room's echo and the microphone's colour; the length stays."""
    tail = _samples(scene.reverb_seconds)
    time = np.arange(tail, dtype=np.float32) / max(tail, 1)
    echo = rng.standard_normal(tail, np.float32) * 10 ** (-3 * time)  # -60 dB at the end
    echo[: _samples(0.004)] = 0  # the first wall is a metre away
    echo *= 10 ** (scene.reverb_db / 20) / max(float(np.linalg.norm(echo)), 1e-9)
    impulse = np.concatenate([np.ones(1, np.float32), echo])
    size = _fast_size(len(wave) + len(impulse))
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(impulse, size)
    spectrum *= np.exp(np.interp(_log_hertz(size), np.log(CHANNEL_HZ), _nepers(scene.channel_db)))
    return np.fft.irfft(spectrum, size)[: len(wave)]


@functools.cache
def _log_hertz(size: int) -> np.ndarray:
    return np.log(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20.0))


def _nepers(decibels: tuple[float, ...]) -> np.ndarray:
    return np.array(decibels) * (np.log(10) / 20)


def _fast_size(size: int) -> int:
    """The next length of the form 2^n or 3*2^n: both transform fast."""
    power = 1 << (size - 1).bit_length()
    return power // 4 * 3 if power // 4 * 3 >= size else power


def _coloured(size: int, rng: np.random.Generator, slope_db: float) -> np.ndarray:
    """Noise of RMS 1 whose spectrum falls by ``slope_db`` per octave above 50 Hz."""
    fast = _fast_size(size)
    hertz = np.maximum(np.fft.rfftfreq(fast, 1 / SAMPLE_RATE), 50.0)
    spectrum = np.fft.rfft(rng.standard_normal(fast, np.float32)) * hertz ** (-slope_db / 6.02)
    spectrum[0] = 0
    wave = np.fft.irfft(spectrum, fast)[:size]
    return wave / max(_rms(wave), 1e-9)


def _running_tap(size: int, rng: np.random.Generator) -> np.ndarray:
    wave = _coloured(size, rng, -2.0) * (1 + 0.3 * np.tanh(_coloured(size, rng, 9.0)))
    return wave / max(_rms(wave), 1e-9)


def _exercise_bike(size: int, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(size) / SAMPLE_RATE
    turn = np.sin(2 * np.pi * (rng.uniform(1.5, 3.0) * time + rng.uniform()))
    wave = _coloured(size, rng, 5.0) * (0.4 + np.maximum(turn, 0) ** 2)
    return wave / max(_rms(wave), 1e-9)


def _doing_the_dishes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Pink noise and the ringing of struck plates."""
    wave = 0.5 * _coloured(size, rng, 3.0)
    time = np.arange(_samples(0.15)) / SAMPLE_RATE
    for start in rng.integers(0, size, max(1, round(3 * size / SAMPLE_RATE))):
        hertz = rng.uniform(1500, 6000)
        ring = rng.uniform(1, 4) * np.sin(2 * np.pi * hertz * time) * np.exp(-time / 0.03)
        part = wave[start : start + len(ring)]
        part += ring[: len(part)]
    return wave / max(_rms(wave), 1e-9)


# Background noises of RMS 1, named as the recordings of Speech Commands are.
NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "white_noise": lambda size, rng: _coloured(size, rng, 0.0),
    "pink_noise": lambda size, rng: _coloured(size, rng, 3.0),
    "running_tap": _running_tap,
    "exercise_bike": _exercise_bike,
    "doing_the_dishes": _doing_the_dishes,
}
