"""All that a run carries from update to update, and how it is saved, resumed and started."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core import checkpoint, config
from mt4ssl_core.config import Config
from mt4ssl_core.distributed import World
from mt4ssl_core.model import MT4SSL
from mt4ssl_core.optim import AdamW
from mt4ssl_core.targets.online import OnlineTarget

# settings that decide the shape of a checkpoint, beside those of the encoder
_SHAPE = {
    "offline.num_classes", "offline.label_offset", "random_projection.num_classes",
    "random_projection.codebook_dim", "random_projection.num_mels",
}  # fmt: skip
# settings that decide which utterances are in which batch
_ORDER = {
    "run.seed", "data.train", "data.valid_share", "data.batch_seconds", "data.buckets",
    "data.min_seconds", "data.max_seconds",
}  # fmt: skip


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Dotted names of a config's values; a section that is off has none."""
    return {f"{s}.{key}": v for s, part in values.items() for key, v in (part or {}).items()}


def _reshapes(key: str, old: Any, new: Any) -> bool:
    """Whether a checkpoint written with ``old`` cannot go on with ``new``."""
    section, name = key.split(".")
    switched = section in config.TARGETS and (old is None or new is None)
    return key in _SHAPE or switched or (section == "encoder" and name not in config.TRAINING_ONLY)


@dataclass
class Progress:
    """How far a run is; ``batches`` of this epoch were consumed, not merely prefetched."""

    update: int = 0
    epoch: int = 0
    batches: int = 0
    processes: int = 1
    audio_hours: float = 0.0
    wall_hours: float = 0.0
    best: float | None = None


class Training:
    """All that is resumed: model, optimiser, loss scale, progress."""

    def __init__(self, cfg: Config, world: World):
        self.cfg, self.world = cfg, world
        torch.manual_seed(cfg.run.seed)
        self.model = MT4SSL(cfg).to(world.device)
        self.optimizer = AdamW(self.model, cfg.optim)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=cfg.run.precision == "fp16")
        self.progress = Progress(processes=world.size)

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint in the format of checkpoint.py."""
        targets = {name: target.state_dict() for name, target in self.model.targets.items()}
        return {
            "config": config.to_dict(self.cfg),
            "encoder": self.model.encoder.state_dict(),
            "targets": targets,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def load_weights(self, state: dict[str, Any], where: Path) -> None:
        """Take the encoder and the targets both sides have; an absent teacher is the student.

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
        checkpoint.load_into(self.model.encoder, state["encoder"], where)
        for name, target in self.model.targets.items():
            theirs = state["targets"].get(name)
            if theirs is not None:
                checkpoint.load_into(target, theirs, where)
            elif isinstance(target, OnlineTarget):
                target.teacher.load_state_dict(self.model.encoder.context.state_dict())
        moments = state.get("optimizer_by_name") or {}
        for name, parameter in self.model.named_parameters():
            if name in moments and parameter.requires_grad:
                entry = {k: torch.as_tensor(v) for k, v in moments[name].items()}
                self.optimizer.state[parameter] = {k: v.to(parameter) for k, v in entry.items()}
        self._place_steps()

    def _place_steps(self) -> None:
        """Adam counts steps on the GPU when fused, else on the CPU."""
        for parameter, entry in self.optimizer.state.items():
            fused = self.optimizer.defaults["fused"]
            entry["step"] = entry["step"].to(parameter.device if fused else "cpu", torch.float32)

    def resume(self, path: Path) -> list[str]:
        """Continue from ``path``; returns the settings that have changed since it was written."""
        state = checkpoint.load(path)
        now = config.to_dict(self.cfg)
        # settings that are newer than the checkpoint were as their defaults are
        old = _flat(config.completed(state["config"]))
        new = _flat(now)
        changed = {
            key: f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        }
        other = [
            line for key, line in changed.items() if _reshapes(key, old.get(key), new.get(key))
        ]
        if other:
            listing = "\n  ".join(other)
            raise ValueError(
                f"{path} was written by another model:\n  {listing}\n"
                "give these values as they were, or another run.out"
            )
        self.load_weights(state, path)
        groups = [
            {k: v for k, v in group.items() if k != "params"}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, settings in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(settings)  # today's settings, not those of the file
        self._place_steps()
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        lines, order = list(changed.values()), _ORDER & changed.keys()
        if self.progress.processes != self.world.size:
            order |= {"processes"}
            self.progress.processes = self.world.size
        if order and self.progress.batches:
            self.progress.batches = 0
            lines.append("the data order has changed: this epoch starts again")
        return lines
