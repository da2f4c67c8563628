"""Checkpoints arrive whole or not at all, and nothing inside them runs."""

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mt4ssl_core.checkpoints import checkpoint, tensor_files


def state(**changes) -> dict:
    return {
        "config": {"encoder": {"dim": 8}},
        "encoder": {"weight": torch.arange(6.0).view(2, 3)},
        "targets": {"online": {"head.weight": torch.ones(2)}},
        "optimizer": None,
        "scaler": None,
        "progress": {"update": 7, "epoch": 1, "batches": 2, "best": None},
    } | changes


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_what_was_saved_comes_back(tmp_path):
    extra: dict[str, Any] = {
        "rng": {"torch": torch.get_rng_state(), "python": [1, 2.5, "x", None, (3, True)]}
    }
    checkpoint.save(tmp_path / "run" / "last.pt", state(**extra))
    loaded = checkpoint.load(tmp_path / "run" / "last.pt")
    assert (loaded.pop("format"), loaded.pop("version")) == ("mt4ssl", 1)
    assert torch.equal(loaded["rng"]["torch"], extra["rng"]["torch"])
    assert loaded["rng"]["python"] == extra["rng"]["python"]
    assert torch.equal(loaded["encoder"]["weight"], state()["encoder"]["weight"])
    assert loaded["progress"] == state()["progress"]
    assert loaded.keys() == state(**extra).keys()


def test_failed_save_leaves_the_former_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, state())
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        checkpoint.save(path, state(progress={"update": 8, "bad": lambda: 0}))
    assert checkpoint.load(path)["progress"]["update"] == 7
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_the_disk_has_the_whole_file_before_it_gets_its_name(tmp_path, monkeypatch):
    steps: list[tuple[str, Any]] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(number):
        steps.append(("fsync", (os.fstat(number).st_ino, os.fstat(number).st_size)))
        fsync(number)

    def watched_replace(source, target):
        steps.append(("replace", (os.stat(source).st_ino, os.stat(source).st_size)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    checkpoint.save(tmp_path / "last.pt", state())
    assert [name for name, _ in steps] == ["fsync", "fsync", "replace", "fsync"]
    assert steps[0][1] == steps[1][1] == steps[2][1]  # the same file, of the same size
    assert steps[3][1][0] == tmp_path.stat().st_ino  # the rename itself


@pytest.mark.parametrize("share", [0.0, 0.002, 0.5, 0.99])
def test_checkpoint_cut_off_anywhere(tmp_path, share):
    path = tmp_path / "last.pt"
    checkpoint.save(path, state(encoder={"weight": torch.randn(1000)}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=rf"{path}.*(cut off|empty).*copy it again"):
        checkpoint.load(path)


@pytest.mark.parametrize("where", ["zip", "legacy", "pickle2", "pickle5"])
def test_pickle_that_would_run_code(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    value = state(progress={"update": 1, "evil": Evil()})
    if where.startswith("pickle"):
        Path("evil.pt").write_bytes(pickle.dumps(value["progress"], protocol=int(where[-1])))
    else:
        torch.save(value, "evil.pt", _use_new_zipfile_serialization=where == "zip")
    with pytest.raises(ValueError, match=r"evil\.pt: its pickle names (posix|nt)\.system"):
        checkpoint.load("evil.pt")
    assert not Path("executed").exists()


class Registered:
    pass


def test_classes_registered_elsewhere_are_not_built(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(state(progress={"x": Registered()}), path)
    with torch.serialization.safe_globals([Registered]):
        before = set(torch.serialization.get_safe_globals())
        torch.load(path, weights_only=True)
        with pytest.raises(ValueError, match="Registered"):
            checkpoint.load(path)
        assert set(torch.serialization.get_safe_globals()) == before


def tar(path: Path) -> None:
    (path.parent / "storages").write_bytes(b"x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "storages", "storages")


def script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_text("hello, I am no checkpoint\n"),
        lambda p: p.write_bytes(bytes(range(256)) * 8),
        lambda p: p.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "),
        tar,
        script,
    ],
    ids=["text", "bytes", "wav", "tar", "torchscript"],
)
@pytest.mark.filterwarnings("ignore")
def test_other_files_are_refused(tmp_path, write):
    path = tmp_path / "thing.pt"
    write(path)
    with pytest.raises(ValueError, match=rf"{path}: (not a readable|its pickle names __torch__)"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["last.pt", "pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 3\n", "`git lfs pull`"),
        ("<!doctype html>\n<title>404</title>" + " " * 300, "a web page, not weights; download"),
        ('\n{"weight_map": {}}', "JSON, not weights; give the folder"),
    ],
)
def test_what_a_download_left_in_place_of_weights_is_named(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path}: .*{says}"):
        (tensor_files if name.endswith("tensors") else checkpoint).load(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "it holds a int"),
        ({"state_dict": {}}, "not an mt4ssl checkpoint .keys: state_dict"),
        ({"format": "mt4ssl", "version": 2}, "version 2, this mt4ssl reads 1"),
        ({"format": "mt4ssl", "version": 1, **state(encoder=None)}, "without a usable encoder"),
        ({"format": "mt4ssl", "version": 1, "config": {}}, "encoder, targets, optimizer"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, value, message):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x\.pt: .*{message}"):
        checkpoint.load(tmp_path / "x.pt")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pt: no such checkpoint"):
        checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match=r"a folder, not a checkpoint; give .*last\.pt"):
        checkpoint.load(tmp_path)


def test_weights_of_another_shape_name_both_shapes():
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    good = {key: torch.full_like(value, 0.5) for key, value in module.state_dict().items()}
    checkpoint.load_into(module, good, "a.pt")
    assert all((value == 0.5).all() for value in module.state_dict().values())
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"a\.pt: .*0\.weight is \[2, 4\] in the file, \[2, 3\] by"
    ):
        checkpoint.load_into(module, good | {"0.weight": torch.ones(2, 4)}, "a.pt")
    odd = {"0.weight": torch.ones(1), "2.bias": torch.ones(1), "3.bias": torch.ones(1)}
    with pytest.raises(ValueError, match=r"is missing; .* and 3 more; give a checkpoint of this"):
        checkpoint.load_into(module, odd, "a.pt")
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_weights_that_are_not_floating_are_named():
    module = nn.Linear(2, 2)
    state = module.state_dict()
    with pytest.raises(ValueError, match=r"x\.pt: .*weight is of torch\.int8, not floating"):
        checkpoint.load_into(
            module, state | {"weight": torch.zeros(2, 2, dtype=torch.int8)}, "x.pt"
        )
    checkpoint.load_into(module, {key: value.half() for key, value in state.items()}, "x.pt")
