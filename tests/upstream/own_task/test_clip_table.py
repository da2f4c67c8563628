"""Tables of clips: what is accepted, and what is said of what is not."""

import numpy as np
import pytest
import soundfile

from upstream.own_task import checks, splits, table, trials
from upstream.own_task.table import Row


@pytest.fixture
def folder(tmp_path):
    """A folder with a.wav to f.wav, half a second each."""
    for name in "abcdef":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000), 16000)
    return tmp_path


def written(folder, text, encoding="utf-8"):
    path = folder / "data.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refused(folder, text, kind="classify", encoding="utf-8"):
    """Return what is said of a table, as a user of `mt4ssl task train` would see it."""
    path = written(folder, text, encoding)
    with pytest.raises(ValueError) as error:
        rows, _ = splits.fill(table.read(path, kind), kind)
        checks.check(path, rows, kind)
        checks.fit_frames(path, rows, checks.durations(path, rows), kind, rate=50)
    assert str(error.value).startswith(str(path))
    return str(error.value)


GOOD = "path,label,split\na.wav,x,train\nb.wav,y,train\nc.wav,x,dev\nd.wav,y,test\n"
END_BEHIND = "path,label,split,end\na.wav,x,train,2\nb.wav,y,train,\nc.wav,x,dev,\nd.wav,y,test,\n"


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(folder, between, encoding):
    text = GOOD.replace(",", between).replace("\n", "\r\n").replace("dev", "Valid")
    rows = table.read(written(folder, text, encoding), "classify")
    assert [(row.line, row.name, row.value, row.split) for row in rows] == [
        (2, "a.wav", "x", "train"),
        (3, "b.wav", "y", "train"),
        (4, "c.wav", "x", "dev"),
        (5, "d.wav", "y", "test"),
    ]
    assert all(row.path == folder / row.name for row in rows)


def test_quoted_fields_absolute_paths_and_parts_of_a_file(folder):
    text = f'text,start,path,end,note\n"one,  two",0.1,{folder}/a.wav,0.4,\nthree,,b.wav,,x\n'
    first, second = table.read(written(folder, text), "ctc")
    assert (first.value, first.start, first.end) == ("one, two", 0.1, 0.4)
    assert (second.path, second.start) == (folder / "b.wav", None)
    found = checks.durations(folder / "data.csv", [first, second])
    assert found == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty; the first line names the columns: path, label"),
        ("path,label\n", "no rows below the names"),
        ("path,lable\na.wav,x\n", "no column label (did you mean lable?"),
        ("file,label\na.wav,x\n", "no column path (did you mean file?"),
        ("path,emotion\na.wav,x\n", "no column label (did you mean emotion?"),
        ("path,label,splt\na.wav,x,train\n", "column splt: did you mean split?"),
        ("path,label,label\na.wav,x,y\n", "two columns label"),
        ("path,label\na.wav,x\nb.wav,x,y\n", "line 3: 3 fields, expected 2 (path, label)"),
        ("path,label\nz.wav,x\n", "line 2: z.wav: no such file"),
        ("path,label\n,x\n", "line 2: path is empty"),
        ("path,label\nC:\\clips\\a.wav,x\n", "line 2: C:\\clips\\a.wav: a path of Windows"),
        ("path,label\nclips\\a.wav,x\n", "write / in the place of \\"),
        ("path,label\nhttps://example.org/a.wav,x\n", "download the audio"),
        ("path,label\na.wav, \n", "line 2: label is empty"),
        ("path,label,split\na.wav,x,eval\n", "line 2: split 'eval' is unknown; write train, dev"),
        ("path,label,split\na.wav,x,train\nb.wav,x,\n", "line 3: no split, which others have"),
        ("path,label,start\na.wav,x,soon\n", "line 2: start 'soon'"),
        ("path,label,start,end\na.wav,x,0.3,0.2\n", "give seconds, start before end"),
        ('path,label\n"a.wav"b,x\n', "line 2: "),
        (GOOD.replace("d.wav", "a.wav"), "line 5: a.wav is in line 2, too, for train, here for"),
        (GOOD.replace("b.wav,y", "a.wav,y"), "line 3: a.wav is in line 2, too, as 'x'"),
        (GOOD + "a.wav,x,train\n", "line 6: a.wav is in line 2, too; remove one"),
        (GOOD.replace("d.wav,y", "d.wav,z"), "line 5: label 'z' is in test but not in train"),
        (GOOD.replace(",y", ",x"), "one label only ('x')"),
        (GOOD.replace(",test", ",dev"), "no row is test"),
        ("path,label\na.wav,x\nb.wav,y\n", "no row is dev or test"),
        (END_BEHIND, "line 2: a.wav has 0.50 s; correct start and end"),
    ],
)
def test_what_is_wrong_is_named(folder, text, said):
    assert said in refused(folder, text)


def test_a_file_that_is_no_audio(folder):
    (folder / "b.wav").write_text("RIFF")
    said = refused(folder, GOOD)
    assert "line 3: " in said and "b.wav: cannot be read" in said


def test_other_encodings_are_named(folder):
    assert "line 2: not UTF-8" in refused(folder, GOOD.replace("x", "\xfc", 1), encoding="latin-1")
    assert "UTF-16" in refused(folder, GOOD, encoding="utf-16")


def test_many_problems_are_counted(folder):
    said = refused(folder, "path,label\n" + "z.wav,x\n" * 30)
    assert "30 problem(s)" in said and "and 20 more" in said and "line 11" in said


def test_a_text_needs_frames(folder):
    text = "path,text,split\na.wav,aabbaabb,train\nb.wav,ab,dev\nc.wav,{},test\n"
    assert "line 4: c.wav has 25 frames, and a text of 26 characters needs 27" in refused(
        folder, text.format("ab" * 13), "ctc"
    )
    twice = refused(folder, text.format("a" * 13), "ctc")  # a blank between equal ones
    assert "a text of 13 characters needs 26" in twice


def test_characters_that_are_never_trained_on_are_said(folder, capsys):
    text = "path,text,split\na.wav,ab,train\nb.wav,ab,dev\nc.wav,axz,test\n"
    path = written(folder, text)
    checks.check(path, table.read(path, "ctc"), "ctc")
    assert "not in train count as errors: x z" in capsys.readouterr().err


def rows_of(values, speakers=None, split=""):
    return [
        Row(n + 2, f"{n}.wav", "/x", value, split, (speakers or [""] * len(values))[n])
        for n, value in enumerate(values)
    ]


def counted(rows):
    return [sum(row.split == split for row in rows) for split in table.SPLITS]


def test_splits_are_made_by_label_and_are_the_same_every_time():
    rows, how = splits.fill(rows_of("ab" * 20), "classify")
    assert (counted(rows), how) == ([32, 4, 4], "test and dev made: a tenth each, by file")
    for split in table.SPLITS:
        of_split = [row.value for row in rows if row.split == split]
        assert of_split.count("a") == of_split.count("b")
    again, _ = splits.fill(list(reversed(rows_of("ab" * 20))), "classify")
    assert {row.name: row.split for row in rows} == {row.name: row.split for row in again}


def test_splits_are_made_by_speaker():
    speakers = [f"s{n % 10}" for n in range(40)]
    for kind, values in (("classify", "ab" * 20), ("verify", speakers)):
        rows, how = splits.fill(rows_of(values, speakers), kind)
        of = {split: {r.speaker for r in rows if r.split == split} for split in table.SPLITS}
        assert not of["train"] & of["dev"] and not of["train"] & of["test"]
        each = 2 if kind == "verify" else 1
        assert [len(of[split]) for split in table.SPLITS] == [10 - 2 * each, each, each]
        assert how.endswith("by speaker")


def test_dev_is_made_of_what_trains():
    rows = rows_of("ab" * 20, split="train") + rows_of("ab", split="test")
    found, how = splits.fill(rows, "classify")
    assert (counted(found), how) == ([36, 4, 2], "dev made: a tenth each, by file")


def test_trials_are_made_evenly_and_read(tmp_path):
    rows = rows_of("aaabbb")
    made = trials.make(rows)
    assert [sum(t.target == kind for t in made) for kind in (0, 1)] == [6, 6]
    assert made == trials.make(rows)
    assert all((rows[t.enrol].value == rows[t.test].value) == bool(t.target) for t in made)
    path = tmp_path / "trials.csv"
    path.write_text("enrol,test,target\n0.wav,1.wav,1\n0.wav,3.wav,0\n")
    assert trials.read(path, rows) == [(1, 0, 1), (0, 0, 3)]
    for line, said in (
        ("0.wav,9.wav,1", "line 3: test '9.wav': no test clip"),
        ("0.wav,3.wav,maybe", "line 3: target 'maybe'"),
        ("0.wav,3.wav,1", "target 1 is not what the speakers say"),
        ("0.wav,2.wav,1", "needs trials of target 1 and of target 0"),
    ):
        path.write_text(f"enrol,test,target\n0.wav,1.wav,1\n{line}\n")
        with pytest.raises(ValueError, match=r"trials\.csv") as error:
            trials.read(path, rows)
        assert said in str(error.value)


def test_speakers_that_are_trained_on_are_said(folder, capsys):
    text = "path,speaker,split\n" + "".join(
        f"{name}.wav,{who},{split}\n"
        for name, who, split in zip(
            "abcdef", "sstuuv", ["train", "dev", "train", "dev", "dev", "test"], strict=True
        )
    )
    assert "test needs two speakers, and two clips of one" in refused(folder, text, "verify")
    assert "one speaker only in train" in refused(
        folder, text.replace("t,train", "s,train"), "verify"
    )
    for name in "gh":
        soundfile.write(folder / f"{name}.wav", np.zeros(8000), 16000)
    path = written(folder, text + "g.wav,v,test\nh.wav,t,test\n")
    checks.check(path, table.read(path, "verify"), "verify")
    assert "speakers of dev that are trained on, too" in capsys.readouterr().err
