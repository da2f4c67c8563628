"""Mel-cepstra, alignment and distortion against closed forms."""

import itertools
import math

import numpy as np
import pytest

from upstream.scores import world

RATE = 24000
PER_UNIT = 10 / math.log(10) * math.sqrt(2)  # dB per unit of difference in one coefficient


def sptk_freqt(cepstrum, order, alpha):
    """Tokuda's recursion as SPTK writes it: Horner's scheme over the input, last sample first."""
    before = np.zeros(order + 1)
    for sample in cepstrum[::-1]:
        now = np.zeros(order + 1)
        now[0] = sample + alpha * before[0]
        now[1] = (1 - alpha**2) * before[0] + alpha * before[1]
        for m in range(2, order + 1):
            now[m] = before[m - 1] + alpha * (before[m] - now[m - 1])
        before = now
    return before


def voice(hertz, seconds=0.6, gain=0.3):
    """A pulse train through two resonances."""
    from scipy.signal import lfilter

    size = round(seconds * RATE)
    phase = np.cumsum(np.full(size, hertz / RATE))
    wave = np.diff(np.floor(phase), prepend=0.0)
    for centre in (600.0, 1500.0):
        radius, angle = math.exp(-math.pi * 120 / RATE), 2 * math.pi * centre / RATE
        wave = lfilter([1.0], [1.0, -2 * radius * math.cos(angle), radius**2], wave)
    return gain * wave / np.abs(wave).max()


@pytest.mark.parametrize("k", [0, 1, 5, 20])
def test_a_cosine_of_warped_frequency_is_one_coefficient(k):
    w = np.linspace(0, np.pi, 513)
    warped = w + 2 * np.arctan(world.ALPHA * np.sin(w) / (1 - world.ALPHA * np.cos(w)))
    power = np.exp(2 * np.cos(k * warped))[None]
    assert np.allclose(world.mel_cepstrum(power)[0], np.eye(world.ORDER + 1)[k], atol=1e-6)


def test_the_mel_cepstrum_is_that_of_sptk():
    rng = np.random.default_rng(0)
    power = np.exp(rng.normal(size=(3, 65)))
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, :65]
    cepstrum[:, [0, -1]] /= 2
    theirs = [sptk_freqt(row, 12, 0.35) for row in cepstrum]
    assert np.allclose(world.mel_cepstrum(power, 12, 0.35), theirs)


def test_a_known_offset_gives_the_value_of_the_formula():
    a = np.random.default_rng(0).normal(size=(7, 40))
    b = a.copy()
    b[:, 3] += 0.5
    assert world.distortion(a, a) == 0
    assert world.distortion(a, b) == pytest.approx(0.5 * PER_UNIT)
    b[:, 9] -= 1.2
    assert world.distortion(a, b) == pytest.approx(1.3 * PER_UNIT)


def test_alignment_is_the_cheapest_of_all_paths():
    rng = np.random.default_rng(1)
    for rows, columns in itertools.product(range(1, 5), repeat=2):
        a, b = rng.normal(size=(rows, 2)), rng.normal(size=(columns, 2))
        cost = np.linalg.norm(a[:, None] - b[None], axis=2)
        i, j = world.align(a, b)
        assert (i[0], j[0], i[-1], j[-1]) == (0, 0, rows - 1, columns - 1)
        assert set(zip(np.diff(i), np.diff(j), strict=True)) <= {(0, 1), (1, 0), (1, 1)}
        assert cost[i, j].sum() == pytest.approx(min(paths(cost, rows - 1, columns - 1)))


def paths(cost, i, j):
    """The costs of all monotone paths to (i, j)."""
    if i == j == 0:
        yield cost[0, 0]
    for di, dj in ((1, 0), (0, 1), (1, 1)):
        if i >= di and j >= dj:
            yield from (cost[i, j] + rest for rest in paths(cost, i - di, j - dj))


def test_frames_that_last_longer_cost_nothing():
    a = np.random.default_rng(2).normal(size=(9, 5))
    i, j = world.align(a, np.repeat(a, 3, axis=0))
    assert world.distortion(a[i], np.repeat(a, 3, axis=0)[j]) == 0


def test_a_recording_is_no_distance_from_itself():
    heard = world.features(voice(150), RATE, (71, 405))
    assert heard.cepstrum.shape == (len(heard.f0), world.ORDER + 1)
    assert world.distance(heard, heard) == world.Distance(0.0, 0.0)


def test_half_the_loudness_counts_by_the_coefficient_of_gain():
    loud = world.features(voice(150), RATE, (71, 405))
    quiet = world.features(voice(150, gain=0.15), RATE, (71, 405))
    found = world.distance(quiet, loud)
    assert found.mcd == pytest.approx(math.log(2) * PER_UNIT, rel=0.01)
    assert found.f0_rmse < 0.1


def test_f0_error_is_in_hertz():
    low, high = (world.features(voice(f), RATE, (71, 405)) for f in (150, 170))
    assert world.distance(high, low).f0_rmse == pytest.approx(20, abs=1.5)


def test_without_voiced_frames_there_is_no_f0_error():
    noise = np.random.default_rng(0).normal(0, 0.01, RATE // 2)
    hiss = world.features(noise, RATE, (71, 405))
    hiss.f0[:] = 0
    found = world.distance(hiss, world.features(voice(150), RATE, (71, 405)))
    assert math.isnan(found.f0_rmse)
    assert found.mcd > 5
