import json
import shutil

import pytest
import soundfile
from superb_data import corpus

from mini_superb import er as mini
from upstream import corpora
from upstream.corpora import er
from upstream.door import tasks

HEADER = tasks.header("er")
TURN = "[6.2901 - 8.2357]\t{}\t{}\t[2.5000, 2.5000, 2.5000]\n"


@pytest.fixture
def root(tmp_path):
    made = shutil.copytree(corpus("er"), tmp_path / "er")
    shutil.rmtree(made / "prepared")
    return made


def meta(root, session, split):
    path = root / "prepared" / "meta_data" / session / f"{split}_meta_data.json"
    return json.loads(path.read_text())


def test_four_emotions_of_every_session_are_counted(root):
    found = corpora.survey("er", root, HEADER)
    assert found.counts == dict.fromkeys(er.SESSIONS, 8)  # 2 people, and "fru" does not count
    assert found.problems == []
    assert found.hours > 0


def test_each_fold_trains_on_the_other_sessions(root):
    corpora.prepare("er", root)
    everything = [m["path"] for s in er.SESSIONS for m in meta(root, s, "test")["meta_data"]]
    assert len(set(everything)) == 40
    for session in er.SESSIONS:
        test, train = meta(root, session, "test"), meta(root, session, "train")
        assert test["labels"] == train["labels"] == {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
        tested, heard = ([m["path"] for m in part["meta_data"]] for part in (test, train))
        assert all(path.startswith(f"{session}/sentences/wav/") for path in tested)
        assert sorted(tested + heard) == sorted(everything)
        assert all((root / mini.CORPUS / path).is_file() for path in heard)


def test_lists_follow_the_judges(root):
    folder = root / mini.CORPUS / "Session2" / "dialog" / "EmoEvaluation"
    for file in folder.glob("*.txt"):
        file.unlink()
    wavs = root / mini.CORPUS / "Session2" / "sentences" / "wav"
    verdicts = {"B_1": "exc", "B_2": "sad", "A_1": "xxx", "A_2": "neu", "A_0": "ang"}
    for name in verdicts:
        (wavs / name[0]).mkdir(exist_ok=True)
        soundfile.write(wavs / name[0] / f"{name}.wav", [0.0] * 800, 16000)
    head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    for dialog in "BA":
        turns = [TURN.format(n, v) for n, v in verdicts.items() if n[0] == dialog]
        (folder / f"{dialog}.txt").write_text(head + "C-E1:\tNeutral;\t()\n".join(turns))
    (folder / "._A.txt").write_bytes(b"\x00\x05[6]\tA_1\tneu\t\xff")
    (folder / "Categorical").mkdir()
    (folder / "Categorical" / "B_e1.txt").write_text("B_1 :Happiness; ()\n")
    corpora.prepare("er", root)
    found = meta(root, "Session2", "test")["meta_data"]
    turns = [(m["path"].rsplit("/", 1)[1], m["label"]) for m in found]
    expected = [("A_2.wav", "neu"), ("A_0.wav", "ang"), ("B_1.wav", "hap"), ("B_2.wav", "sad")]
    assert turns == expected  # dialogs by name, turns as judged
    assert found[0]["speaker"] == "A"


def test_lists_are_made_once_and_again_when_the_judgements_change(root):
    corpora.prepare("er", root)
    listing = root / "prepared" / "meta_data" / "Session1" / "test_meta_data.json"
    listing.write_text("mine")
    corpora.prepare("er", root)
    assert listing.read_text() == "mine"
    judged = next((root / mini.CORPUS / "Session1").rglob("EmoEvaluation/*.txt"))
    judged.write_text(judged.read_text().replace("\tneu\t", "\tfru\t"))
    corpora.prepare("er", root)
    assert len(meta(root, "Session1", "test")["meta_data"]) == 6


def test_problems_are_named_together_and_stop_preparation(root):
    base = root / mini.CORPUS
    shutil.rmtree(base / "Session4")
    for judged in (base / "Session5" / "dialog" / "EmoEvaluation").glob("*.txt"):
        judged.write_text("% nothing\n")
    taken = sorted((base / "Session1").rglob("*.wav"))
    wave, _ = soundfile.read(taken[0])
    for path in taken:
        soundfile.write(path, wave, 44100)
    lost = next(p for p, _ in er._turns(base, "Session3"))
    (base / lost).unlink()
    problems = corpora.survey("er", root, HEADER).problems
    text = "\n".join(problems)
    assert f"{base / 'Session4' / 'dialog' / 'EmoEvaluation'}" in text
    assert "Session5/dialog/EmoEvaluation: no turn with one of the four emotions" in text
    assert "44100 Hz, the corpus has 16000 Hz" in text
    assert "Session3: no recording of 1 turns" in text
    with pytest.raises(ValueError, match=r"Session4.*https://sail\.usc\.edu/iemocap/"):
        corpora.prepare("er", root)
    assert not (root / "prepared").exists()


def test_root_keys_find_what_was_prepared(root):
    corpora.prepare("er", root)
    assert tasks.paths_under(HEADER, root) == {
        "downstream_expert.datarc.root": str(root / mini.CORPUS),
        "downstream_expert.datarc.meta_data": str(root / "prepared" / "meta_data"),
    }
