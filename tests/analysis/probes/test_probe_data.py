import json

import numpy as np
import pytest
import soundfile

from analysis.labelled_speech import speech


def audio(path, seconds=1.0, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).normal(0, 0.1, round(seconds * rate))
    soundfile.write(path, noise, rate)


def table(folder, *lines, name="index.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_a_table(tmp_path):
    audio(tmp_path / "an4" / "a.wav", 0.5, 8_000)
    audio(tmp_path / "an4" / "b.wav")
    folder = table(
        tmp_path / "an4",
        "path,speaker,gender,label,phones,split,extra",
        "a.wav,s1,f,bed,B EH1 D | Y EH0 S,train-clean-100,",
        "b.wav,,,,,test,x",
    )
    first, second = speech.read_speech([folder])
    assert (first.id, first.samples, first.split) == ("an4/a.wav", 8_000, "train")
    assert (first.speaker, first.gender, first.keyword) == ("an4/s1", "f", "bed")
    assert first.phones == ("B", "EH", "D", "Y", "EH", "S")
    assert second.split == "test" and second.samples == 16_000
    assert (second.speaker, second.gender, second.keyword, second.phones) == (None,) * 4
    assert speech.read_speech([folder / "index.csv"]) == [first, second]


def test_lengths_in_a_table_are_believed(tmp_path):
    folder = table(tmp_path / "x", "path\tnum_samples", "none.wav\t777", name="all.tsv")
    (item,) = speech.read_speech([folder / "all.tsv"])
    assert item.samples == 777 and item.split is None


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["file,split", "a,test"], "no column path among file, split"),
        (["path,num_samples,split", "a,5,holdout"], "line 2: split 'holdout', expected train"),
        (["path,num_samples", "a,5", "b,x"], "line 3: num_samples 'x'"),
        (["path,num_samples", "a,5", "a,5"], "x/a twice"),
        (["path"], "no audio in it"),
        (['"'], "line 1: not a line of a table"),
        (["path,split", "a,test,x"], "line 2: 3 cells, expected the 2 of its head"),
        (["path,path", "a,b"], "two columns are called 'path'"),
        (["path,split", "a,test", ",test"], "line 3: no path"),
        (["path,num_samples", "a," + "9" * 99], "line 2: num_samples '9999"),
    ],
)
def test_broken_tables_are_refused(tmp_path, lines, told):
    with pytest.raises(ValueError, match=told):
        speech.read_speech([table(tmp_path / "x", *lines)])


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none: no such file or folder; give a table"):
        speech.read_speech([tmp_path / "none"])
    with pytest.raises(ValueError, match="not a source of labelled speech"):
        speech.read_speech([tmp_path])
    with pytest.raises(ValueError, match="give --data SOURCE"):
        speech.read_speech([])


def test_alignments_are_matched_by_name(tmp_path):
    audio(tmp_path / "x" / "a.wav")
    folder = table(tmp_path / "x", "path", "a.wav")
    (tmp_path / "a.ctm").write_text("a 1 0.1 0.2 AH\n")
    (item,) = speech.read_speech([folder], tmp_path / "a.ctm")
    assert item.alignment.tiers["words"][0].label == "AH"
    (tmp_path / "a.ctm").write_text("b 1 0.1 0.2 AH\n")
    with pytest.raises(ValueError, match=r"x/a\.wav: no alignment"):
        speech.read_speech([folder], tmp_path / "a.ctm")


def test_alignments_need_not_be_of_every_source(tmp_path):
    one = table(tmp_path / "one", "path,num_samples", "c.wav,16000")
    other = mini(tmp_path / "mini")
    (tmp_path / "phones.ctm").write_text("c 1 0.1 0.2 AH0\n")
    c, pr, _ = speech.read_speech([one, other], tmp_path / "phones.ctm")
    assert c.alignment.tiers["phones"][0].label == "AH0"
    assert pr.alignment.source.endswith("pr.jsonl")


def test_sources_of_one_name_stay_apart(tmp_path, monkeypatch):
    rows = ("path,num_samples,speaker,gender", "a.wav,16000,1,Female")
    one, other = (table(tmp_path / name / "data", *rows) for name in "AB")
    found = speech.read_speech([one, other])
    assert [item.speaker for item in found] == ["A/data/1", "B/data/1"]
    assert {item.gender for item in found} == {"f"}
    monkeypatch.chdir(one)
    (item,) = speech.read_speech(["index.csv"])
    assert (item.id, item.speaker) == ("data/a.wav", "data/1")
    with pytest.raises(ValueError, match="one is there twice; give it once"):
        speech.read_speech(["index.csv", one / "index.csv"])


def mini(folder):
    def line(path, **more):
        phones = [[0.1, "_"], [0.2, "ˈæ"], [0.5, "t"]]
        facts = {"samples": 16_000, "phones": phones, "end": 0.8, "split": "train", "text": "at"}
        return json.dumps({"path": path, "speaker": "7", **facts, **more}) + "\n"

    (folder / "alignments").mkdir(parents=True)
    (folder / "mini_superb.json").write_text("{}")
    (folder / "alignments" / "pr.jsonl").write_text(line("pr/a.flac"), encoding="utf-8")
    noise = line("ks/_background_noise_/n.wav", speaker=None, phones=[], end=0.0)
    (folder / "alignments" / "ks.jsonl").write_text(
        line("ks/go/b.wav", split="test") + noise, encoding="utf-8"
    )
    return folder


def test_mini_superb(tmp_path):
    read, word = speech.read_speech([mini(tmp_path / "mini")])
    assert read.phones == ("æ", "t") and read.alignment.duration == 1.0
    assert read.path == tmp_path / "mini" / "pr" / "a.flac"
    assert (word.keyword, word.split, word.phones, word.speaker) == ("go", "test", None, "mini/7")
    pr = tmp_path / "mini" / "alignments" / "pr.jsonl"
    pr.write_text(pr.read_text(encoding="utf-8").replace('"speaker"', '"voice"'))
    with pytest.raises(ValueError, match=r"pr\.jsonl: pr/a\.flac without its speaker; make the"):
        speech.read_speech([tmp_path / "mini"])
    for file in (tmp_path / "mini" / "alignments").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="--tasks pr,ks,sid"):
        speech.read_speech([tmp_path / "mini"])


def test_timit(tmp_path):
    base = tmp_path / "TIMIT" / "TRAIN" / "DR1" / "FCJF0"
    for name in ("SX37", "SA1"):
        audio(base / f"{name}.WAV")
        (base / f"{name}.PHN").write_text("0 1000 h#\n1000 2000 ix\n2000 16000 h#\n")
    (item,) = speech.read_speech([tmp_path / "TIMIT"])
    assert (item.gender, item.speaker, item.split) == ("f", "TIMIT/FCJF0", "train")
    assert item.phones == ("ix",) and item.samples == 16_000
    assert item.id == "TIMIT/TRAIN/DR1/FCJF0/SX37"
    audio(base / "SX37.WAV.wav")  # as some copies have it
    assert len(speech.read_speech([tmp_path / "TIMIT"])) == 1
    audio(base / "SX9.WAV")
    told = []
    assert len(speech.read_speech([tmp_path / "TIMIT"], told=told)) == 2
    (note,) = told
    assert "1 of 2 alignments left out" in note and "SX9.WAV: no SX9.PHN beside it" in note


def test_librispeech(tmp_path):
    audio(tmp_path / "LibriSpeech" / "test-clean" / "84" / "1" / "84-1-0000.flac")
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(
        ";ID  |SEX| SUBSET\n84   | F | test-clean | 25.1 | Somebody\n"
    )
    for folder in ("LibriSpeech", "LibriSpeech/test-clean"):
        (item,) = speech.read_speech([tmp_path / folder])
        assert (item.gender, item.split) == ("f", "test") and item.speaker.endswith("/84")


def test_speech_commands(tmp_path):
    root = tmp_path / "sc"
    for name in ("go/1a_nohash_0.wav", "up/2b_nohash_1.wav", "_background_noise_/x.wav"):
        audio(root / name)
    (root / "testing_list.txt").write_text("up/2b_nohash_1.wav\n")
    go, up = speech.read_speech([root])
    assert (go.keyword, go.split, go.speaker) == ("go", "train", "sc/1a")
    assert (up.keyword, up.split) == ("up", "test")
