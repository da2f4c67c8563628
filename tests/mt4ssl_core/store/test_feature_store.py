import hashlib
import json
import multiprocessing
import os
import pickle
import random
import resource
import select
import signal
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from mt4ssl_core.store import append_log, upkeep
from mt4ssl_core.store import space as feature_space
from mt4ssl_core.store.store import FRAMES, INDEX, POOLED, FeatureKind, FeatureStore, content_key

SHAPE = (3, 5, 7)  # L, T, D


def kind(precision="fp32", **changes) -> FeatureKind:
    given = {"fingerprint": "abcd", "selection": "hidden_states", "kind": FRAMES, "layers": None}
    return FeatureKind("test", **{**given, "normalized": False, "precision": precision, **changes})


def key_of(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def features_of(number: int, shape=SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


def filled(folder, count=10, **changes):
    space = FeatureStore(folder).space(kind(**changes))
    assert all(space.put(key_of(i), features_of(i)) for i in range(count))
    return space


def sound(folder, said=None, **changes) -> set[int]:
    """Read all of 2000 records; every one that is there must be right."""
    say = [].append if said is None else said.append
    space = FeatureStore(folder, say=say).space(kind(**changes))
    found = set()
    for number in range(2000):
        features = space.get(key_of(number))
        if features is not None:
            assert torch.equal(features, features_of(number)), number
            found.add(number)
    return found


def the(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*/*.{suffix}")
    return path


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 0), ("fp16", 1e-3), ("int8", 1 / 254)])
@pytest.mark.parametrize("shape", [(13, 50, 8), (1, 1, 3), (2, 0, 4)])
def test_round_trip(precision, bound, shape, tmp_path):
    space = FeatureStore(tmp_path).space(kind(precision))
    features = 10 * features_of(1, shape)
    largest = features.abs().amax(1, keepdim=True) if shape[1] else torch.ones(())
    assert space.put(b"k" * 16, features) and not space.put(b"k" * 16, features)
    for again in (space, FeatureStore(tmp_path).space(kind(precision))):
        found = again.get(b"k" * 16)
        assert found.shape == shape and found.data_ptr() % 4 == 0
        assert ((found.float() - features).abs() <= bound * largest + 1e-7).all()
        assert torch.equal(found.float(), space.roundtrip(features))


def test_values_beyond_half_precision_are_kept_in_full(tmp_path):
    space = FeatureStore(tmp_path).space(kind("fp16"))
    features = torch.full(SHAPE, 1e6)
    assert space.put(b"k" * 16, features)
    assert torch.equal(space.get(b"k" * 16), features)
    assert torch.equal(space.roundtrip(features), features)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_stored(value, tmp_path):
    space = FeatureStore(tmp_path).space(kind())
    assert not space.put(b"k" * 16, torch.full(SHAPE, value))
    assert space.get(b"k" * 16) is None and len(space) == 0


def test_content_key_is_of_the_samples():
    wave = np.linspace(-1, 1, 100, dtype=np.float32)
    other = wave.copy()
    other[50] = np.nextafter(other[50], 1, dtype=np.float32)
    assert content_key(wave) == content_key(wave.astype(np.float64)) == content_key(wave[:])
    assert len({content_key(wave), content_key(other), content_key(wave[:-1])}) == 3


def test_every_kind_has_its_own_space(tmp_path):
    kinds = [kind(), kind("fp16"), kind(fingerprint="x"), kind(selection="x"), kind(kind=POOLED)]
    kinds += [kind(layers=(1,)), kind(layers=(1, 2)), kind(normalized=True)]
    store = FeatureStore(tmp_path)
    for number, each in enumerate(kinds):
        assert store.space(each).put(b"k" * 16, features_of(number))
    again = FeatureStore(tmp_path)
    for number, each in enumerate(kinds):
        found = again.space(each).get(b"k" * 16).float()
        assert torch.allclose(found, features_of(number), atol=2e-3)
    renamed = FeatureKind(**{**vars(kind()), "upstream": "another name"})
    assert torch.equal(again.space(renamed).get(b"k" * 16), features_of(0))


def test_a_thread_reads_while_records_are_forgotten_and_stored_again(tmp_path):
    """As the one that reads ahead for a GPU does."""
    space, over, before = filled(tmp_path, 1), threading.Event(), sys.getswitchinterval()

    def read() -> int:
        times = 0
        while not over.is_set():
            found = space.get(key_of(0))
            assert found is None or torch.equal(found, features_of(0))
            times += found is not None
        return times

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            for _ in range(300):
                writer, record = space._entries[key_of(0)]
                space._forget(key_of(0), writer, record[1], spoiled=False)
                assert space.put(key_of(0), features_of(0))
            over.set()
            assert all(reader.result() >= 0 for reader in readers)
    finally:
        sys.setswitchinterval(before)


def write_until_killed(folder, ready) -> None:
    torch.set_num_threads(1)
    store = FeatureStore(folder)
    space = store.space(kind())
    for number in range(2000):
        if number not in ready.done:
            space.put(key_of(number), features_of(number))
            store.audio.add(key_of(number), key_of(number + 1), number)
            os.write(ready.pipe, struct.pack("<I", number))
    os._exit(0)


class Ready:
    def __init__(self, pipe, done):
        self.pipe, self.done = pipe, done


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_at_any_moment(times, tmp_path):
    draw, before = random.Random(times), set()
    for turn in range(times):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            write_until_killed(tmp_path, Ready(write, before))
        os.close(write)
        if turn % 2:  # half of them get something done, however busy the machine is
            select.select([read], [], [], 60)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(read, "rb") as pipe:
            told = {number for (number,) in struct.iter_unpack("<I", pipe.read())}
        said: list[str] = []
        found = sound(tmp_path, said)
        assert found >= before | told and len(found - before - told) <= 1
        assert not said
        audio = FeatureStore(tmp_path).audio
        for number in told:
            assert audio.find(key_of(number)) == (key_of(number + 1), number)
        before = found
    assert len(before) >= times / 2


@pytest.mark.parametrize("suffix", ["features", "index", "audio"])
def test_cut_off_at_any_byte(suffix, tmp_path):
    space = filled(tmp_path, 3)
    for number in range(3):
        space.store.audio.add(key_of(number), key_of(number), number)
    path = the(tmp_path, suffix)
    whole = path.read_bytes()
    for size in range(len(whole) - 1, 0, -37):
        path.write_bytes(whole[:size])
        assert sound(tmp_path) <= {0, 1, 2}
        audio = FeatureStore(tmp_path).audio
        assert all(audio.find(key_of(i)) in (None, (key_of(i), i)) for i in range(3))
    path.write_bytes(whole)
    assert sound(tmp_path) >= {2}


@pytest.mark.parametrize("suffix", ["features", "index"])
def test_a_flipped_byte_is_noticed_once_and_computed_again(suffix, tmp_path):
    filled(tmp_path)
    path = the(tmp_path, suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 40] ^= 4  # in a record, not beside it
    path.write_bytes(data)
    said: list[str] = []
    lost = set(range(10)) - sound(tmp_path, said)
    assert len(lost) == 1
    assert (len(said) == 1 and "spoiled" in said[0] and str(tmp_path) in said[0]) == (
        suffix == "features"
    )
    (number,) = lost
    assert FeatureStore(tmp_path).space(kind()).put(key_of(number), features_of(number))
    said.clear()
    assert sound(tmp_path, said) == set(range(10)) and not said


def test_disk_full_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch):
    said: list[str] = []
    store = FeatureStore(tmp_path, say=said.append)
    space = store.space(kind())
    assert space.put(key_of(0), features_of(0))
    original, left = os.write, [200]

    def write(file, data):
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        written = original(file, bytes(data[: left[0]]))  # half a record, then nothing
        left[0] -= written
        return written

    monkeypatch.setattr(append_log.os, "write", write)
    assert not space.put(key_of(1), features_of(1)) and not space.put(key_of(2), features_of(2))
    store.audio.add(key_of(1), key_of(1), 1)
    assert len(said) == 1 and "disk is full" in said[0] and "--store-dir" in said[0]
    assert store.audio.find(key_of(1)) == (key_of(1), 1)  # known to this process all the same
    monkeypatch.undo()
    assert sound(tmp_path) == {0}
    assert space.lost_bytes() == 0  # what was cut off gave its room back


@pytest.mark.parametrize("after", [0, 100, 460, 500])  # a record takes 448 bytes, its entry 49
def test_an_interrupt_while_writing_spoils_nothing(after, tmp_path, monkeypatch):
    space = filled(tmp_path, 1)
    original, left = os.write, [after]

    def write(file, data):
        if not left[0]:
            raise KeyboardInterrupt
        written = original(file, bytes(data[: left[0]]))
        left[0] -= written
        return written

    monkeypatch.setattr(append_log.os, "write", write)
    with pytest.raises(KeyboardInterrupt):
        for number in range(1, 3):
            space.put(key_of(number), features_of(number))
    monkeypatch.undo()
    assert all(space.put(key_of(number), features_of(number)) for number in range(3, 6))
    assert sound(tmp_path) - {1} == {0, 3, 4, 5}
    assert space.get(key_of(3)).data_ptr() % 64 == 0


def test_a_file_size_limit(tmp_path):
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        space = FeatureStore(tmp_path, say=lambda text: None).space(kind())
        stored = [space.put(key_of(i), features_of(i)) for i in range(5)]
        os._exit(0 if stored == [True, True, False, False, False] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sound(tmp_path) == {0, 1}


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="not a folder"):
        FeatureStore(tmp_path / "file")
    said: list[str] = []
    store = FeatureStore(tmp_path / "file" / "below", say=said.append)
    assert not store.space(kind()).put(key_of(0), features_of(0))
    assert not store.space(kind("fp16")).put(key_of(0), features_of(0))
    assert len(said) == 1


def fill_some(folder, numbers) -> None:
    torch.set_num_threads(1)
    space = FeatureStore(folder).space(kind())
    for number in numbers:
        space.put(key_of(number), features_of(number))
    found = {number: space.get(key_of(number)) for number in numbers}
    assert all(f is not None and torch.equal(f, features_of(i)) for i, f in found.items())


def test_processes_fill_and_read_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    parts = [range(0, 300), range(200, 500), range(499, -1, -1)]
    workers = [context.Process(target=fill_some, args=(tmp_path, part)) for part in parts]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        sound(tmp_path)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sound(tmp_path) == set(range(500))


def test_what_others_write_is_seen(tmp_path):
    reader = FeatureStore(tmp_path).space(kind())
    assert key_of(1) not in reader
    filled(tmp_path)
    reader.refresh()
    assert key_of(1) in reader and torch.equal(reader.get(key_of(1)), features_of(1))


def test_an_index_that_cannot_be_read_is_said_once(tmp_path):
    space = filled(tmp_path, 3)
    (space.folder / "stranger.index").mkdir()
    said: list[str] = []
    again = FeatureStore(tmp_path, say=said.append).space(kind())
    again.refresh()
    assert len(again) == 3 and len(said) == 1 and "stranger.index" in said[0]


def test_a_store_that_is_removed_while_it_is_used(tmp_path):
    filled(tmp_path)
    said: list[str] = []
    space = FeatureStore(tmp_path, say=said.append).space(kind())
    other = FeatureStore(tmp_path).space(kind())
    before = other.get(key_of(1))
    assert upkeep.remove(tmp_path, "abcd")
    assert [space.get(key_of(i)) for i in range(10)] == [None] * 10
    assert len(said) == 1 and "gone" in said[0]
    assert torch.equal(before, features_of(1)) and torch.equal(other.get(key_of(2)), features_of(2))
    assert space.put(key_of(1), features_of(1)) and sound(tmp_path) == {1}


def test_a_fork_writes_files_of_its_own(tmp_path):
    space = filled(tmp_path, 3)
    if (child := os.fork()) == 0:
        wrong = not space.put(key_of(3), features_of(3)) or key_of(1) not in space
        os._exit(wrong)
    assert os.waitpid(child, 0)[1] == 0
    assert space.put(key_of(4), features_of(4))
    assert sound(tmp_path) == {0, 1, 2, 3, 4}
    assert len(list(space.folder.glob("*.features"))) == 2


def test_pickling(tmp_path):
    space = filled(tmp_path, 3)
    again = pickle.loads(pickle.dumps(space))
    assert torch.equal(again.get(key_of(1)), features_of(1))
    assert again.put(key_of(3), features_of(3))
    assert sound(tmp_path) == {0, 1, 2, 3}


def test_files_roll_over(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_space, "SHARD", 1500)
    space = filled(tmp_path, 20)
    assert len(list(space.folder.glob("*.features"))) > 4
    assert sound(tmp_path) == set(range(20))


def test_budget_counts_all_spaces_and_all_sessions(tmp_path):
    size = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
    budget = 10 * size / 1e9
    store = FeatureStore(tmp_path, gigabytes=budget)
    stored = [store.space(kind()).put(key_of(i), features_of(i)) for i in range(4)]
    other = FeatureStore(tmp_path, gigabytes=budget).space(kind(fingerprint="x"))
    stored += [other.put(key_of(i), features_of(i)) for i in range(20)]
    assert 6 <= sum(stored) < 10 and stored == sorted(stored, reverse=True)
    assert store.size() <= budget * 1e9 + 1000
    assert (
        not FeatureStore(tmp_path, gigabytes=0).space(kind("fp16")).put(b"k" * 16, features_of(0))
    )


def test_stores_that_are_not_ours(tmp_path):
    filled(tmp_path / "a")
    (tmp_path / "a" / "store.json").write_text('{"format": 99}')
    before = sorted(tmp_path.rglob("*"))
    for wrong in (FeatureStore, upkeep.spaces):
        with pytest.raises(ValueError, match=r"format 99.*--store-dir"):
            wrong(tmp_path / "a")
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "a" / "store.json").write_text("{")
    with pytest.raises(ValueError, match="unknown"):
        FeatureStore(tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="neither empty nor a feature store"):
        FeatureStore(tmp_path / "mine")


def test_notes(tmp_path):
    space = FeatureStore(tmp_path).space(kind())
    assert space.notes() == {}
    space.note(layers=3)
    space.note(dim=7)
    assert FeatureStore(tmp_path).space(kind()).notes() == {"layers": 3, "dim": 7}
    (space.folder / "notes.json").write_text("[")
    assert space.notes() == {}


def test_listing_and_removing(tmp_path):
    filled(tmp_path, 3)
    filled(tmp_path, 5, precision="fp16", fingerprint="ffff")
    found = {info.kind.fingerprint: info for info in upkeep.spaces(tmp_path)}
    assert found["abcd"].kind == kind() and found["abcd"].utterances == 3
    assert found["ffff"].utterances == 5 and found["ffff"].bytes >= 5 * 2 * 105
    assert not upkeep.remove(tmp_path, "nothing")
    (removed,) = upkeep.remove(tmp_path, "ff")
    assert removed.kind.fingerprint == "ffff" and not removed.folder.exists()
    (left,) = upkeep.spaces(tmp_path)
    assert upkeep.remove(tmp_path, left.folder.name[:6]) == [left]
    with pytest.raises(ValueError, match="no feature store"):
        upkeep.spaces(tmp_path / "elsewhere")


def test_a_space_whose_maker_was_killed_is_listed(tmp_path):
    space = filled(tmp_path, 3)
    (space.folder / "used").unlink()
    (tmp_path / ("0" * 24)).mkdir()
    found = {info.folder.name: info for info in upkeep.spaces(tmp_path)}
    assert found[space.folder.name].kind == kind() and found["0" * 24].kind is None
    assert filled(tmp_path, 0).put(key_of(5), features_of(5)) and (space.folder / "used").exists()
    upkeep.prune(tmp_path, gigabytes=0)
    assert not space.folder.exists()


@pytest.mark.parametrize("how", ["rm", "prune", "prune all"])
def test_files_of_the_user_stay(tmp_path, how):
    """In folders of the user's, in a space, behind links, and with names much like ours."""
    store, outside = tmp_path / "store", tmp_path / "outside"
    space = filled(store, 3)
    kept = {
        store / "my_thesis" / "chapter.tex", store / "abcd" / "x", outside / "data.features",
        store / "my_thesis" / ".0123abcd-1-0123abcd.tmp", store / ".removed-mine" / "y",
        space.folder / "notes.txt", space.folder / "mine.features", space.folder / "sub" / "z",
        store / ("a" * 24) / "no_space_json", store / ("b" * 24) / "space.json",
    }  # fmt: skip
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (0, 0))
    (store / ("c" * 24)).symlink_to(outside)
    (outside / "space.json").write_text((space.folder / "space.json").read_text())
    (space.folder / "host-1-0123abcd.features").symlink_to(outside / "data.features")
    (store / ".removed-0123abcd").symlink_to(outside)
    if how == "rm":
        for which in ("my", "a", "b", "c", "abcd", space.folder.name[:4]):
            upkeep.remove(store, which)
    else:
        upkeep.prune(store, gigabytes=0, days=0 if how == "prune all" else None)
    assert all(path.exists() for path in kept) and (outside / "space.json").exists()
    assert not list(space.folder.glob("*-*.index")) and not (space.folder / "space.json").exists()
    assert (store / ("c" * 24)).is_symlink()


@pytest.mark.parametrize(
    "change",
    [{"kind": 3}, {"layers": "ab"}, {"layers": 7}, {"precision": None}, {"more": 1},
     {"upstream": 3}, {"fingerprint": "other"}, None, [], "deep"],
)  # fmt: skip
def test_a_space_that_says_something_else_is_not_ours(tmp_path, change):
    space = filled(tmp_path, 3)
    path = space.folder / "space.json"
    found = json.loads(path.read_text())
    text = json.dumps({**found, **change} if isinstance(change, dict) else change)
    path.write_text("[" * 10**5 if change == "deep" else text)
    (info,) = upkeep.spaces(tmp_path)
    assert info.kind is None and not upkeep.remove(tmp_path, space.folder.name)
    assert not upkeep.prune(tmp_path, gigabytes=0) and path.exists()
    said: list[str] = []
    assert upkeep.verify(tmp_path, said.append, lambda _: None).unreadable == 1
    assert "space.json is not readable" in said[0]


@pytest.mark.parametrize(
    "changes", [{6: 200}, {2: 1}, {2: 2**63}, {3: 2**31}, {4: 0}, {5: 2**32 - 1}, {1: 2**63}]
)
def test_an_index_that_claims_what_cannot_be(tmp_path, changes):
    space = filled(tmp_path, 1)
    ((key, entry),) = space._entries.items()
    record = list(entry[1])
    for place, value in changes.items():
        record[place] = value
    path = the(tmp_path, "index")
    path.unlink()
    body = struct.pack(INDEX, *record)
    path.write_bytes(body + struct.pack("<I", zlib.crc32(body)))
    said: list[str] = []
    again = FeatureStore(tmp_path, say=said.append).space(kind())
    assert again.get(key) is None and len(said) == 1
    assert again.put(key, features_of(0)) and again.get(key) is not None


def test_pruning(tmp_path):
    for number, age in enumerate((1, 10, 100)):
        space = filled(tmp_path, 10, fingerprint=f"{number}")
        past = time.time() - age * 86400
        os.utime(space.folder / "used", (past, past))
    leftover = tmp_path / ".removed-12340000"
    leftover.mkdir()

    def left():
        return {info.kind.fingerprint for info in upkeep.spaces(tmp_path)}

    assert upkeep.prune(tmp_path) == [] and not leftover.exists()
    assert [info.kind.fingerprint for info in upkeep.prune(tmp_path, days=50)] == ["2"]
    size = sum(info.bytes for info in upkeep.spaces(tmp_path))
    upkeep.prune(tmp_path, gigabytes=(size - 1) / 1e9)
    assert left() == {"0"}
    upkeep.prune(tmp_path, gigabytes=0)
    assert left() == set()


def test_verify_takes_out_what_is_spoiled(tmp_path):
    filled(tmp_path)
    path = the(tmp_path, "features")
    data = bytearray(path.read_bytes())
    data[3] ^= 255
    path.write_bytes(bytes(data) + b"half a record")
    said: list[str] = []
    read: list[int] = []
    report = upkeep.verify(tmp_path, said.append, read.append)
    assert (report.good, report.spoiled) == (9, 1) and len(said) == 1
    assert report.lost_bytes > 0 and sum(read) == 10 * 420
    said.clear()
    report = upkeep.verify(tmp_path, said.append, read.append)
    assert (report.good, report.spoiled) == (9, 0) and not said


def test_to_verify_is_not_to_use(tmp_path):
    os.utime(filled(tmp_path).folder / "used", (1000, 1000))
    upkeep.verify(tmp_path, print, print)
    assert [info.used for info in upkeep.spaces(tmp_path)] == [1000]


@pytest.mark.parametrize("place", [0, 0.5, 0.99])
def test_a_spoiled_entry_of_an_index_is_said_by_verify(tmp_path, place):
    filled(tmp_path, 3)
    path = the(tmp_path, "index")
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    said: list[str] = []
    report = upkeep.verify(tmp_path, said.append, lambda _: None)
    assert report.good == 2 and report.lost_bytes > 0
    assert len(said) == 1 and str(path) in said[0] and "an entry is spoiled" in said[0]
