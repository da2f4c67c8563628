import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording, SupervisionSegment

from mt4ssl_core.data import transcripts
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.settings.finetuning import TextConfig


def audio(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(seconds * 16_000), 0.1), 16_000)
    return path


def read(source, given=None, units="letters"):
    manifest = open_manifest(source, min_seconds=0.1)
    return transcripts.read_transcripts(source, manifest, given, units)


def tsv(tmp_path, names=("a.wav", "b.wav")):
    for name in names:
        audio(tmp_path / "audio" / name)
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path / 'audio'}\n" + "".join(f"{name}\t16000\n" for name in names))
    return path


def test_librispeech_as_it_is(tmp_path):
    audio(tmp_path / "61" / "70" / "61-70-0000.flac")
    audio(tmp_path / "61" / "70" / "61-70-0001.flac")
    audio(tmp_path / "61" / "71" / "61-71-0000.flac")
    audio(tmp_path / "alone.wav")
    (tmp_path / "61" / "70" / "61-70.trans.txt").write_text("61-70-0000 HE'S IN\n61-70-0001\n")
    (tmp_path / "alone.txt").write_text("one\ntwo\n")
    assert read(tmp_path) == {
        "61/70/61-70-0000.flac": "HE'S IN", "61/70/61-70-0001.flac": "", "alone.wav": "one two",
    }  # fmt: skip


def test_transcripts_without_audio_are_told_folder_by_folder(tmp_path):
    audio(tmp_path / "1" / "a.wav")
    (tmp_path / "1" / "short.FLAC").write_bytes(b"")  # there, though nobody can read it
    (tmp_path / "1" / "x.trans.txt").write_text("a ONE\nshort TWO\nlost THREE\n\n")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "y.trans.txt").write_text("b ONE\nc TWO\n")
    manifest = open_manifest(tmp_path, min_seconds=0.1)
    known = len(manifest.skipped)
    assert transcripts.read_transcripts(tmp_path, manifest) == {"1/a.wav": "ONE"}
    assert manifest.skipped[known:] == [
        (str(tmp_path / "1"), "1 of 3 transcripts have no audio, first lost"),
        (str(tmp_path / "2"), "2 of 2 transcripts have no audio, first b"),
    ]


def test_names_and_texts_with_a_tab_between_them(tmp_path):
    audio(tmp_path / "a.wav")
    (tmp_path / "x.trans.txt").write_text("a\tHE'S  IN\n\n\n")
    assert read(tmp_path) == {"a.wav": "HE'S  IN"}


def test_the_parts_of_libri_light_by_name(tmp_path):
    root = tmp_path / "librispeech_finetuning"
    (root / "1h" / "0").mkdir(parents=True)
    assert transcripts.find_part(root, "10min") == root / "1h" / "0"
    assert transcripts.find_part(root, "1h") == root / "1h"
    assert transcripts.find_part(root, None) == root
    with pytest.raises(ValueError, match=r"data.part=10h needs .*9h"):
        transcripts.find_part(root, "10h")
    (root / "9h").mkdir()
    assert transcripts.find_part(root, "10h").resolve() == root


def test_fairseqs_letters_and_words_say_the_same(tmp_path):
    path = tsv(tmp_path)
    path.with_suffix(".ltr").write_text("H I | Y O U |\nN O |\n")
    assert {id: text.split() for id, text in read(path).items()} == {
        "a.wav": ["HI", "YOU"], "b.wav": ["NO"],
    }  # fmt: skip
    words = tmp_path / "other.wrd"
    words.write_text("HI YOU\nNO\n")
    assert read(path, str(words)) == {"a.wav": "HI YOU", "b.wav": "NO"}
    path.with_suffix(".phn").write_text("HH AY\nN OW\n")
    assert read(path, units="tokens") == {"a.wav": "HH AY", "b.wav": "N OW"}


def test_a_csv_with_its_columns(tmp_path):
    audio(tmp_path / "audio" / "a.wav")
    path = tmp_path / "speech.csv"
    path.write_text('path,speaker,text\naudio/a.wav,me,"one, two"\n')
    assert read(path) == {"audio/a.wav": "one, two"}


def test_cuts_with_supervisions(tmp_path):
    recording = Recording.from_file(audio(tmp_path / "a.wav"))
    one, two = recording.to_cut(), recording.to_cut()
    one.id, two.id = "one", "two"
    one.supervisions = [SupervisionSegment("s", "a", 0, 1, text="yes")]
    path = tmp_path / "cuts.jsonl.gz"
    CutSet([one, two]).to_file(path)
    assert read(path) == {"one": "yes"}
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    lines[0]["supervisions"].append({**lines[0]["supervisions"][0], "id": "t"})
    path.write_bytes(gzip.compress("".join(json.dumps(x) + "\n" for x in lines).encode()))
    with pytest.raises(ValueError, match="cut one: 2 supervisions with text"):
        read(path)


def test_a_text_file_one_line_short_is_named(tmp_path):
    path = tsv(tmp_path)
    path.with_suffix(".wrd").write_text("HI YOU\n")
    with pytest.raises(ValueError, match=r"train.wrd: 1 lines for the 2 rows of .*train.tsv"):
        read(path)


def test_what_is_no_transcript_is_said(tmp_path):
    path = tsv(tmp_path)
    with pytest.raises(ValueError, match=r"no train.ltr or train.wrd beside it"):
        read(path)
    path.with_suffix(".ltr").write_text("HI YOU\nNO\n")
    with pytest.raises(ValueError, match=r"train.ltr:1: 'HI' among letters"):
        read(path)
    with pytest.raises(ValueError, match="no transcripts with this audio"):
        read(tmp_path / "audio")
    table = tmp_path / "speech.csv"
    table.write_text("path,words\naudio/a.wav,hi\n")
    with pytest.raises(ValueError, match="no column text among path, words"):
        read(table)
    with pytest.raises(ValueError, match=r"a text file goes with a \.tsv"):
        read(table, str(path.with_suffix(".ltr")))
    twice = tmp_path / "audio" / "x.trans.txt"
    twice.write_text("a HI\na HO\n")
    with pytest.raises(ValueError, match=r"x.trans.txt:2: a is there twice"):
        read(tmp_path / "audio")


def test_case_and_marks_are_what_the_settings_say(tmp_path):
    assert transcripts.normalised("  It's  me ", TextConfig()) == "IT'S ME"
    assert transcripts.normalised("Oh, no!", TextConfig(case="lower", remove=",!")) == "oh no"
    assert transcripts.normalised("cafe\u0301", TextConfig(case="keep")) == "caf\u00e9"
    assert transcripts.normalised("h# aX", TextConfig(units="tokens")) == "h# aX"
    texts = {"a": "IT'S ÜBER", "b": "NO 1-2-3!"}
    with pytest.raises(ValueError, match=r"with counts: '-' 2, '1' 1, .*first in b"):
        transcripts.check_marks(texts, TextConfig(), tmp_path)
    transcripts.check_marks(texts, TextConfig(keep="'-123!"), tmp_path)


def test_alignments_that_cannot_be_are_left_out(tmp_path):
    audio(tmp_path / "a.wav")
    (cut,) = open_manifest(tmp_path, min_seconds=0.1).cuts

    def reason(text, frames=3, longest=9.0):
        texts = {} if text is None else {"a.wav": text}
        found = transcripts.choose([cut], texts, lambda t: [*t.encode()], lambda _: frames, longest)
        return found.left_out[0][1] if found.left_out else found.tokens["a.wav"]

    assert reason("abc") == [97, 98, 99] and reason("aa") == [97, 97]
    assert reason("abb") == "3 frames, too few for its 3 tokens (4 needed)"
    assert reason("") == "an empty transcript" and reason(None) == "no transcript"
    assert reason("a", longest=0.5) == "1 s, longer than data.max_seconds = 0.5"
