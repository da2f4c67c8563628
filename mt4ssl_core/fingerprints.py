"""Names of models by what they hold, so that another one at the same path has another name."""

import hashlib

import torch
from torch import Tensor, nn

from mt4ssl_core.encoder import Encoder


def encoder_fingerprint(encoder: Encoder) -> str:
    """Return the SHA-256 (hex) of an encoder's config and weights."""
    return _digest(repr(encoder.cfg), encoder)


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
