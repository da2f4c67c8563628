"""``mt4ssl transcribe`` and ``decode``, and the same from Python."""

import json

import numpy as np
import pytest
import soundfile
from recognisers import saved, spoken

import mt4ssl
import mt4ssl_cli
from mini_superb.ngram import BackOff


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tmp_path / "last.pt")


@pytest.fixture
def audio(tmp_path):
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, spoken("AB CAB"), 16_000)
    return [str(tmp_path / "one.wav"), str(tmp_path / "two.wav")]


def test_transcripts_on_standard_output(checkpoint, audio, capsys):
    assert mt4ssl_cli.main(["transcribe", checkpoint, audio[0], "--device", "cpu"]) == 0
    alone = capsys.readouterr().out
    words = ["transcribe", checkpoint, *audio, "--device", "cpu"]
    assert mt4ssl_cli.main(words) == 0
    assert capsys.readouterr().out == f"one.wav: {alone}two.wav: {alone}"
    assert mt4ssl_cli.main([*words, "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] + "\n" for line in lines] == [alone, alone]


@pytest.mark.parametrize(("rate", "doubted"), [(0.736, True), (0.2, False), (None, False)])
def test_a_model_that_had_most_words_wrong_is_told(audio, tmp_path, capsys, rate, doubted):
    progress = {"update": 1, "epoch": 0, "batches": 1, "best": rate}
    checkpoint = saved(tmp_path / "best.pt", progress=progress)
    assert mt4ssl_cli.main(["transcribe", checkpoint, audio[0], "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert ("best.pt: its word error rate was 74% at best" in said.err) == doubted
    assert "fragments" not in said.out


def test_files_of_captions_with_a_language_model(checkpoint, audio, tmp_path, capsys):
    lm = tmp_path / "lm.arpa"
    lm.write_text(BackOff(["AB CAB", "A B C"], 2).arpa())
    words = ["transcribe", checkpoint, *audio, "--format", "vtt", "--device", "cpu"]
    words += ["--lm", str(lm), "--beam", "20", "--out", str(tmp_path / "out")]
    assert mt4ssl_cli.main(words) == 0
    assert capsys.readouterr().out == f"written: 2 files in {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "two.vtt").read_text().startswith("WEBVTT\n")


def test_a_file_that_cannot_be_read_is_named_and_told_by_the_exit_code(
    checkpoint, audio, tmp_path, capsys
):
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    words = ["transcribe", checkpoint, *audio, str(tmp_path / "none.wav"), "--device", "cpu"]
    assert mt4ssl_cli.main(words) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "none.wav" in said.err and "1 files could not be transcribed" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("CKPT gone.wav", "gone.wav: no such file"),
        ("gone.pt AUDIO", "gone.pt"),
        ("AUDIO AUDIO", "one.wav"),
        ("CKPT AUDIO AUDIO --format srt", "captions of several files; give --out"),
        ("CKPT AUDIO --lm gone.arpa", "gone.arpa: no such language model"),
        ("CKPT AUDIO --lexicon gone.txt", "gone.txt: no such lexicon"),
        ("CKPT AUDIO --beam 0", "--beam: 0; must be at least 1"),
        ("CKPT AUDIO --lm-weight x", "--lm-weight"),
        ("CKPT AUDIO --format doc", "'doc': unknown"),
        ("CKPT AUDIO --dictionary gone.txt", "has its own vocabulary"),
    ],
)
def test_what_cannot_be_is_one_line(checkpoint, audio, capsys, words, said):
    names = {"CKPT": checkpoint, "AUDIO": audio[0]}
    given = [names.get(word, word) for word in words.split()]
    assert mt4ssl_cli.main(["transcribe", *given, "--device", "cpu"]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("mt4ssl: error: ") and said in line
    assert not shown.out


def test_from_python(checkpoint, audio):
    recogniser = mt4ssl.load_recogniser(checkpoint, device="cpu")
    one = mt4ssl.transcribe(recogniser, audio[0])
    assert mt4ssl.transcribe(checkpoint, audio[0], device="cpu") == one
    several = mt4ssl.transcribe(recogniser, audio)
    assert [found.text for found in several] == [one.text, one.text]
    wave = np.zeros(44_100, np.float32)
    silence = mt4ssl.transcribe(recogniser, wave, rate=44_100)
    assert silence.seconds == 1.0
    with pytest.raises(TypeError, match="lm_weight: give them to load_recogniser"):
        mt4ssl.transcribe(recogniser, audio, lm_weight=1.0)
    with pytest.raises(ValueError, match="beam: 0"):
        mt4ssl.load_recogniser(checkpoint, beam=0)
