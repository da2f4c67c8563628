"""Names of models by what they hold, so that another one at the same path has another name."""

import functools
import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.foreign.checkpoint_files import all_files
from mt4ssl_core.checkpoints.own_encoder import OwnEncoder
from mt4ssl_core.files import cache_folder, read_json, sha256_of, stamp, write_json
from mt4ssl_core.model.speech_encoder import SpeechEncoder

KEPT_FROM = 1 << 24  # bytes; smaller files are read at once
_SETTLED = 2 * 10**9  # ns since a file changed after which a later change has another time


def encoder_fingerprint(encoder: SpeechEncoder) -> str:
    """Return the SHA-256 (hex) of an encoder's settings (or source) and weights."""
    return _digest(encoder.identity(), encoder)


def checkpoint_fingerprint(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a checkpoint's file; of several files, of all their names and
    digests.

    A folder of Hugging Face's has several: settings, and weights in one file or in shards. Of a
    class in a Python file it is that of the source and the weights, as `encoder_fingerprint`.
    Raises ValueError: there is no checkpoint.
    """
    if python_file.is_named(path):
        return own_encoder(path)[0]
    digests = {file.name: file_sha256(file) for file in all_files(path)}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file; a large one is read once as long as it does not change.

    What it was is kept in the user's cache folder with the file's size and times.
    """
    before = stamp(path)
    if before is None or before[0] < KEPT_FROM:
        return sha256_of(path)
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    place = cache_folder() / "sha256" / f"{name[:16]}.json"
    with suppress(OSError, ValueError):
        known = read_json(place)
        if isinstance(known, dict) and known.get("stamp") == before:
            digest = known.get("sha256")
            if isinstance(digest, str) and len(digest) == 64:
                return digest
    digest = sha256_of(path)
    settled = time.time_ns() - max(before[1:]) > _SETTLED  # or another of these times may follow
    if settled and stamp(path) == before:
        with suppress(OSError):
            write_json(place, {"stamp": before, "sha256": digest})
    return digest


def own_encoder(named: object) -> tuple[str, str]:
    """Return the SHA-256 (hex) and the name of an encoder that is a class in a Python file."""
    file = python_file.read_name(named)
    return _own_encoder(str(file), file.path.read_bytes())


@functools.cache
def _own_encoder(named: str, _: bytes) -> tuple[str, str]:
    encoder = OwnEncoder(named)
    return encoder_fingerprint(encoder), encoder.name


def weights_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of any model's parameters and buffers, with their names."""
    return _digest("", model)


def _digest(config: str, model: nn.Module) -> str:
    digest = hashlib.sha256(config.encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
        else:  # what a module of another's adds to its state
            digest.update(repr(value).encode())
    return digest.hexdigest()
