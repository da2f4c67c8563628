"""Labelled speech with faults: they cost nothing else, and every one is counted."""

import os

import numpy as np
import pytest
import soundfile

from analysis.labelled_speech import speech
from analysis.labelled_speech.alignments import PHONES, WORDS

WHOLE = ("0 4000 sh\n4000 8000 iy\n8000 16000 h#\n", "0 8000 she\n8000 16000 had\n")


def audio(path, format="WAV"):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(path, noise, 16_000, format=format, subtype="PCM_16")


def timit(root, phones=WHOLE[0], words=WHOLE[1], names=("SX2.WAV", "SX2.PHN", "SX2.WRD")):
    """Two utterances as TIMIT has them, NIST sphere and capital letters; SX1 is whole."""
    for place, texts in (("DR1/FABC0", WHOLE), ("DR1/MABC0", (phones, words))):
        own = names if place == "DR1/MABC0" else ("SX1.WAV", "SX1.PHN", "SX1.WRD")
        folder = root / "TRAIN" / place
        audio(folder / own[0], "NIST")
        for name, text in zip(own[1:], texts, strict=True):
            if text is not None:
                (folder / name).write_text(text)
        (folder / "SX1.TXT").write_text("0 16000 She had.\n")
    return root


@pytest.mark.parametrize(
    ("words", "kept", "note"),
    [
        ("0 10384 she\n8000 16000 had\n", ["she", "had"], "words overlap in 1 of 2 .* 0.149 s"),
        ("0 16000 she\n4000 8000 had\n", ["she", "had"], "words overlap in 1 of 2 .* 0.250 s"),
        ("0 8100 she\n8000 16000 had\n", ["she", "had"], None),  # rounding
        ("0 100 she\n9000 16000 had\n", ["she", "had"], None),  # a gap
        ("8000 16000 had\n0 8000 she\n", ["she", "had"], None),  # not in order
        ("0 8000 she\n8000 8000 x\n8000 9000 had\n", ["she", "had"], None),  # of no length
        ("", [], None),
        (None, None, None),
        ("0 8000 she\n8000 26000 had\n", None, "words of 1 of 2 .*SX2.WRD.*ends at 1.625 s"),
        ("8000 0 she\n", None, r"words of 1 of 2 .*SX2.WRD.*'she' \(0.500 to 0.000 s\), expected"),
        ("-5 8000 she\n", None, "words of 1 of 2 alignments left out.*expected 0 <= start"),
        ("0 8000\n", None, "words of 1 of 2 .*SX2.WRD, line 1: '0 8000', expected first sample"),
        ("0 8000 she\n\0\0\0", None, "words of 1 of 2 .*SX2.WRD, line 2"),
        ("0 1e9 she\n", None, "words of 1 of 2 .*SX2.WRD, line 1"),
        ("9" * 5000 + " 1 she\n", None, "words of 1 of 2 .*SX2.WRD, line 1"),
    ],
)
def test_words_never_cost_the_phones(tmp_path, words, kept, note):
    told = []
    first, second = speech.read_speech([timit(tmp_path / "TIMIT", words=words)], told=told)
    assert [item.label for item in first.alignment.tier(WORDS)] == ["she", "had"]
    assert [item.label for item in second.alignment.tier(PHONES)] == ["sh", "iy", "h#"]
    assert second.phones == ("sh", "iy")
    there = second.alignment.tiers.get(WORDS)
    assert (there and [item.label for item in there]) == (kept or (() if kept == [] else None))
    assert len(told) == (note is not None)
    if note:
        with pytest.raises(ValueError, match=note):
            raise ValueError(told[0])


@pytest.mark.parametrize(
    ("phones", "note"),
    [
        ("0 5000 sh\n4000 16000 iy\n", "phones overlap in 1 of 2 .* 0.062 s, .*two labels have no"),
        ("0 4000 sh\n4000 36000 iy\n", "phones of 1 of 2 .*SX2.PHN.*ends at 2.250 s"),
        ("hello\n", "phones of 1 of 2 .*SX2.PHN, line 1"),
        (None, "1 of 2 alignments left out.*no SX2.PHN beside it"),
    ],
)
def test_phones_of_one_file_do_not_cost_those_of_others(tmp_path, phones, note):
    told = []
    first, _ = speech.read_speech([timit(tmp_path / "TIMIT", phones, None)], told=told)
    assert first.phones == ("sh", "iy")
    with pytest.raises(ValueError, match=note):
        raise ValueError("\n".join(told))


@pytest.mark.parametrize(
    "names",
    [
        ("sx2.wav", "sx2.phn", "sx2.wrd"),
        ("SX2.wav", "SX2.PHN", "SX2.WRD"),
        ("sx2.WAV", "SX2.phn", "Sx2.Wrd"),
    ],
)
def test_capital_and_small_letters_of_files_may_differ(tmp_path, names):
    _, item = speech.read_speech([timit(tmp_path / "TIMIT", names=names)], told=[])
    assert set(item.alignment.tiers) == {PHONES, WORDS}


def table(folder, *names):
    for name in names:
        audio(folder / name)
    (folder / "index.csv").write_text("\n".join(["path", *names]) + "\n")
    return folder


TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n{end}\n<exists>\n2\n'
    '"IntervalTier"\n"phones"\n0\n{end}\n2\n0 0.5 "a"\n{start} 1 "b"\n'
    '"IntervalTier"\n"words"\n0\n{end}\n1\n{word} 0.9 "ab"\n'
)


@pytest.mark.parametrize(
    ("text", "tiers", "note"),
    [
        (TEXTGRID.format(end=1, start=0.5, word=0), {PHONES, WORDS}, None),
        (TEXTGRID.format(end=1, start=0.3, word=0), {PHONES, WORDS}, "phones overlap in 1 of 2"),
        (TEXTGRID.format(end=1, start=0.5, word=2), {PHONES}, "words of 1 of 2"),
        (TEXTGRID.format(end=0.7, start=0.5, word=0), set(), "but the file says 0.700 s"),
        (TEXTGRID.format(end=1, start=0.5, word=0)[:150], set(), "1 of 2 .* breaks off"),
        ("nothing", set(), "1 of 2 alignments left out.*not a TextGrid"),
        ("\udcff\udcfea", set(), "1 of 2 alignments left out.*TextGrid"),
    ],
)
def test_one_textgrid_does_not_cost_the_others(tmp_path, text, tiers, note):
    data, aligned, told = table(tmp_path / "data", "a.wav", "b.wav"), tmp_path / "grids", []
    aligned.mkdir()
    (aligned / "a.TextGrid").write_text(TEXTGRID.format(end=1, start=0.5, word=0))
    (aligned / "b.TextGrid").write_bytes(text.encode("utf-8", "surrogateescape"))
    first, second = speech.read_speech([data], aligned, told)
    assert set(first.alignment.tiers) == {PHONES, WORDS}
    assert set(second.alignment.tiers) == tiers
    assert bool(told) == (note is not None)
    if note:
        with pytest.raises(ValueError, match=note):
            raise ValueError("\n".join(told))


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("", "1 of 2 utterances have no alignment, first data/b.wav"),
        ("b 1 0.5 -0.1 x", "phones of 1 of 2 .*'x' .0.500 to 0.400 s., expected 0 <= start"),
        ("b 1 0 nan x", "phones of 1 of 2 .*expected 0 <= start"),
        ("b 1 0.5 9 x", "phones of 1 of 2 .*ends at 9.500 s, but the audio has 1.000 s"),
        ("b 1 0 0.5 x\nb 1 0.2 0.5 y", "phones overlap in 1 of 2 alignments, by up to 0.300 s"),
    ],
)
def test_one_utterance_of_a_ctm_does_not_cost_the_others(tmp_path, line, note):
    data, told = table(tmp_path / "data", "a.wav", "b.wav"), []
    (tmp_path / "phones.ctm").write_text(f"{line}\na 1 0.1 0.2 x\n")
    first, _ = speech.read_speech([data], tmp_path / "phones.ctm", told)
    assert first.alignment.tier(PHONES)[0].label == "x"
    with pytest.raises(ValueError, match=note):
        raise ValueError("\n".join(told))


def broken_audio(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"no audio" * 99}[kind])


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing", "empty", "text"])
def test_audio_that_cannot_be_read_is_left_out_and_counted(tmp_path, kind):
    data = table(tmp_path / "data", "a.wav", "b.wav")
    broken_audio(data / "b.wav", kind)
    told = []
    (item,) = speech.read_speech([data], told=told)
    assert item.path == data / "a.wav"
    (note,) = told
    assert note.startswith("1 of 2 audio files are left out, first") and "b.wav" in note
    with pytest.raises(ValueError, match=r"b\.wav"):
        speech.read_speech([data])  # nobody would be told
    broken_audio(data / "a.wav", kind)
    with pytest.raises(ValueError, match=r"none of 2 audio files can be read, first .*a\.wav"):
        speech.read_speech([data], told=[])


def test_paths_with_a_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    audio(tmp_path / "speech" / "a.wav")
    (tmp_path / "index.csv").write_text("path\n~/speech/a.wav\n")
    (item,) = speech.read_speech(["~/index.csv"])
    assert item.path == tmp_path / "speech" / "a.wav"
