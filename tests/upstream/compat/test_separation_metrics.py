"""SI-SDR in closed form, the permutation of highest SIR, and the packages' PESQ and STOI."""

import numpy as np
import pytest

from upstream.compat._separation_metrics import METRICS, best_permutation, pesq, si_sdr


def test_si_sdr_in_closed_form():
    time = np.arange(1600) / 1600
    reference, other = np.sin(2 * np.pi * 10 * time), np.sin(2 * np.pi * 30 * time)  # orthogonal
    for decibels in (-10, 0, 20):
        estimate = 0.3 * (reference + other * 10 ** (-decibels / 20))
        assert si_sdr(reference, estimate) == pytest.approx(decibels, abs=1e-9)
    assert si_sdr(reference, reference + 1) == pytest.approx(10 * np.log10(0.5))  # means stay


def test_the_permutation_is_that_of_the_sources():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((3, 4000))
    for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        estimates = sources[order] + 0.3 * sources[order[::-1]] + 0.1 * rng.standard_normal(4000)
        found = best_permutation(sources, estimates, taps=16)
        assert [order[k] for k in found] == [0, 1, 2]


def test_the_permutation_forgives_filters_but_not_interference():
    """A delayed and coloured source is still that source; SI-SDR would not see it."""
    rng = np.random.default_rng(1)
    sources = rng.standard_normal((2, 4000))
    delayed = np.roll(sources, 5, axis=1)
    assert best_permutation(sources, delayed[::-1], taps=16) == [1, 0]
    assert abs(si_sdr(sources[0], delayed[0]) - si_sdr(sources[0], delayed[1])) > 0.0
    assert si_sdr(sources[0], delayed[0]) < -10


def test_a_silent_reference_does_not_break_the_permutation():
    sources = np.stack([np.random.default_rng(0).standard_normal(2000), np.zeros(2000)])
    assert sorted(best_permutation(sources, sources + 1e-3, taps=8)) == [0, 1]


def test_pesq_and_stoi_fall_with_noise():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, None)
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    clean = (0.1 * syllables * voice).astype(np.float32)
    noise = 0.05 * rng.standard_normal(len(clean)).astype(np.float32)
    for name in ("pesq", "stoi"):
        metric = METRICS[name]
        same, little, much = (metric(clean, clean + g * noise, 16000) for g in (0, 0.1, 1))
        assert same > little > much
    assert pesq(clean, clean, 16000) == pytest.approx(4.644, abs=1e-3)  # wide-band's highest
    assert pesq(clean, np.zeros_like(clean), 16000) == pytest.approx(1.0427, abs=1e-4)
