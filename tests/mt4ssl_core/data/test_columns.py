import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest

from mt4ssl_core.data import columns
from mt4ssl_core.data.columns import Columns, kept


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(columns, "KEPT_FROM", 0)
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


class Maker:
    """Makes columns of a file of numbers, and counts how often."""

    def __init__(self, path):
        self.path, self.times = path, 0
        path.write_text("1 2 3")

    def __call__(self):
        self.times += 1
        numbers = np.array(self.path.read_text().split(), dtype=np.int64)
        return Columns({"numbers": numbers, "none": np.zeros(0, np.uint8)}, {"sum": "ü"})

    def open(self):
        return kept("index", [self.path, self.path.with_name("other")], self)


@pytest.fixture
def maker(tmp_path):
    (tmp_path / "data").mkdir()
    return Maker(tmp_path / "data" / "list.txt")


def place(maker):
    return maker.path.with_name(".list.txt.index")


def test_columns_are_made_once(maker):
    for _ in range(3):
        found = maker.open()
        assert found["numbers"].tolist() == [1, 2, 3] and len(found["none"]) == 0
        assert found.facts == {"sum": "ü"} and found.path == place(maker) and not found.note
        with pytest.raises(ValueError, match="read-only"):
            found["numbers"][0] = 5
    assert maker.times == 1
    assert sorted(os.listdir(maker.path.parent)) == [".list.txt.index", "list.txt"]


def test_small_files_are_not_kept(maker, monkeypatch):
    monkeypatch.setattr(columns, "KEPT_FROM", 6)
    assert maker.open().path is None and os.listdir(maker.path.parent) == ["list.txt"]


def same_size_and_time(maker):
    before = maker.path.stat()
    maker.path.write_text("9 2 3")
    os.utime(maker.path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda maker: maker.path.write_text("1 2 3 4"),
        lambda maker: os.utime(maker.path, ns=(0, 1)),
        same_size_and_time,
        lambda maker: maker.path.with_name("other").write_text("new"),
    ],
)
def test_columns_are_made_again_when_a_source_changes(maker, change):
    maker.open()
    change(maker)
    expected = [int(number) for number in maker.path.read_text().split()]
    assert maker.open()["numbers"].tolist() == expected
    assert maker.open()["numbers"].tolist() == expected and maker.times == 2


def test_another_version_is_made_again(maker, monkeypatch):
    maker.open()
    monkeypatch.setattr(columns, "FORMAT", columns.FORMAT + 1)
    maker.open()
    assert maker.times == 2


def test_no_damage_is_trusted(maker):
    maker.open()
    whole = place(maker).read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 5)]
    flipped = (whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in range(len(whole) - 8))
    damaged += [content for i, content in enumerate(flipped) if not i % 7]
    for claim in (b"99", b"-9", b'"9'):
        damaged.append(whole.replace(b'"int64", 3', b'"int64", ' + claim))
    damaged.append(whole.replace(b"int64", b"|O   "))
    for number, content in enumerate(damaged, start=2):
        assert content != whole
        place(maker).write_bytes(content)
        assert maker.open()["numbers"].tolist() == [1, 2, 3]
        assert maker.times == number


def test_what_is_no_file_is_not_waited_for(maker, tmp_path):
    os.mkfifo(place(maker))
    assert maker.open()["numbers"].tolist() == [1, 2, 3]


def test_what_does_not_fit_is_made_again(maker):
    maker.open()
    found = kept(
        "index", [maker.path, maker.path.with_name("other")], maker, lambda c: c.path is None
    )
    assert found["numbers"].tolist() == [1, 2, 3]


def test_without_a_place_beside_it_is_in_the_cache_folder(maker, tmp_path):
    place(maker).mkdir()
    (place(maker) / "full").write_text("")
    for _ in range(2):
        found = maker.open()
        assert found.path.is_relative_to(tmp_path / "cache") and not found.note
    assert maker.times == 1


def test_without_any_place_it_is_made_every_time_and_said(maker, tmp_path):
    place(maker).mkdir()
    (place(maker) / "full").write_text("")
    (tmp_path / "cache").write_text("a file")
    for times in (1, 2):
        found = maker.open()
        assert found["numbers"].tolist() == [1, 2, 3] and maker.times == times
        assert "list.txt: its index is made at every start" in found.note


def test_other_processes_map_the_same(maker):
    found = maker.open()
    sent = pickle.dumps(found)
    assert pickle.loads(sent)["numbers"].tolist() == [1, 2, 3] and len(sent) < 1000
    maker.path.write_text("4 5 6")
    maker.open()
    assert found["numbers"].tolist() == [1, 2, 3]  # what is mapped stays
    with pytest.raises(ValueError, match="changed while it was in use"):
        pickle.loads(sent)


def test_of_several_processes_one_makes_it(maker):
    log = maker.path.with_name("log")

    def slowly():
        with open(log, "a") as file:
            file.write("made\n")
        time.sleep(0.3)
        return maker()

    def work():
        assert kept("index", [maker.path], slowly)["numbers"].tolist() == [1, 2, 3]

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert log.read_text() == "made\n"


def test_a_source_that_changes_meanwhile_is_refused(maker):
    def disturbed():
        made = maker()
        maker.path.write_text("7 8 9 10")
        return made

    with pytest.raises(ValueError, match=r"list\.txt: changed while it was read"):
        kept("index", [maker.path], disturbed)
    assert not place(maker).exists()
