import csv
import shutil

import pytest
import soundfile
from superb_data import corpus

from mini_superb import ic as mini
from upstream import corpora
from upstream.corpora import ic
from upstream.door import tasks

HEADER = tasks.header("ic")


@pytest.fixture
def root(tmp_path):
    return shutil.copytree(corpus("ic"), tmp_path / "ic")


def rewrite(table, change):
    with open(table, newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with open(table, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def test_a_whole_corpus_is_counted_without_complaint(root):
    counts = mini.COUNTS["tiny"]
    found = corpora.survey("ic", root, HEADER)
    assert found.counts == {name: n * counts.intents for name, n in counts.speakers.items()}
    assert found.problems == []
    assert 0 < found.hours < 0.1
    assert corpora.survey("ic", root / mini.CORPUS, HEADER).counts == found.counts
    assert corpora.survey("ic", root.parent, HEADER).counts == found.counts


def test_all_problems_are_found_at_once(root):
    data = root / mini.CORPUS / "data"
    (data / "valid_data.csv").unlink()
    rewrite(data / "test_data.csv", lambda rows: rows[1].__setitem__(4, "explode"))
    rewrite(data / "train_data.csv", lambda rows: rows[2].__setitem__(5, ""))
    tables = ((data / f"{split}_data.csv").read_text() for split in ("train", "test"))
    wavs = [root / mini.CORPUS / table.splitlines()[3].split(",")[1] for table in tables]
    wave, rate = soundfile.read(wavs[0])
    soundfile.write(wavs[0], wave, 8000)
    wavs[-1].unlink()
    found = "\n".join(corpora.survey("ic", root, HEADER).problems)
    for part in (
        "valid_data.csv: no such file; get the corpus from https://fluent.ai",
        "action explode does not occur in train_data.csv",
        "no value for path, action, object, location in lines 3",
        f"{wavs[0]}: 8000 Hz, the corpus has {rate} Hz",
        f"names 1 files that are not there ({wavs[-1].relative_to(root / mini.CORPUS)})",
    ):
        assert part in found
    assert len(found.splitlines()) == 5


def test_a_table_of_another_corpus_is_not_taken(root):
    table = root / mini.CORPUS / "data" / "train_data.csv"
    table.write_text(",file,label\n0,a.wav,yes\n")
    found = ic.survey(root)
    assert found.counts["train"] == 0
    assert "lacks the column path, action, object, location" in found.problems[0]
    table.write_text("")
    assert "has no rows" in ic.survey(root).problems[0]


def test_the_root_key_finds_the_real_layout(tmp_path):
    base = tmp_path / "fluent_speech_commands_dataset"
    for file in ("data/train_data.csv", "data/valid_data.csv", "data/test_data.csv"):
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).touch()
    assert tasks.paths_under(HEADER, tmp_path) == {"downstream_expert.datarc.file_path": str(base)}
