"""What the s3prl tests share: a tiny checkpoint and tiny corpora, made once per process."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch

import mini_superb
from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder
from upstream import corpora as corpora_of_tasks

CONV = [[8, 10, 5], *[[8, 3, 2]] * 4, *[[8, 2, 2]] * 2]
TINY = EncoderConfig(
    conv_layers=CONV, dim=16, layers=2, heads=2, ffn_dim=32, pos_conv_groups=4, layerdrop=0.5
)
FEW_STEPS = {
    "runner.total_steps": 2,
    "runner.eval_step": 2,
    "runner.save_step": 2,
    "runner.log_step": 1,
    "runner.gradient_accumulate_steps": 1,
}
SPEED: dict[str, dict[str, int]] = {  # no worker processes, small batches
    "ks": {"downstream_expert.datarc.num_workers": 0, "downstream_expert.datarc.batch_size": 4},
    "sid": {
        "downstream_expert.datarc.num_workers": 0,
        "downstream_expert.datarc.train_batch_size": 2,
    },
    "pr": {"downstream_expert.corpus.num_workers": 0, "downstream_expert.corpus.batch_size": 2},
}


def save_checkpoint(path: Path, cfg: EncoderConfig = TINY, seed: int = 1) -> Path:
    """Write a checkpoint with random weights of ``cfg``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(cfg)
    state = {
        "config": {"encoder": config.to_dict(cfg)},
        "encoder": encoder.state_dict(),
        "targets": {},
        "optimizer": None,
        "scaler": None,
        "progress": {},
    }
    checkpoint.save(path, state)
    return path


@functools.cache
def folder() -> Path:
    """A temporary folder that lives as long as the process."""
    made = tempfile.TemporaryDirectory(prefix="mt4ssl-tests-")
    folder.keep = made  # type: ignore[attr-defined]
    return Path(made.name)


@functools.cache
def tiny_checkpoint() -> Path:
    """A checkpoint of a 2-layer encoder."""
    return save_checkpoint(folder() / "tiny.pt")


@functools.cache
def corpora() -> Path:
    """KS, SID and PR in the layouts of the real corpora."""
    return _made("ks", "sid", "pr")


@functools.cache
def corpus(task: str) -> Path:
    """The folder of a tiny corpus of any task, with what s3prl needs made from it."""
    root = _made(task) / task
    corpora_of_tasks.prepare(task, root)
    return root


def _made(*names: str) -> Path:
    mini_superb.make(folder() / "mini", list(names), size="tiny", jobs=1, progress=False)
    return folder() / "mini"


def smoke(
    task: str, tmp_path: Path, upstream: str = "mt4ssl", **settings: Any
) -> list[dict[str, Any]]:
    """Train a task's head for two steps and test it; return the records.

    ``settings`` go to `upstream.heads.runner.run`; the task's own ``smoke:`` settings come before
    its
    ``overrides``.
    """
    from upstream.door import tasks
    from upstream.heads import runner

    changes = {**tasks.header(task).get("smoke", {}), **FEW_STEPS, **settings.pop("overrides", {})}
    ckpt = tiny_checkpoint() if upstream.startswith("mt4ssl") else None
    asked: dict[str, Any] = {"ckpt": ckpt, "root": corpus(task), "device": "cpu", **settings}
    return runner.run(task, upstream, tmp_path / "exp", overrides=changes, **asked)


class Bomb:
    """Pickled, it makes a file when it is unpickled by something careless."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))
