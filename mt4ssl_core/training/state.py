"""All that a run of pre-training carries, and how it is saved and started."""

import dataclasses
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.checkpoints.recognisers import CTC
from mt4ssl_core.config import Config
from mt4ssl_core.distributed import World
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.settings import bounds, registry
from mt4ssl_core.training import schema
from mt4ssl_core.training.progress import read_progress
from mt4ssl_core.training.resuming import Resumable


class Training(Resumable):
    """All that a run of pre-training carries."""

    command = "pretrain"
    order: ClassVar = {
        "run.seed", "data.batch_seconds", "data.buckets", "data.max_seconds", "data.shuffle_hours",
    }  # fmt: skip
    measure: ClassVar = {
        "run.seed", "data.batch_seconds", "data.max_seconds", "data.labels", "data.valid_labels",
        "masking.prob", "masking.length", "masking.same_count",
    }  # fmt: skip

    def __init__(self, cfg: Config, world: World):
        torch.manual_seed(cfg.run.seed)
        super().__init__(cfg, world, MT4SSL(cfg))

    @classmethod
    def sections(cls) -> dict[str, type]:
        """{name: dataclass} of its config."""
        return config.sections()

    @classmethod
    def check_kind(cls, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint is one of fine-tuning."""
        if CTC in state["targets"]:
            raise ValueError(
                f"{path}: a checkpoint of `mt4ssl finetune`, not of pre-training; give another "
                "run.out"
            )

    def reshapes(self, key: str, old: Any, new: Any) -> bool:
        """Whether a checkpoint written with the setting ``old`` cannot go on with ``new``."""
        section, _, name = key.partition(".")
        if kind := registry.known().get(section):
            fields = {item.name: item for item in dataclasses.fields(kind.settings)}
            switched = old is None or new is None
            return switched or (name in fields and bounds.rule(fields[name]).shape)
        return section == "encoder" and name not in config.TRAINING_ONLY

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint in the format of checkpoint.py."""
        targets = {name: target.state_dict() for name, target in self.model.targets.items()}
        return {
            "config": self.settings(),
            "encoder": self.model.encoder.state_dict(),
            "targets": targets,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_weights(self, state: dict[str, Any], where: Path) -> None:
        """Take the encoder and the targets both sides have; others start from the encoder.

        Raises:
            ValueError: the checkpoint is of another architecture, even if all shapes agree.
        """
        there = config.completed(state["config"]).get("encoder", {})
        other = [
            f"encoder.{key}: {there[key]!r} there, {value!r} here"
            for key, value in config.to_dict(self.cfg.encoder).items()
            if key in there and key not in config.TRAINING_ONLY and there[key] != value
        ]
        if other:
            listing = "\n  ".join(other)
            raise ValueError(
                f"{where} is of another architecture:\n  {listing}\n"
                "give these values as they are there"
            )
        encoder = schema.finite_weights(state["encoder"], "encoder", where)
        checkpoint.load_into(self.model.encoder, encoder, where)
        for target in self.model.each_target():
            name = target.name
            theirs = state["targets"].get(name)
            if theirs is not None:
                values = schema.finite_weights(theirs, f"targets.{name}", where)
                checkpoint.load_into(target, values, where)
            else:
                target.start_from(self.model.encoder)

    def take_moments(self, by_name: dict[str, Any], where: Path) -> None:
        """Take Adam's state from {name of the parameter: {step, exp_avg, exp_avg_sq}}.

        Raises:
            ValueError: a parameter is missing, or values Adam cannot have.
        """
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        missing = [name for name, _ in named if name not in by_name]
        if missing:
            raise ValueError(
                f"{where}: holds no state of the optimiser for {missing[0]} and "
                f"{len(missing) - 1} more; run.init_from takes the weights alone"
            )
        for name, parameter in named:
            entry = {k: torch.as_tensor(v) for k, v in by_name[name].items()}
            self._place(parameter, schema.entry_of(entry, parameter, name, where))

    def take_progress(self, values: dict[str, Any], where: Path) -> None:
        """Go on from this progress, at the beginning of its epoch."""
        self.progress = read_progress(values, where)
        self.progress.begin_again()
        self.progress.processes = self.world.size
