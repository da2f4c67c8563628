"""Names of models by what they hold, so that another one at the same path has another name."""

import functools
import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.foreign.checkpoint_files import all_files
from mt4ssl_core.checkpoints.own_encoder import OwnEncoder
from mt4ssl_core.files import sha256_of
from mt4ssl_core.model.speech_encoder import SpeechEncoder


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
    digests = {file.name: sha256_of(file) for file in all_files(path)}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


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
