"""Names of models by what they hold, so that another one at the same path has another name."""

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints.foreign.checkpoint_files import all_files
from mt4ssl_core.model.speech_encoder import SpeechEncoder


def encoder_fingerprint(encoder: SpeechEncoder) -> str:
    """Return the SHA-256 (hex) of an encoder's settings (or source) and weights."""
    return _digest(encoder.identity(), encoder)


def checkpoint_fingerprint(path: str | Path) -> str:
    """Return the SHA-256 (hex) of a checkpoint's file; of several files, of all their names and
    digests.

    A folder of Hugging Face's has several: settings, and weights in one file or in shards.
    Raises ValueError: there is no checkpoint.
    """
    digests = {}
    for file in all_files(path):
        with open(file, "rb") as opened:
            digests[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


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
