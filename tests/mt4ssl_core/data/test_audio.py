from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import AudioSource, Recording

from mt4ssl_core.data.audio import load_wave, num_samples, read_header
from mt4ssl_core.data.normalization import normalize


def tone(seconds, rate, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples, rate, **kwargs) -> Path:
    soundfile.write(path, samples, rate, **kwargs)
    return path


@pytest.mark.parametrize(
    ("name", "rate", "channels", "kwargs"),
    [
        ("a.wav", 16_000, 1, {}),
        ("a.wav", 16_000, 1, {"subtype": "FLOAT"}),
        ("a.wav", 44_100, 2, {"subtype": "PCM_24"}),
        ("a.flac", 22_050, 3, {}),
        ("a.flac", 48_000, 1, {}),
        ("a.ogg", 8_000, 2, {}),
        ("a.opus", 48_000, 2, {"format": "OGG", "subtype": "OPUS"}),
        ("a.mp3", 44_100, 1, {}),
        ("a.mp3", 8_000, 2, {}),
        ("a.aiff", 11_025, 1, {}),
    ],
)
def test_every_format_rate_and_channel_count_gives_the_same_tone(
    tmp_path, name, rate, channels, kwargs
):
    samples = np.stack([tone(1.5, rate)] * channels, axis=1)
    path = write(tmp_path / name, samples, rate, **kwargs)
    assert read_header(path)[:2] == (rate, channels)
    wave = load_wave(path)
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert abs(len(wave) - 24_000) <= 1
    middle = slice(4_000, 20_000)  # codecs take a moment, and shift the phase a little
    spectrum = np.abs(np.fft.rfft(wave[middle]))
    assert np.argmax(spectrum) == 440  # 1 s: bins of 1 Hz
    assert np.sqrt(np.mean(wave[middle] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_channels_are_averaged(tmp_path):
    path = write(tmp_path / "a.wav", np.tile([0.5, -0.25, 0.5], (16_000, 1)), 16_000)
    np.testing.assert_allclose(load_wave(path), 0.25, atol=1e-4)


def test_resampling_is_accurate(tmp_path):
    path = write(tmp_path / "a.wav", tone(1, 44_100), 44_100, subtype="FLOAT")
    np.testing.assert_allclose(load_wave(path)[500:-500], tone(1, 16_000)[500:-500], atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_manifest_and_decoder_agree_on_the_length(tmp_path, rate):
    frames = rate // 7 + 13
    path = write(tmp_path / "a.wav", np.zeros(frames), rate)
    cut = Recording(
        "a", [AudioSource("file", [0], str(path))], rate, frames, frames / rate
    ).to_cut()
    assert abs(len(load_wave(cut)) - num_samples(cut)) <= 1


def test_variable_rate_mp3_is_not_taken_for_truncated(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 160_000)
    noise[40_000:] *= 1e-3  # cheap to code: a length guessed from the first frames would be wrong
    path = write(tmp_path / "a.mp3", noise, 16_000, bitrate_mode="VARIABLE")
    assert len(load_wave(path)) == pytest.approx(160_000, abs=2_400)


@pytest.mark.parametrize("samples", [1, 7, 8191, 50_001])
def test_normalised_arrays_are_of_double_precision_to_the_last_bit(samples):
    wave = np.random.default_rng(samples).normal(0.1, 0.2, samples).astype(np.float32)
    double = wave.astype(np.float64)
    mean, var = wave.mean(dtype=np.float64), wave.var(dtype=np.float64)
    expected = ((double - mean) / np.sqrt(var + 1e-5)).astype(np.float32)
    result = normalize(wave)
    assert result.dtype == np.float32 and np.array_equal(result, expected)


def test_normalize():
    wave = np.random.default_rng(0).normal(3.0, 0.01, 16_000).astype(np.float32)
    result = normalize(wave)
    exact = (wave - np.float64(wave).mean()) / np.sqrt(np.float64(wave).var() + 1e-5)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, exact, atol=1e-6)
    tensor = normalize(torch.from_numpy(wave))
    np.testing.assert_allclose(tensor.numpy(), exact, atol=1e-5)
    assert not normalize(np.zeros(100, np.float32)).any()  # silence stays silence


def broken_truncated_flac(path):
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    write(path.with_suffix(".flac"), noise, 16_000)
    data = path.with_suffix(".flac").read_bytes()
    path.with_suffix(".flac").write_bytes(data[: len(data) // 2])
    return path.with_suffix(".flac")


def broken_no_bytes(path):
    path.write_bytes(b"")
    return path


def broken_not_audio(path):
    path.write_text("this is not audio\n" * 100)
    return path


def broken_no_samples(path):
    return write(path, np.zeros(0), 16_000)


def broken_nan(path):
    return write(path, np.array([0.1, np.nan] * 8_000), 16_000, subtype="FLOAT")


def broken_infinite(path):
    return write(path, np.array([0.1, np.inf] * 8_000), 44_100, subtype="FLOAT")


def broken_missing(path):
    return path


def broken_folder(path):
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken_truncated_flac, "truncated|lost sync"),
        (broken_no_bytes, "cannot be read"),
        (broken_not_audio, "cannot be read"),
        (broken_no_samples, "no samples"),
        (broken_nan, "NaN or infinite"),
        (broken_infinite, "NaN or infinite"),
        (broken_missing, "no such file"),
        (broken_folder, "cannot be read"),
    ],
)
def test_bad_audio_is_a_value_error_that_names_the_file(tmp_path, make, message):
    path = make(tmp_path / "x.wav")
    with pytest.raises(ValueError, match=message) as caught:
        load_wave(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_cut_is_a_part_of_its_recording(tmp_path):
    ramp = np.arange(32_000) / 40_000
    path = write(tmp_path / "a.wav", np.stack([ramp, -ramp], axis=1), 16_000, subtype="FLOAT")
    recording = Recording.from_file(path, recording_id="a")
    part = recording.to_cut().truncate(offset=0.5, duration=1.0)
    part.channel = 0
    np.testing.assert_allclose(load_wave(part), ramp[8_000:24_000], atol=1e-6)
    part.channel = 1
    np.testing.assert_allclose(load_wave(part), -ramp[8_000:24_000], atol=1e-6)
    part.channel = [0, 1]
    np.testing.assert_allclose(load_wave(part), 0, atol=1e-6)


def test_mixed_and_transformed_cuts_are_left_to_lhotse(tmp_path):
    path = write(tmp_path / "a.wav", np.full(16_000, 0.25), 16_000, subtype="FLOAT")
    cut = Recording.from_file(path, recording_id="a").to_cut()
    both = cut.append(cut)
    np.testing.assert_allclose(load_wave(both), np.full(32_000, 0.25), atol=1e-6)
    loud = cut.perturb_volume(2.0)
    np.testing.assert_allclose(load_wave(loud), np.full(16_000, 0.5), atol=1e-6)


def test_a_file_that_changed_since_its_manifest_was_made_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    cut = Recording.from_file(path, recording_id="a").to_cut()
    write(path, np.zeros(32_000), 16_000)
    with pytest.raises(ValueError, match=r"a\.wav: has 32000 samples.*manifest says 16000"):
        load_wave(cut)
