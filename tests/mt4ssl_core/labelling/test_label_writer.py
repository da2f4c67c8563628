import os
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.cuts import ListedCuts, id_hash
from mt4ssl_core.data.labels import LabelStore
from mt4ssl_core.labelling import label_writer
from mt4ssl_core.labelling.label_writer import GrowingLabels, joined_labels, remove_parts

JOB = {"kmeans_sha256": "1", "hours": 1.0}


@dataclass
class Cut:
    id: str
    duration: float = 400 / 16_000


CUTS: Any = ListedCuts(Cut(f"{name}.wav") for name in "abcde")


class Kill(BaseException):
    """What a signal does to us."""


def begin(folder, job=JOB):
    return GrowingLabels(folder, "train", job, folder)


def remaining(growing):
    bar = AudioBar("test", 1.0, [], False)
    return [cut.id for cut in growing.remaining(CUTS, bar)], bar.skipped


def interrupted(folder, ids, job=JOB):
    """Write some rows, then stop as by Ctrl-C."""
    growing = begin(folder, job)
    with pytest.raises(Kill), growing.writing() as write:
        for number, id in enumerate(ids):
            write(id, 400 + number, [number, number])
        raise Kill


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_get_their_names_at_the_end(tmp_path):
    growing = begin(tmp_path / "new")
    with growing.writing() as write:
        write("a.wav", 720, [3, 1])
        assert not [name for name in names(tmp_path / "new") if not name.startswith(".")]
    growing.finish(4)
    assert names(tmp_path / "new") == ["dict.km.txt", "train.km", "train.tsv"]
    assert (tmp_path / "new/dict.km.txt").read_text() == "0 1\n1 1\n2 1\n3 1\n"
    assert (tmp_path / "new/train.km").read_text() == "3 1\n"
    assert (tmp_path / "new/train.tsv").read_text() == f"{tmp_path / 'new'}\na.wav\t720\n"


def test_goes_on_after_an_interruption(tmp_path):
    interrupted(tmp_path, ["a.wav", "c.wav"])
    growing = begin(tmp_path)
    assert growing.rows == 2
    assert remaining(growing) == (["b.wav", "d.wav", "e.wav"], [])  # b.wav once more
    with growing.writing() as write:
        write("d.wav", 400, [7])
    growing.finish(8)
    assert (tmp_path / "train.km").read_text() == "0 0\n1 1\n7\n"
    assert (tmp_path / "train.tsv").read_text().splitlines()[1:] == [
        "a.wav\t400",
        "c.wav\t401",
        "d.wav\t400",
    ]


@pytest.mark.parametrize("km_bytes", range(0, 9))
@pytest.mark.parametrize("tsv_bytes", [0, 1, 5, 10, 11, 12, 13, 22])
def test_power_cut_anywhere_loses_only_unfinished_rows(tmp_path, km_bytes, tsv_bytes):
    interrupted(tmp_path, ["a.wav", "b.wav"])
    root = len(f"{tmp_path}\n")
    km, tsv = tmp_path / ".train.km.partial", tmp_path / ".train.tsv.partial"
    km.write_bytes(km.read_bytes()[:km_bytes])  # rows end at 4 and 8
    tsv.write_bytes(tsv.read_bytes()[: root + tsv_bytes])  # rows end at 10 and 20
    growing = begin(tmp_path)
    rows = min(km_bytes // 4, tsv_bytes // 10)
    assert growing.rows == min(rows, 2)
    with growing.writing() as write:
        for number, cut in enumerate(list(CUTS)[growing.rows : 2], start=growing.rows):
            write(cut.id, 400 + number, [number, number])
    growing.finish(2)
    assert (tmp_path / "train.km").read_text() == "0 0\n1 1\n"
    assert (tmp_path / "train.tsv").read_text() == f"{tmp_path}\na.wav\t400\nb.wav\t401\n"


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_kill_among_the_renames_leaves_no_old_labels_with_a_new_list(tmp_path, monkeypatch, step):
    for name in ("train.tsv", "train.km", "train.stats.json"):
        (tmp_path / name).write_text("old")
    growing = begin(tmp_path)
    with growing.writing() as write:
        write("a.wav", 400, [1])
    real, calls = os.replace, []

    def replace(source, target):
        if len(calls) == step:
            raise Kill
        calls.append(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Kill):
        growing.finish(2)
    if step == 0:  # nothing is changed yet
        assert all((tmp_path / name).read_text() == "old" for name in ("train.tsv", "train.km"))
        return
    assert not {"train.km", "train.stats.json"} & set(names(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"train\.km: no such file"):
        LabelStore.open(tmp_path / "train.km")


class Numbered(ListedCuts):
    """So many utterances of one frame; none is in memory."""

    def __init__(self, count):
        self.samples = np.full(count, 400)

    def __len__(self):
        return len(self.samples)

    def id(self, index):
        return f"a-rather-long-name-of-a-speaker/and-of-a-book/{index:09d}.flac"

    def __getitem__(self, index):
        return Cut(self.id(index))

    def hashes(self, seed=0):
        return np.fromiter((id_hash(self.id(i)) for i in range(len(self))), np.uint64, len(self))


def test_memory_hardly_grows_with_the_rows(tmp_path):
    """Half of them were written by a run that was interrupted."""
    peaks = {}
    for count in (10_000, 30_000):
        cuts: Any = Numbered(count)
        ids = (cuts.id(place) for place in range(0, count, 2))
        with pytest.raises(Kill), begin(tmp_path / str(count)).writing() as write:
            for id in ids:
                write(id, 400, [3])
            raise Kill
        tracemalloc.start()
        growing = begin(tmp_path / str(count))
        left = growing.remaining(cuts, AudioBar("test", 1.0, [], False))
        with growing.writing() as write:
            for cut in left:
                write(cut.id, 400, [3])
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert growing.rows == count
    assert (peaks[30_000] - peaks[10_000]) / 20_000 < 100  # bytes


def test_another_job_begins_anew(tmp_path):
    interrupted(tmp_path, ["a.wav"])
    growing = begin(tmp_path, {**JOB, "kmeans_sha256": "2"})
    assert growing.rows == 0
    assert remaining(growing)[0] == [cut.id for cut in CUTS]


def test_bad_input_leaves_nothing(tmp_path):
    growing = begin(tmp_path)
    with pytest.raises(ValueError, match="rename"), growing.writing() as write:
        write("a.wav", 400, [1])
        write("b\t.wav", 400, [1])
    assert names(tmp_path) == []


def test_corpus_without_a_row_that_was_done(tmp_path):
    interrupted(tmp_path, ["a.wav", "x.wav"])
    with pytest.raises(ValueError, match=r"x\.wav is no longer in the corpus"):
        remaining(begin(tmp_path))


def test_parts_of_several_processes_are_joined_in_order(tmp_path, monkeypatch):
    for rank in range(2):
        growing = GrowingLabels(tmp_path, "train", JOB, tmp_path, (rank, 2))
        with growing.writing() as write:
            for number in range(rank, 5, 2):
                if number != 2:  # it could not be read
                    write(CUTS[number].id, 400 + number, [number, rank])
    begin(tmp_path)  # of one process, interrupted before
    opened = Counter[tuple]()

    def counted(*given, **more):
        opened[given] += 1
        return open(*given, **more)

    monkeypatch.setattr(label_writer, "open", counted, raising=False)
    whole = joined_labels(tmp_path, "train", JOB, tmp_path, 2, CUTS)
    assert whole.rows == 4
    assert max(opened.values()) == 2  # to see what is there, and to read it, however many rows
    whole.finish(5)
    assert names(tmp_path) == ["dict.km.txt", "train.km", "train.tsv"]
    assert (tmp_path / "train.km").read_text() == "0 0\n1 1\n3 1\n4 0\n"
    lines = (tmp_path / "train.tsv").read_text().splitlines()
    assert lines[1:] == ["a.wav\t400", "b.wav\t401", "d.wav\t403", "e.wav\t404"]


def test_what_runs_of_other_numbers_of_processes_left_is_removed_and_nothing_else(tmp_path):
    for part in ((0, 2), (1, 2), (2, 3), (0, 1)):
        GrowingLabels(tmp_path, "train", JOB, tmp_path, part)
    GrowingLabels(tmp_path, "train.more", JOB, tmp_path)
    (tmp_path / ".train.lock").touch()
    remove_parts(tmp_path, "train")
    more = [".train.more.job.json", ".train.more.km.partial", ".train.more.tsv.partial"]
    assert names(tmp_path) == [".train.lock", *more]


def test_the_job_of_an_interrupted_run_that_is_no_text_begins_anew(tmp_path):
    interrupted(tmp_path, ["a.wav"])
    (tmp_path / ".train.job.json").write_bytes(b"\xff")
    assert begin(tmp_path).rows == 0
