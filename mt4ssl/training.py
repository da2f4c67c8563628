"""Pre-training from Python: what `mt4ssl pretrain` does."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt4ssl_core import config as configs
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
    given = {key: _plain(value) for key, value in (settings or {}).items()}
    cfg = configs.load(config, given, files=True)
    return loop.pretrain(cfg, None if resume_from is None else os.fspath(resume_from))


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
