"""`mt4ssl store ls|verify|prune|rm`."""

import os

import pytest
import torch

import mt4ssl_cli
from mt4ssl_core.store.store import FRAMES, POOLED, FeatureKind, FeatureStore


@pytest.fixture
def folder(tmp_path):
    """A store of means of one upstream, all layers, and of frames of another's second layer."""
    store = FeatureStore(tmp_path / "store")
    kinds = [
        FeatureKind("mt4ssl", "0123456789abcdef", "hidden_states", POOLED, None, True, "fp32"),
        FeatureKind("fbank", "fedcba9876543210", "hidden_states", FRAMES, (1,), False, "fp16"),
    ]
    for kind in kinds:
        space = store.space(kind)
        for number in range(3):
            assert space.put(bytes([number]) * 16, torch.ones(1, 2, 4))
    store.close()
    return tmp_path / "store"


def do(folder, command, *words):
    return mt4ssl_cli.main(["store", command, "--store-dir", str(folder), *words])


def listed(folder, capsys):
    assert do(folder, "ls") == 0
    return capsys.readouterr().out


def test_what_a_store_holds(folder, capsys):
    said = listed(folder, capsys)
    lines = {line.split()[1]: line.split() for line in said.splitlines()[2:4]}
    assert lines["mt4ssl"][2:7] == ["0123456789ab", "pooled,", "normalized", "all", "fp32"]
    assert lines["fbank"][2:7] == ["fedcba987654", "frames", "1", "fp16", "3"]
    assert f"GB in {folder}" in said


def test_a_sound_store_and_one_with_a_flipped_byte(folder, capsys):
    assert do(folder, "verify") == 0
    assert "6 records are good, 0 are spoiled" in capsys.readouterr().out
    shard = next(folder.glob("*/*.features"))
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    assert do(folder, "verify") == 1
    assert "5 records are good, 1 are spoiled" in capsys.readouterr().out


def test_what_was_not_used_goes(folder, capsys):
    (old,) = [
        p for p in folder.glob("*/used") if '"fbank"' in (p.parent / "space.json").read_text()
    ]
    os.utime(old, (0, 0))
    assert do(folder, "prune", "--days", "30") == 0
    assert "fbank" in capsys.readouterr().out
    assert "fbank" not in listed(folder, capsys)
    assert do(folder, "prune", "--store-gb", "0") == 0
    capsys.readouterr()
    assert "mt4ssl" not in listed(folder, capsys)


def test_removing_by_fingerprint(folder, capsys):
    assert do(folder, "rm", "fedc") == 0
    assert "fbank" in capsys.readouterr().out
    said = listed(folder, capsys)
    assert "mt4ssl" in said and "fbank" not in said
    assert do(folder, "rm", "fedc") == 2
    assert "fedc: no such features" in capsys.readouterr().err


def test_no_store(tmp_path, capsys):
    for words in (["ls"], ["verify"], ["prune"], ["rm", "a"]):
        assert do(tmp_path, *words) == 2
        assert "--store-dir" in capsys.readouterr().err
