"""Our SoX effects beside the SoX program."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr
import torch
from superb_data import corpora

from upstream import compat

compat.install()

from upstream.compat.sox_effects import apply_effects_file, apply_effects_tensor  # noqa: E402

KS = [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]]  # QbE's too
ASV = [*KS, ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]]
RATE = 16000

needs_sox = pytest.mark.skipif(
    shutil.which("sox") is None, reason="the sox program is not installed: apt-get install sox"
)


def sox(path, effects, folder):
    """What the program makes of a file: float32 (C, T)."""
    out = folder / "out.wav"
    words = [word for effect in effects for word in effect]
    command = ["sox", "-D", "-V1", path, "-b", "32", "-e", "floating-point", out, *words]
    subprocess.run(command, check=True)
    return soundfile.read(out, dtype="float32", always_2d=True)[0].T


def assert_same(path, folder, tolerance=1e-4):
    for effects in (KS, ASV):
        expected = sox(path, effects, folder)
        found, rate = apply_effects_file(str(path), effects)
        assert rate == RATE
        assert found.dtype == torch.float32
        assert found.shape == expected.shape
        assert np.abs(found.numpy() - expected).max(initial=0.0) <= tolerance


def speech(count):
    """Clips of the mini corpora, float64 (T,)."""
    paths = sorted((corpora() / "sid").rglob("*.wav"))[:count]
    paths += sorted((corpora() / "ks").rglob("*_nohash_0.wav"))[:count]
    return [soundfile.read(path)[0] for path in paths]


def patchwork(rng, size):
    """Noise (size,) whose level jumps: silent, about the threshold of 0.1 %, loud, clipping."""
    parts, made = [], 0
    while made < size:
        length = int(rng.integers(160, 6400))
        level = 10.0 ** rng.choice([-9, -3.5, -3.05, -3, -2.95, -2, -1, 0.5])
        parts.append(rng.standard_normal(length) * level)
        made += length
    return np.concatenate(parts)[:size].clip(-1, 1)


@needs_sox
@pytest.mark.parametrize(("rate", "tolerance"), [(16000, 1e-7), (8000, 1e-4), (44100, 1e-4)])
def test_speech_at_any_rate_in_mono_and_stereo(tmp_path, rate, tolerance):
    for number, wave in enumerate(speech(4)):
        there = soxr.resample(wave, RATE, rate).clip(-1, 1)
        if rate == 44100:  # where a sound starts at once, SoX's first two samples are its own
            there[:441] *= np.linspace(0, 1, 441)
        path = tmp_path / f"{number}.wav"
        for channels in (there, np.stack([there, -0.3 * np.roll(there, 70)], 1)):
            soundfile.write(path, channels, rate, subtype="PCM_16")
            assert_same(path, tmp_path, tolerance)


@needs_sox
@pytest.mark.parametrize("seed", range(4))
def test_stress_signals(tmp_path, seed):
    rng = np.random.default_rng(seed)
    wave = patchwork(rng, int(rng.integers(1000, 60000)))
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype=("PCM_16", "PCM_24", "FLOAT")[seed % 3])
    assert_same(tmp_path / "a.wav", tmp_path, 1e-7)
    soundfile.write(tmp_path / "b.wav", 0.5 * wave, 8000, subtype="PCM_16")
    assert_same(tmp_path / "b.wav", tmp_path)


@needs_sox
@pytest.mark.parametrize("gap", [0.05, 0.0999, 0.1, 0.1001, 0.12, 0.2, 1.0])
def test_a_gap_in_a_tone_and_silent_ends(tmp_path, gap):
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(4000) / RATE)
    hole = np.zeros(round(gap * RATE))
    for number, parts in enumerate(([tone, hole, tone], [hole, tone, hole, tone, hole], [hole])):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")
        assert_same(path, tmp_path, 1e-7)


@needs_sox
@pytest.mark.parametrize("size", [0, 1, 319, 1599, 1600, 1601])
def test_very_short_files(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", np.full(size, 0.25), RATE, subtype="PCM_16")
    assert_same(tmp_path / "a.wav", tmp_path, 1e-7)


def test_silence_keeps_what_is_loud_and_cuts_what_is_not():
    loud, quiet = torch.full((1, 3200), 0.5), torch.zeros(1, 8000)
    wave = torch.cat([quiet, loud, quiet, loud], 1)
    found, _ = apply_effects_tensor(wave, RATE, ASV[-1:])
    assert 6400 <= found.shape[1] <= 6400 + 320  # the loudness falls within 20 ms after each sound
    assert (found > 0).sum() >= 6300
    assert apply_effects_tensor(quiet, RATE, ASV[-1:])[0].shape == (1, 0)


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (["silence", "1", "0.1", "0.1%"], "offered is: 1 SECONDS"),
        (["silence", "2", "0.1", "0.1%", "-1", "0.1", "0.1%"], "offered is: 1 SECONDS"),
        (["silence", "1", "0.1", "-50d", "-1", "0.1", "0.1%"], "give per cent"),
    ],
)
def test_other_forms_of_silence_are_refused(effect, message):
    with pytest.raises(ValueError, match=message):
        apply_effects_tensor(torch.zeros(1, 4), RATE, [effect])
    with pytest.raises(ValueError, match="put channels 1 before it"):
        apply_effects_tensor(torch.zeros(2, 4), RATE, ASV[-1:])
