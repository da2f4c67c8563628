import shutil

import pytest
import soundfile
from superb_data import corpus

from upstream import corpora
from upstream.corpora import vc
from upstream.door import tasks

HEADER = tasks.header("vc")


@pytest.fixture
def root(tmp_path):
    made = shutil.copytree(corpus("vc"), tmp_path / "vc")
    shutil.rmtree(made / "prepared")
    return made


def empty(folder, names):
    """A corpus of empty recordings, for what depends on names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def numbers(root):
    lists = root / "prepared" / "lists"
    return {split: (lists / file).read_text().split() for split, file in vc.LIST_FILES.items()}


def test_a_whole_corpus_is_counted_without_complaint(root):
    found = corpora.survey("vc", root, HEADER)
    assert found.counts == {"train": 12, "dev": 4, "test": 4}
    assert found.problems == []
    assert found.hours > 0


def test_lists_have_what_is_there(root):
    corpora.prepare("vc", root)
    train = ["E10060", "E20001", "E20002"]
    assert numbers(root) == {"train": train, "dev": ["E10070"], "test": ["E30001"]}
    (root / "vcc2020" / "TEM2" / "E20002.wav").unlink()
    corpora.prepare("vc", root)
    assert numbers(root)["train"] == train  # others have it, and s3prl leaves out what is missing
    for speaker in vc.TARGETS:
        (root / "vcc2020" / speaker / "E20002.wav").unlink(missing_ok=True)
    corpora.prepare("vc", root)
    assert numbers(root)["train"] == train[:2]


def test_the_official_lists_come_from_the_whole_database(tmp_path):
    base = tmp_path / "vcc2020"
    files = [f"{s}/E1{n:04d}.wav" for s in vc.SOURCES for n in range(1, 71)]
    files += [f"{s}/E1{n:04d}.wav" for s in vc.TARGETS for n in range(51, 71)]
    files += [f"{s}/E2{n:04d}.wav" for s in vc.TARGETS for n in range(1, 51)]
    files += [f"{s}/E3{n:04d}.wav" for s in vc.SOURCES + vc.TARGETS for n in range(1, 26)]
    empty(base, files)
    found = vc.survey(tmp_path)
    assert found.counts == HEADER["corpus"]["counts"]
    assert all("not readable as audio" in problem for problem in found.problems)
    vc.prepare(tmp_path)
    got = numbers(tmp_path)
    assert got["train"][:2] == ["E10051", "E10052"]
    assert got["train"][9:11] == ["E10060", "E20001"]
    assert (len(got["train"]), len(got["dev"]), len(got["test"])) == (60, 10, 25)
    assert tasks.paths_under(HEADER, tmp_path) == {
        "downstream_expert.datarc.data_root": str(base),
        "downstream_expert.datarc.lists_root": str(tmp_path / "prepared" / "lists"),
    }


def test_all_problems_are_found_at_once(root):
    base = root / "vcc2020"
    shutil.rmtree(base / "SEM2")
    (base / "TEF2" / "E30001.wav").unlink()
    (base / "TEM1" / "E10070.wav").unlink()
    wave, _ = soundfile.read(base / "TEF1" / "E20001.wav")
    soundfile.write(base / "TEF1" / "E20001.wav", wave, 16000)
    found = "\n".join(corpora.survey("vc", root, HEADER).problems)
    for part in (
        f"{base}: no recordings of SEM2; get https://github.com",
        "TEF2: lacks the test sentences E30001",
        "TEM1: none of the sentences for dev",
        "E20001.wav: 16000 Hz, the corpus has 24000 Hz",
    ):
        assert part in found
    with pytest.raises(ValueError, match="no sentences for test that the speakers have"):
        corpora.prepare("vc", root)


def test_a_database_still_in_its_parts_is_recognised(tmp_path):
    for part in ("vcc2020_database_evaluation/SEF1", "vcc2020_database_groundtruth/TEF1"):
        empty(tmp_path / part, ["E30001.wav"])
    (problem,) = vc.survey(tmp_path).problems
    assert "move the speakers' folders out of vcc2020_database_evaluation, vcc2020_database_" in (
        problem
    )
