import hashlib
import os

import torch
from torch import nn

from mt4ssl_core.checkpoints import fingerprints
from mt4ssl_core.checkpoints.fingerprints import encoder_fingerprint, weights_fingerprint
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.files import cache_folder, sha256_of
from mt4ssl_core.model.encoder import Encoder

TINY = dict(layers=2, dim=16, ffn_dim=32, heads=2, conv_layers=[[8, 10, 5], [8, 8, 8], [8, 8, 8]])


def encoder(seed=0, **changes) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderConfig(**{**TINY, **changes}))


def test_an_encoder_is_its_config_and_its_weights():
    name = encoder_fingerprint(encoder())
    assert name == encoder_fingerprint(encoder()) and len(name) == 64
    assert name != encoder_fingerprint(encoder(seed=1))
    assert name != encoder_fingerprint(encoder(isolate_padding=False))


def test_any_model_is_its_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # one buffer has no dimension
    name = weights_fingerprint(model)
    assert name == weights_fingerprint(model)
    with torch.no_grad():
        model[1].running_mean[0] += 1
    assert name != weights_fingerprint(model)
    assert weights_fingerprint(model) != weights_fingerprint(model.bfloat16())
    assert weights_fingerprint(nn.Module()) == hashlib.sha256().hexdigest()


def test_a_large_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "KEPT_FROM", 1)
    monkeypatch.setattr(fingerprints, "_SETTLED", -1)
    read = []

    def spy(path):
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(fingerprints, "sha256_of", spy)
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.pt"
    path.write_bytes(b"one")
    assert fingerprints.file_sha256(path) == fingerprints.file_sha256(path) == sha256_of(path)
    assert len(read) == 1
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprints.file_sha256(path) == sha256_of(path) and len(read) == 2
    (known,) = (cache_folder() / "sha256").iterdir()
    known.write_text('{"stamp": 1}')
    assert fingerprints.file_sha256(path) == sha256_of(path) and len(read) == 3


def test_what_was_written_this_moment_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "KEPT_FROM", 1)
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.pt").write_bytes(b"one")
    fingerprints.file_sha256(tmp_path / "model.pt")
    assert not (tmp_path / "cache").exists()
