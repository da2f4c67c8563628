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


@dataclass
class Progress:
    """How far a run is; ``batches`` of this epoch were consumed, not merely prefetched."""

    update: int = 0
    epoch: int = 0
    batches: int = 0
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
        self.progress = Progress()

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
        """Take the encoder and the targets both sides have; an absent teacher is the student."""
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
                self.optimizer.state[parameter] = {
                    key: value.to(torch.float32 if key == "step" else parameter)
                    for key, value in entry.items()
                }

    def resume(self, path: Path) -> list[str]:
        """Continue from ``path``; returns the settings that have changed since it was written."""
        state = checkpoint.load(path)
        now = config.to_dict(self.cfg)
        changed = [
            f"{section}.{key}: {old!r} -> {(now[section] or {}).get(key)!r}"
            for section, values in state["config"].items()
            for key, old in (values or {}).items()
            if (now[section] or {}).get(key) != old
        ]
        shape = ("encoder.", "offline.", "online.", "random_projection.")
        if any(line.startswith(shape) for line in changed):
            listing = "\n  ".join(line for line in changed if line.startswith(shape))
            raise ValueError(
                f"{path} was written by another model:\n  {listing}\n"
                "give these values as they were, or another run.out"
            )
        self.load_weights(state, path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        return changed
