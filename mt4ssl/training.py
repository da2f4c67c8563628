"""Training from Python: what `mt4ssl pretrain` and `mt4ssl finetune` do."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt4ssl_core import config as configs
from mt4ssl_core.finetuning import finetune as finetuning_loop
from mt4ssl_core.settings import finetuning
from mt4ssl_core.training import pretrain as loop


def pretrain(
    config: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    resume_from: str | Path | None = None,
) -> Path:
    """Pre-train an encoder; return the path of its last checkpoint.

    Args:
        config: a YAML file, or the name of a shipped one, such as "tiny".
        settings: dotted names and values, such as ``{"data.train": "speech", "online": None}``.
        resume_from: the checkpoint in run.out to go on from; None: its last one, if there is any.

    Raises:
        ValueError: an unknown setting, a value that cannot be, or as of
            `mt4ssl_core.training.pretrain.pretrain`.
    """
    cfg = configs.load(config, _given(settings), files=True)
    return loop.pretrain(cfg, None if resume_from is None else os.fspath(resume_from))


def finetune(
    config: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    resume_from: str | Path | None = None,
) -> Path:
    """Fine-tune an encoder to a recogniser with CTC; return the path of its last checkpoint.

    Args:
        config: a YAML file, or the name of a shipped one, such as "ctc_10h".
        settings: dotted names and values, such as ``{"data.train": "speech", "encoder.init":
            "last.pt"}``.
        resume_from: the checkpoint in run.out to go on from; None: its last one, if there is any.

    Raises:
        ValueError: an unknown setting, a value that cannot be, or as of
            `mt4ssl_core.finetuning.finetune.finetune`.
    """
    cfg = finetuning.load(config, _given(settings), files=True)
    return finetuning_loop.finetune(cfg, None if resume_from is None else os.fspath(resume_from))


def _given(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: _plain(value) for key, value in (settings or {}).items()}


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
