"""A checkpoint in parts is the whole one again; what is missing, damaged or mixed up is named."""

import json
import os

import pytest
import torch

from mt4ssl_core.checkpoints import checkpoint, convert, fingerprints, parts

SAVE, OTHER = "update_7-0123abcd", "update_7-ffffffff"
SIZES = (2, 0, 3)  # rows of "weight" that the three processes have


def state(weight):
    return {
        "config": {}, "encoder": {"weight": weight, "count": torch.tensor(3)}, "targets": {},
        "optimizer": {"state": {0: {"exp_avg": weight, "step": torch.tensor(7.0)}}},
        "scaler": None, "progress": {"update": 7},
    }  # fmt: skip


def written(folder, name="last.pt", save=SAVE, seed=0):
    """A checkpoint in three parts; returns its path and the whole tensor."""
    whole = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    rest = checkpoint.named(state(None))
    for rank, rows in enumerate(whole.split(SIZES)):
        path = parts.part_path(folder / name, save, rank, 3)
        parts.write(path, save, rest if rank == 0 else {}, [rows, rows])
    places = [["encoder", "weight"], ["optimizer", "state", 0, "exp_avg"]]
    tensors = [{"at": at, "shape": [5, 4], "dtype": "float32"} for at in places]
    parts.write_index(folder / name, save, 3, tensors, folder / "previous.pt")
    return folder / name, whole


def test_parts_are_the_whole_again(tmp_path):
    path, whole = written(tmp_path)
    found = checkpoint.load(path)
    wanted = checkpoint.named(state(whole))
    assert found.keys() == wanted.keys() and found["progress"] == {"update": 7}
    assert torch.equal(found["encoder"]["weight"], whole) and found["encoder"]["count"] == 3
    entry = found["optimizer"]["state"][0]
    assert torch.equal(entry["exp_avg"], whole) and entry["step"] == 7
    assert checkpoint.is_whole(path)
    checkpoint.save(tmp_path / "one" / "one.pt", found)
    assert torch.equal(checkpoint.load(tmp_path / "one" / "one.pt")["encoder"]["weight"], whole)
    before = fingerprints.checkpoint_fingerprint(path)
    again, other = written(tmp_path, save=OTHER, seed=1)
    assert fingerprints.checkpoint_fingerprint(again) != before
    assert torch.equal(checkpoint.load(tmp_path / "previous.pt")["encoder"]["weight"], whole)
    parts.tidy(tmp_path)
    assert {folder.name for folder in (tmp_path / "parts").iterdir()} == {SAVE, OTHER}
    (tmp_path / "previous.pt").rename(tmp_path / "kept.bak")  # whatever its name is
    parts.tidy(tmp_path)
    assert {folder.name for folder in (tmp_path / "parts").iterdir()} == {SAVE, OTHER}
    (tmp_path / "kept.bak").unlink()
    parts.tidy(tmp_path)
    assert {folder.name for folder in (tmp_path / "parts").iterdir()} == {OTHER}
    assert torch.equal(checkpoint.load(path)["encoder"]["weight"], other)
    path.write_text(path.read_text()[:-9])  # which parts it needs is no longer known
    parts.tidy(tmp_path)
    assert list((tmp_path / "parts").iterdir())


def test_who_reads_while_a_run_replaces_it_gets_the_new_one(tmp_path, monkeypatch):
    path, _ = written(tmp_path)
    read, replaced = parts.torch_files.read, []

    def late(file, **more):
        if not replaced:
            replaced.append(written(tmp_path, save=OTHER, seed=1)[1])
            (tmp_path / "previous.pt").unlink()
            parts.tidy(tmp_path)
        return read(file, **more)

    monkeypatch.setattr(parts.torch_files, "read", late)
    assert torch.equal(checkpoint.load(path)["encoder"]["weight"], replaced[0])


def _changed(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _flip(file):
    data = bytearray(file.read_bytes())
    where = data.index(b"data/0") + 200
    data[where] ^= 1
    file.write_bytes(data)


def _of_another_save(path, file):
    written(path.parent, "other.pt", OTHER)
    os.replace(parts.part_path(path, OTHER, 1, 3), file)


def _files(path, name):
    files = json.loads(path.read_text())["files"]
    files[1]["name"] = name
    _changed(path, files=files)


@pytest.mark.parametrize(
    ("accident", "said"),
    [
        (lambda path, file: file.unlink(), r"1-of-3\.pt: not there, and .*last\.pt is made of it"),
        (lambda path, file: os.truncate(file, 99), r"1-of-3\.pt: has 99 bytes, and had \d+"),
        (lambda path, file: _flip(file), r"1-of-3\.pt: damaged"),
        (_of_another_save, r"1-of-3\.pt: of another save than last\.pt"),
        (lambda path, file: _files(path, "../x.pt"), r"last\.pt: names '\.\./x\.pt', no part"),
        (lambda path, file: _files(path, 5), r"last\.pt: "),
        (lambda path, file: _changed(path, files=[]), r"last\.pt: names no parts"),
        (lambda path, file: _changed(path, files=3), r"last\.pt: "),
        (lambda path, file: _changed(path, save="../.."), r"last\.pt: names 'parts"),
        (lambda path, file: _changed(path, version=2), r"last\.pt: checkpoint version 2"),
        (lambda path, file: _changed(path, tensors=[]), r"0-of-3\.pt: "),
        (lambda path, file: path.write_text(path.read_text()[:-5]), r"last\.pt: not valid JSON"),
    ],
)
def test_what_is_wrong_with_parts_is_named(tmp_path, accident, said):
    path, _ = written(tmp_path)
    accident(path, parts.part_path(path, SAVE, 1, 3))
    with pytest.raises(ValueError, match=said):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "at", "said"),
    [
        (
            [10**9, 10**6],
            "float32",
            ["encoder", "weight"],
            r"last\.pt: names tensors of more bytes",
        ),
        ([-5, 4], "float32", ["encoder", "weight"], r"last\.pt: "),
        ([6, 4], "float32", ["encoder", "weight"], r"last\.pt: its parts hold less"),
        ([4, 4], "float32", ["encoder", "weight"], r"2-of-3\.pt: a tensor of another form"),
        ([5, 4], "float16", ["encoder", "weight"], r"0-of-3\.pt: a tensor of another form"),
        ([5, 4], "load", ["encoder", "weight"], r"last\.pt: "),
        ([], "float32", ["encoder", "weight"], r"last\.pt: |0-of-3"),
        ([5, 4], "float32", ["nowhere", "weight"], r"last\.pt: "),
        ([5, 4], "float32", [], r"last\.pt: "),
    ],
)
def test_an_index_that_says_other_tensors_is_refused(tmp_path, shape, dtype, at, said):
    path, _ = written(tmp_path)
    tensors = json.loads(path.read_text())["tensors"]
    _changed(path, tensors=[{"at": at, "shape": shape, "dtype": dtype}, tensors[1]])
    with pytest.raises(ValueError, match=said):
        checkpoint.load(path)


def test_who_reads_a_checkpoint_is_told_of_the_part_and_what_to_do(tmp_path):
    path, _ = written(tmp_path)
    part = parts.part_path(path, SAVE, 1, 3)
    part.write_bytes(part.read_bytes()[:99])
    with pytest.raises(ValueError, match=r"last\.pt: .*1-of-3\.pt: has 99 bytes.*bring the folder"):
        convert.load_any(path)


def test_a_file_called_parts_stops_no_run(tmp_path):
    (tmp_path / "parts").write_text("mine")
    parts.tidy(tmp_path)


def test_an_index_waits_for_all_parts(tmp_path):
    path, whole = written(tmp_path)
    with pytest.raises(OSError, match=r"1-of-2\.pt: not written, so .*last\.pt stays"):
        parts.write(parts.part_path(path, OTHER, 0, 2), OTHER, {}, [])
        parts.write_index(path, OTHER, 2, [])
    assert torch.equal(checkpoint.load(path)["encoder"]["weight"], whole)
