"""VoiceBank-DEMAND: what the survey finds, what the preparation makes."""

import shutil

import numpy as np
import pytest
import soundfile

from upstream import corpora
from upstream.corpora import se
from upstream.corpora.kaldi import read_scp
from upstream.door import tasks

FOLDERS = [f"{kind}_{part}_wav" for part in se.PARTS.values() for kind in se.KINDS]
NAMES = {
    "trainset_28spk": ("p226_001", "p287_001", "p227_001", "p228_003"),
    "testset": ("p232_001",),
}


@pytest.fixture(params=[16000, 48000])
def root(request, tmp_path):
    rng, rate = np.random.default_rng(0), request.param
    for folder in FOLDERS:
        place = tmp_path / (f"{folder}_16k" if rate == 16000 else folder)
        place.mkdir()
        for name in NAMES[folder.split("_", 1)[1].removesuffix("_wav")]:
            soundfile.write(place / f"{name}.wav", 0.1 * rng.standard_normal(rate // 10), rate)
    return tmp_path


def test_a_whole_corpus_has_no_problems(root):
    found = corpora.survey("se", root, tasks.header("se"))
    assert found.problems == [] and found.counts == {"train": 4, "test": 1}
    assert found.hours == pytest.approx(5 * 0.1 / 3600, rel=0.01)


def test_preparation_makes_kaldi_folders_at_16_khz(root):
    corpora.prepare("se", root)
    folder = root / "prepared" / "se"
    lists = {
        split: read_scp(folder / split / "noisy" / "wav.scp") for split in ("train", "dev", "test")
    }
    assert {split: sorted(found) for split, found in lists.items()} == {
        "train": ["p227_001", "p228_003"],
        "dev": ["p226_001", "p287_001"],
        "test": ["p232_001"],
    }
    for split in lists:
        clean = read_scp(folder / split / "clean" / "wav.scp")
        assert clean.keys() == lists[split].keys()
        for name, (path,) in clean.items():
            assert soundfile.info(path).samplerate == 16000 and "clean" in path
            assert soundfile.info(path).frames == 1600
            assert soundfile.info(lists[split][name][0]).frames == 1600
        assert read_scp(folder / split / "clean" / "utt2spk") == {n: [n] for n in clean}
    stamp = (folder / "train" / "noisy" / "wav.scp").stat().st_mtime_ns
    corpora.prepare("se", root)
    assert (folder / "train" / "noisy" / "wav.scp").stat().st_mtime_ns == stamp


def test_preparation_follows_a_corpus_that_was_moved(root, tmp_path_factory):
    corpora.prepare("se", root)
    moved = tmp_path_factory.mktemp("elsewhere") / "corpus"
    shutil.move(root, moved)
    corpora.prepare("se", moved)
    listed = read_scp(moved / "prepared" / "se" / "test" / "noisy" / "wav.scp")
    assert listed["p232_001"][0].startswith(str(moved))


def test_all_problems_come_at_once(root):
    clean, noisy = (next(root.glob(f"{kind}_trainset*")) for kind in se.KINDS)
    test_clean, test_noisy = (next(root.glob(f"{kind}_testset*")) for kind in se.KINDS)
    shutil.rmtree(test_clean)
    (noisy / "p227_001.wav").unlink()
    soundfile.write(clean / "p226_001.wav", np.zeros(100), 8000)
    (test_noisy / "p232_001.wav").write_text("no audio")
    problems = corpora.survey("se", root, tasks.header("se")).problems
    text = "\n".join(problems)
    for part in (
        "clean_testset_wav_16k: no such folder",
        "p227_001.wav missing",
        "p226_001.wav: 8000 Hz",
        "p232_001.wav: not readable as audio",
        "must be equally long",
    ):
        assert part in text
    with pytest.raises(ValueError, match="cannot be prepared") as error:
        corpora.prepare("se", root)
    assert all(problem in str(error.value) for problem in problems)


def test_the_56_speaker_version_and_missing_dev_speakers_are_named(root):
    for kind in se.KINDS:
        folder = next(root.glob(f"{kind}_trainset_28spk_wav*"))
        for name in ("p226_001.wav", "p287_001.wav"):
            (folder / name).unlink()
    problems = corpora.survey("se", root, tasks.header("se")).problems
    assert len(problems) == 1 and "p226 and p287" in problems[0]
    for kind in se.KINDS:
        folder = next(root.glob(f"{kind}_trainset_28spk_wav*"))
        folder.rename(folder.with_name(folder.name.replace("28spk", "56spk")))
    problems = corpora.survey("se", root, tasks.header("se")).problems
    assert len(problems) == 2 and all("56-speaker version" in problem for problem in problems)
