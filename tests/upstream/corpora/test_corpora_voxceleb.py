"""VoxCeleb1 for identification and verification: checked, and trials made from its dev people."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora import asv
from upstream.door import tasks


def write(path, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(rate // 10), rate)


@pytest.fixture
def root(tmp_path):
    """Three people of dev with 2 videos of 2 utterances, two of test."""
    people = {"dev": ["id10001", "id10002", "id10003"], "test": ["id10270", "id10271"]}
    lines, trials = [], []
    for part, names in people.items():
        for name in names:
            for video in ("aaa", "bbb"):
                for number in (1, 2):
                    utterance = f"{name}/{video}/{number:05d}.wav"
                    write(tmp_path / "VoxCeleb1" / part / "wav" / utterance)
                    split = 1 if video == "aaa" else 1 + number  # 2 dev, 3 test
                    lines.append(f"{split} {utterance}\n")
    for one, two in (("id10270", "id10270"), ("id10270", "id10271")):
        trials.append(f"{int(one == two)} {one}/aaa/00001.wav {two}/bbb/00002.wav\n")
    (tmp_path / "iden_split.txt").write_text("".join(lines))
    (tmp_path / "veri_test.txt").write_text("".join(trials))
    return tmp_path


def problems(code, root):
    return corpora.survey(code, root, tasks.header(code)).problems


def test_a_whole_corpus_is_counted(root):
    found = corpora.survey("sid", root, tasks.header("sid"))
    assert found.problems == []
    assert found.counts == {"train": 10, "dev": 5, "test": 5}
    assert found.hours == pytest.approx(20 * 0.1 / 3600)
    found = corpora.survey("asv", root, tasks.header("asv"))
    assert found.problems == []
    assert found.counts == {"dev": 12, "test": 8, "trials": 2}
    assert set(found.counts) == set(tasks.header("asv")["corpus"]["counts"])


def test_one_folder_for_both_tasks_with_the_lists_inside(root):
    for name in ("iden_split.txt", "veri_test.txt"):
        (root / name).rename(root / "VoxCeleb1" / name)
    for code in ("sid", "asv"):
        assert problems(code, root) == problems(code, root / "VoxCeleb1") == []


def test_everything_wrong_is_reported_at_once(root):
    wav = root / "VoxCeleb1" / "dev" / "wav"
    (wav / "id10001" / "aaa" / "00001.wav").unlink()
    write(wav / "id10002" / "aaa" / "00001.wav", 8000)
    write(wav / "id00012" / "aaa" / "00001.wav")
    text = " ".join(problems("sid", root))
    assert "names 1 utterances that are missing (id10001/aaa/00001.wav)" in text
    assert "8000 Hz" in text
    assert "id00012 are not people of VoxCeleb1" in text
    assert "VoxCeleb2" in text


def test_lists_that_are_missing_or_broken(root):
    (root / "iden_split.txt").write_text("4 id10001/aaa/00001.wav\n")
    assert "line 1: expected '1|2|3" in problems("sid", root)[0]
    (root / "iden_split.txt").write_text("1 id10001/aaa/00001.wav\n")
    assert any("nothing for dev" in problem for problem in problems("sid", root))
    (root / "iden_split.txt").unlink()
    assert any("meta/iden_split.txt and put it there" in p for p in problems("sid", root))
    (root / "veri_test.txt").write_text("1 id10270/aaa/00001.wav\n")
    assert "line 1: expected '0|1" in problems("asv", root)[0]
    (root / "veri_test.txt").write_text("1 id10270/aaa/00001.wav id10270/aaa/00009.wav\n")
    text = " ".join(problems("asv", root))
    assert "id10270/aaa/00009.wav" in text
    assert "all trials are of one kind" in text
    (root / "veri_test.txt").write_text("")
    assert any("empty" in problem for problem in problems("asv", root))
    (root / "veri_test.txt").unlink()
    assert any("meta/veri_test.txt and put it there" in p for p in problems("asv", root))


def test_half_a_corpus_another_format_and_merged_parts(root):
    wav = root / "VoxCeleb1" / "test" / "wav"
    shutil.copytree(wav / "id10270", root / "VoxCeleb1" / "dev" / "wav" / "id10270")
    assert any("id10270 are in dev and in test" in p for p in problems("asv", root))
    shutil.rmtree(wav)
    assert any("test/wav: no such folder; download" in p for p in problems("asv", root))
    (wav / "id10270" / "aaa").mkdir(parents=True)
    assert any("no SPEAKER/VIDEO/*.wav" in p for p in problems("asv", root))
    (wav / "id10270" / "aaa" / "00001.m4a").touch()
    assert any("m4a files" in p for p in problems("asv", root))
    assert any("no such folder" in p for p in problems("asv", root / "gone"))


def trials_of(root):
    return (root / "prepared" / "asv" / "dev_trials.txt").read_text().splitlines()


def test_dev_trials_join_two_videos_and_are_balanced(root):
    corpora.prepare("asv", root)
    trials = [line.split() for line in trials_of(root)]
    assert len({tuple(trial) for trial in trials}) == len(trials)
    same = [trial for trial in trials if trial[0] == "1"]
    other = [trial for trial in trials if trial[0] == "0"]
    assert len(same) == 3 * 4  # of three people, each with 2 x 2 pairs of two videos
    assert 0.5 * len(same) < len(other) <= len(same)  # the same one is not made twice
    for _, one, two in same:
        assert one.split("/")[0] == two.split("/")[0]
        assert one.split("/")[1] != two.split("/")[1]
    assert all(one.split("/")[0] != two.split("/")[0] for _, one, two in other)
    assert all(
        (root / "VoxCeleb1/dev/wav" / name).is_file() for _, *pair in trials for name in pair
    )


def test_prepare_does_nothing_until_the_corpus_changes(root):
    corpora.prepare("asv", root)
    first = trials_of(root)
    path = root / "prepared" / "asv" / "dev_trials.txt"
    os.utime(path, (1, 1))
    corpora.prepare("asv", root)
    assert path.stat().st_mtime == 1
    write(root / "VoxCeleb1/dev/wav/id10004/aaa/00001.wav")
    write(root / "VoxCeleb1/dev/wav/id10004/aaa/00002.wav")
    corpora.prepare("asv", root)
    assert len(trials_of(root)) > len(first)
    assert any(line.startswith("1 id10004/aaa/00001") for line in trials_of(root))


def test_40_people_10_utterances(tmp_path):
    people = []
    for number in range(45):
        for utterance in range(13):
            folder = tmp_path / f"id{10001 + number}" / f"video{utterance % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{utterance:05d}.wav").touch()
        people.append(tmp_path / f"id{10001 + number}")
    trials = [line.split() for line in asv.dev_trials(people)]
    assert trials == [line.split() for line in asv.dev_trials(people)]
    assert len({name.split("/")[0] for _, *pair in trials for name in pair}) == 40
    assert len({name for _, *pair in trials for name in pair}) <= 400
    same = sum(trial[0] == "1" for trial in trials)
    assert 40 * 30 <= same <= 40 * 50
    assert 0.9 < (len(trials) - same) / same <= 1


def test_too_few_people_for_trials(root):
    shutil.rmtree(root / "VoxCeleb1/dev/wav/id10001")
    shutil.rmtree(root / "VoxCeleb1/dev/wav/id10002")
    with pytest.raises(ValueError, match="not two people with two utterances"):
        corpora.prepare("asv", root)
    assert not (root / "prepared/asv/stamp.json").exists()
