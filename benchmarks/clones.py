"""Updates of code that its user has cloned: the official MT4SSL, and minimal-hubert.

Both are imported in a process of their own (peers.py beside this file), by the Python of the
clone's ``.venv`` where there is one. There everything that they need must be importable: fairseq
for the official code; spidr, torchaudio and Python 3.12 for minimal-hubert.
"""

import importlib
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.updates import CLASSES, Update, autocast, noise

ABOUT = {
    "official": "both targets: its own model, criterion and configuration, fairseq's Trainer",
    "minimal-hubert": "HuBERT pre-training: its model, and the steps of its loop",
}
WHERE = {
    "official": "a clone of github.com/ddlBoJack/MT4SSL with fairseq importable",
    "minimal-hubert": "a clone of github.com/mxmpl/minimal_hubert",
}
_SPECIAL = 4  # symbols that fairseq's dictionaries begin with


def interpreter(clone: Path) -> str:
    """The Python that runs a clone: that of its ``.venv``, or this one."""
    own = clone / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def frames_of(samples: int) -> int:
    """The 20 ms frames that the convolutions make of so many samples."""
    return (samples - 400) // 320 + 1


def minimal_hubert(clone: Path, count: int, samples: int, device: str) -> Update:
    """An update of minimal-hubert; its masks are drawn beforehand, as its loader draws them."""
    sys.path.insert(0, str(clone / "src"))
    model: Any = importlib.import_module("minimal_hubert").HuBERTPretrain(CLASSES)
    model.to(device).train()
    if device != "cpu":
        model.compile(dynamic=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    waves, frames = noise(count, samples).to(device), frames_of(samples)
    labels = torch.randint(0, CLASSES, (count, frames), device=device)
    begins = torch.rand(count, frames) < 0.8 / 10  # spans of 10, as often as HuBERT's
    mask = torch.nn.functional.max_pool1d(begins.float(), 10, 1, 5)[:, :frames].bool()
    mask[:, 0] = True  # never none
    mask = mask.to(device)

    def update(number: int) -> None:
        with autocast(device):
            loss, _ = model(waves, labels, mask=mask, attention_mask=None)
        (loss.sum() / mask.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def official(clone: Path, count: int, samples: int, device: str) -> Update:
    """An update of the official code as fairseq's Trainer makes it: EMA, losses, Adam.

    On a CPU in fp32, on CUDA in the fp16 that its configuration asks for.
    """
    fairseq_utils = importlib.import_module("fairseq.utils")
    with suppress(ImportError):
        importlib.import_module("tkinter")
    # the model's file imports a name of it, and has no use for it
    sys.modules.setdefault("tkinter", _module("tkinter", N=None))
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "mt4ssl_code"  # its folder is called as a module of Python's: code
        link.symlink_to((clone / "code").resolve(), target_is_directory=True)
        fairseq_utils.import_user_module(Namespace(user_dir=str(link)))
        lines = "".join(f"{label} 1\n" for label in range(CLASSES))
        (Path(folder) / "dict.km.txt").write_text(lines)
        cfg = _configuration(clone, folder, device)
        tasks, trainers = map(importlib.import_module, ("fairseq.tasks", "fairseq.trainer"))
        task = tasks.setup_task(cfg.task)
        model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    trainer = trainers.Trainer(cfg, task, model, criterion)
    labels = torch.randint(0, CLASSES, (count, frames_of(samples))) + _SPECIAL
    sample = {"id": torch.arange(count), "target": labels,
              "net_input": {"source": noise(count, samples)}}  # fmt: skip
    return lambda number: trainer.train_step([sample])


def _configuration(clone: Path, folder: str, device: str) -> Any:
    """Its ``base_librispeech.yaml`` with fairseq's defaults, for one process."""
    configs, initialize = map(
        importlib.import_module, ("fairseq.dataclass.configs", "fairseq.dataclass.initialize")
    )
    omega = importlib.import_module("omegaconf").OmegaConf
    given = omega.load(str(clone / "code" / "config" / "pretraining" / "base_librispeech.yaml"))
    here = {
        "common": {"cpu": device == "cpu", "fp16": device != "cpu", "tensorboard_logdir": None},
        "distributed_training": {"distributed_world_size": 1},
        "task": {"data": folder, "label_dir": folder},
    }
    cfg = omega.merge(omega.structured(configs.FairseqConfig), given, omega.create(here))
    initialize.add_defaults(cfg)
    return omega.create(omega.to_container(cfg, resolve=True, enum_to_str=True))


def _module(name: str, **values: Any) -> ModuleType:
    """A module that has only these values."""
    module = ModuleType(name)
    vars(module).update(values)
    return module


UPDATES: dict[str, Callable[[Path, int, int, str], Update]] = {
    "official": official,
    "minimal-hubert": minimal_hubert,
}
