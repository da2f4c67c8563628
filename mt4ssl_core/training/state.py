"""All that a run carries from update to update, and how it is saved, resumed and started."""

import dataclasses
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.config import Config
from mt4ssl_core.distributed import World
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.optim import AdamW
from mt4ssl_core.settings import bounds, registry
from mt4ssl_core.training import schema
from mt4ssl_core.training.progress import Progress, read_progress

# settings that decide, with the ids and lengths, which utterances are in which batch
_ORDER = {"run.seed", "data.batch_seconds", "data.buckets", "data.max_seconds"}
# settings that decide, with the ids and lengths, what is measured on held-out audio
_MEASURE = {
    "run.seed", "data.batch_seconds", "data.max_seconds", "data.labels", "data.valid_labels",
    "masking.prob", "masking.length", "masking.same_count",
}  # fmt: skip


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Dotted names of a config's values; a section that is off has none."""
    return {f"{s}.{key}": v for s, part in values.items() for key, v in (part or {}).items()}


def _reshapes(key: str, old: Any, new: Any) -> bool:
    """Whether a checkpoint written with ``old`` cannot go on with ``new``."""
    section, _, name = key.partition(".")
    if kind := registry.known().get(section):
        fields = {item.name: item for item in dataclasses.fields(kind.settings)}
        switched = old is None or new is None
        return switched or (name in fields and bounds.rule(fields[name]).shape)
    return section == "encoder" and name not in config.TRAINING_ONLY


class Training:
    """All that is resumed: model, optimiser, loss scale, progress."""

    def __init__(self, cfg: Config, world: World):
        self.cfg, self.world = cfg, world
        torch.manual_seed(cfg.run.seed)
        self.model = MT4SSL(cfg).to(world.device)
        self.optimizer = AdamW(self.model, cfg.optim)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=cfg.run.precision == "fp16")
        self.progress = Progress(processes=world.size)
        self._new_order, self._new_measure = False, False

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

    def _place(self, parameter: Tensor, entry: dict[str, Tensor]) -> None:
        """Put Adam's state where it belongs; it counts steps on the GPU when fused, else on the
        CPU.
        """
        fused = self.optimizer.defaults["fused"]
        step = entry["step"].to(parameter.device if fused else "cpu", torch.float32)
        rest = {name: entry[name].to(parameter, copy=True) for name in schema.MOMENTS}
        self.optimizer.state[parameter] = {"step": step, **rest}

    def take_progress(self, values: dict[str, Any], where: Path) -> None:
        """Go on from this progress, at the beginning of its epoch."""
        self.progress = read_progress(values, where)
        self.progress.batches, self.progress.processes = 0, self.world.size

    def check(self, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint cannot be one that a run of any model wrote."""
        schema.settings(state["config"], path)
        read_progress(state["progress"], path)
        schema.loss_scale(state["scaler"], path)
        schema.finite_weights(state["encoder"], "encoder", path)
        for name, values in state["targets"].items():
            schema.finite_weights(values, f"targets.{name}", path)

    def resume(self, state: dict[str, Any], path: Path) -> list[str]:
        """Continue from the checkpoint that was read from ``path``; returns what has changed.

        Raises:
            ValueError: it is of another model, or its parts do not fit each other.
        """
        changed = self._changes(schema.settings(state["config"], path))
        other = [line for _, reshapes, line in changed.values() if reshapes]
        if other:
            listing = "\n  ".join(other)
            raise ValueError(
                f"{path} was written by another model:\n  {listing}\n"
                "give these values as they were, or another run.out"
            )
        self.load_weights(state, path)
        parameters = self.optimizer.param_groups[0]["params"]
        for number, entry in schema.adam_state(state["optimizer"], parameters, path).items():
            self._place(parameters[number], entry)
        scale = schema.loss_scale(state["scaler"], path)
        if scale and self.scaler.is_enabled():
            self.scaler.load_state_dict(self.scaler.state_dict() | scale)
        self.progress = read_progress(state["progress"], path)
        lines = [line for _, _, line in changed.values()]
        if self.progress.processes != self.world.size:
            lines.append(f"processes: {self.progress.processes} -> {self.world.size}")
            self.progress.processes, self._new_order = self.world.size, True
        self._new_order |= bool(_ORDER & changed.keys())
        self._new_measure = bool(_MEASURE & changed.keys())
        return lines

    def meet_data(self, train: str, held_out: str | None) -> list[str]:
        """Compare the data with those of the run that is resumed; returns what to say of it.

        ``train``, ``held_out``: see `PretrainLoader.fingerprint`. The epoch begins again when the
        batches are no longer those that were consumed; the lowest held-out loss is forgotten when
        it was measured on other data.
        """
        progress, lines = self.progress, []
        if progress.update and (self._new_order or progress.train_data != train):
            if progress.train_data not in (None, train):
                lines.append("the training data have changed (other files, or other lengths)")
            if progress.batches:
                lines.append("the data order has changed: this epoch starts again")
            progress.batches, progress.skipped_files, progress.skipped_seconds = 0, 0, 0.0
        if progress.best is not None and (self._new_measure or progress.held_out_data != held_out):
            lines.append("the held-out data have changed: the next validation makes best.pt anew")
            progress.best = None
        progress.train_data, progress.held_out_data = train, held_out
        return lines

    def _changes(self, old: dict[str, dict[str, Any] | None]) -> dict[str, tuple[str, bool, str]]:
        """{key: (key, whether no checkpoint can go on with it, what to say)} of each setting that
        is not as in ``old``. A setting that is newer than the checkpoint had its default then.
        """
        before, after = _flat(config.completed(old)), _flat(config.to_dict(self.cfg))
        return {
            key: (
                key,
                _reshapes(key, before.get(key), after.get(key)),
                f"{key}: {before.get(key)!r} -> {after.get(key)!r}",
            )
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        }
