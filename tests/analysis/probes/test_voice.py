import math

import numpy as np
import pytest

from analysis.probes import voice


def sung(pitch, seconds=1.0, noise=0.0):
    """A voice-like tone: ten harmonics, the higher the softer."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    wave = sum(np.sin(2 * np.pi * k * pitch * time + k) / k for k in range(1, 11))
    return (0.1 * wave + noise * np.random.default_rng(0).normal(size=len(time))).astype(np.float32)


@pytest.mark.parametrize("pitch", [75, 110, 150, 220, 330])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_pitch_of_a_voice(pitch, noise):
    assert voice.pitch(sung(pitch, noise=noise)) == pytest.approx(math.log2(pitch), abs=0.03)


def test_what_has_no_pitch():
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    for wave in (noise, np.zeros(16_000, np.float32), sung(110, 0.03), sung(110, 0.1)):
        assert math.isnan(voice.pitch(wave))


def test_energy_and_tempo():
    assert voice.energy(np.full(100, 0.1, np.float32)) == pytest.approx(-20, abs=1e-4)
    assert math.isnan(voice.energy(np.zeros(100, np.float32)))
    assert voice.tempo(("a", "b", "c"), 24_000) == 2.0


def test_a_regression_equals_the_least_squares_of_a_longer_system():
    random = np.random.default_rng(0)
    x, y = 3 * random.normal(size=(50, 4)) + 2, random.normal(size=50)
    found = voice.fit(x, y, 0.1)
    z = (x - x.mean(0)) / x.std(0)
    rows = np.concatenate([z, math.sqrt(0.1 * 50) * np.eye(4)])
    wanted = np.linalg.lstsq(rows, np.concatenate([y - y.mean(), np.zeros(4)]))[0]
    assert np.allclose(found.weight, wanted)
    assert np.allclose(found.predict(x), z @ wanted + y.mean())


def test_what_is_linear_is_found_and_what_is_noise_is_not():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 8))
    held_out = np.arange(200) % 4 == 0
    probe, there = voice.fit_best(x, x @ np.arange(8), held_out)
    assert there > 0.99 and voice.r2(x @ np.arange(8), probe.predict(x)) > 0.99
    _, there = voice.fit_best(x, random.normal(size=200), held_out)
    assert there < 0.1
    assert voice.r2(np.array([1.0, 3]), np.array([2.0, 2])) == 0
    assert math.isnan(voice.r2(np.ones(3), np.ones(3)))
