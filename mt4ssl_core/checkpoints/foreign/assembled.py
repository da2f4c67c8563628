"""What was read, put together: an encoder, or a checkpoint that holds an encoder alone."""

import functools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.checkpoints.foreign.weight_names import Tensors, float32
from mt4ssl_core.command_line import printable
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder


def encoder_of(state: Mapping[str, Any], path: str | Path, seed: int | None = None) -> Encoder:
    """The encoder of a loaded checkpoint, float32, in eval mode; ``path`` is what errors name.

    With ``seed`` its weights are drawn anew. Nothing is built before names and shapes agree.
    """
    cfg = config.encoder_from_dict(state["config"].get("encoder", {}), str(path))
    with torch.device("meta"):
        encoder = Encoder(cfg)
    weights = {key: float32(value) for key, value in state["encoder"].items()}
    checkpoint.load_into(encoder, weights, path, assign=True)
    check_finite(encoder, path)
    if seed is None:
        return encoder.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(cfg).eval()


def check_finite(module: nn.Module, path: str | Path) -> None:
    """Raise ValueError naming ``path`` and the first weight that has NaN or infinite values."""
    for key, value in module.state_dict().items():
        if not bool(value.isfinite().all()):
            raise ValueError(
                f"{path}: {key} has NaN or infinite values; give an earlier checkpoint of that run"
            )


def checkpoint_of(cfg: config.Config, encoder: Tensors, path: Path) -> dict[str, Any]:
    """A checkpoint of an encoder alone; its weights are checked against its config."""
    state = {
        "format": checkpoint.FORMAT,
        "version": checkpoint.VERSION,
        "config": config.to_dict(cfg),
        "encoder": encoder,
        "targets": {},
        "optimizer": None,
        "scaler": None,
        "progress": {"update": 0, "epoch": 0, "batches": 0, "best": None},
    }
    encoder_of(state, path)
    return state


def encoder_alone(cfg: EncoderConfig) -> config.Config:
    """A config of which only ``encoder`` says something: there is nothing to train."""
    data = config.DataConfig(train="")
    return config.Config(data=data, encoder=cfg, targets={})


def say_left_out(path: str | Path, model: str, names: Iterable[str]) -> None:
    """Say on stderr that of a model with a head its encoder is taken, and what is left out."""
    if left := sorted(names):
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        say_once(path, f"the encoder of a {model}; left out: {', '.join(left[:3])}{more}")


@functools.cache
def say_once(path: str | Path, text: str) -> None:
    """Say on stderr, once in a process, what is to be known of the checkpoint at ``path``."""
    print(printable(f"{path}: {text}"[:600]), file=sys.stderr)
