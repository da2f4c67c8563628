"""The score of voice conversion, from files as s3prl's expert leaves them."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from upstream import scores
from upstream.scores import vc


@pytest.fixture
def config(tmp_path):
    """A corpus of one test sentence, half a second long: a buzz of another pitch per speaker."""
    data, lists = tmp_path / "vcc2020", tmp_path / "lists"
    for speaker, hertz in (
        ("TEF1", 200),
        ("SEF1", 240),
        ("SEF2", 220),
        ("SEM1", 150),
        ("SEM2", 140),
    ):
        (data / speaker).mkdir(parents=True)
        soundfile.write(data / speaker / "E30001.wav", buzz(hertz), 24000)
    (data / "prompts").mkdir()
    (data / "prompts" / "Eng_transcriptions.txt").write_text("30001 Don't go, go there now.\n")
    lists.mkdir()
    (lists / "eval_list.txt").write_text("E30001\n")
    datarc = {"data_root": str(data), "lists_root": str(lists)}
    return {"downstream_expert": {"trgspk": "TEF1", "datarc": datarc}}


def buzz(hertz):
    phase = np.cumsum(np.full(12000, hertz / 24000))
    return 0.3 * lfilter([1.0], [1.0, -0.9], np.diff(np.floor(phase), prepend=0.0))


@pytest.fixture
def converted(tmp_path, config):
    """A perfect conversion of the test sentence of two sources."""
    folder = tmp_path / "0" / "test" / "wav"
    folder.mkdir(parents=True)
    for speaker in ("SEF1", "SEM1"):
        shutil.copy(target(config), folder / f"{speaker}_E30001.wav")
    return folder


def target(config):
    return f"{config['downstream_expert']['datarc']['data_root']}/TEF1/E30001.wav"


def test_perfect_conversion_scores_zero(tmp_path, config, converted):
    found = scores.score("vc", tmp_path, config, "test", {"loss": 1.5})
    assert found == {"loss": 1.5, "mcd_griffinlim": 0.0, "f0_rmse_griffinlim": 0.0}
    lines = json.loads((converted / vc.REPORT).read_text())
    assert lines["SEM1_E30001"] == {"mcd": 0.0, "f0_rmse": 0.0}
    assert vc.score(tmp_path, config, "train", {}) == {}


def test_the_unconverted_source_is_the_mark_to_beat(tmp_path, config, converted):
    mark = vc.unconverted(config)
    assert mark["mcd"] > 0.5
    assert mark["f0_rmse"] == pytest.approx((40 + 20 + 50 + 60) / 4, abs=3)
    source = f"{config['downstream_expert']['datarc']['data_root']}/SEM1/E30001.wav"
    shutil.copy(source, converted / "SEM1_E30001.wav")
    found = vc.score(tmp_path, config, "test", {})
    assert found["mcd_griffinlim"] > 0
    assert found["f0_rmse_griffinlim"] == pytest.approx(50 / 2, abs=3)


def test_files_of_other_speakers_or_sentences_do_not_count(tmp_path, config, converted):
    noise = np.random.default_rng(0).normal(0, 0.1, 12000)
    for name in ("SEF1_E30099.wav", "TEF1_E30001.wav", "SEF1_E10001.wav"):
        soundfile.write(converted / name, noise, 24000)
    assert vc.score(tmp_path, config, "test", {})["mcd_griffinlim"] == 0


def test_a_vocoder_is_scored_when_asked_for(tmp_path, config, converted):
    config["downstream_expert"]["vocoder"] = "vocoder_wav"
    with pytest.raises(ValueError, match=r"vocoder_wav: 2 of 2 files are missing.*hdf5"):
        vc.score(tmp_path, config, "test", {})
    shutil.copytree(converted, converted.parent / "vocoder_wav")
    assert vc.score(tmp_path, config, "test", {})["mcd_vocoder"] == 0
    wave, _ = soundfile.read(target(config))
    soundfile.write(converted.parent / "vocoder_wav" / "SEM1_E30001.wav", wave, 16000)
    with pytest.raises(ValueError, match=r"SEM1_E30001\.wav: 16000 Hz.*24000 Hz; resample"):
        vc.score(tmp_path, config, "test", {})


def test_words_of_a_recogniser_give_the_error_rate(tmp_path, config, converted):
    config["downstream_expert"]["transcripts"] = "vocoder_text.txt"
    with pytest.raises(ValueError, match=r"vocoder_text\.txt: no such file"):
        vc.score(tmp_path, config, "test", {})
    file = converted.parent / "vocoder_text.txt"
    file.write_text("SEF1_E30001 dont go go there now\nSEM1_E30001 DONT GO THERE NO\n")
    found = vc.score(tmp_path, config, "test", {})
    assert found["wer"] == pytest.approx(100 * 2 / 10)
    file.write_text("SEF1_E30001 hello\n")
    with pytest.raises(ValueError, match=r"vocoder_text\.txt: no line for SEM1_E30001"):
        vc.score(tmp_path, config, "test", {})


def test_a_file_that_is_no_audio_is_named(tmp_path, config, converted):
    (converted / "SEM1_E30001.wav").write_text("no audio")
    with pytest.raises(ValueError, match=r"SEM1_E30001\.wav: not readable as audio"):
        vc.score(tmp_path, config, "test", {})
