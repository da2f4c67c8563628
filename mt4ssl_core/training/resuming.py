"""What a run of any kind carries from update to update, and how it goes on from a checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mt4ssl_core import config
from mt4ssl_core.distributed import World
from mt4ssl_core.model.optim import AdamW
from mt4ssl_core.training import schema
from mt4ssl_core.training.progress import Progress, read_progress
from mt4ssl_core.training.sharding import part_like, shard


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Dotted names of a config's values; a section that is off has none."""
    return {f"{s}.{key}": v for s, part in values.items() for key, v in (part or {}).items()}


class Resumable:
    """Model, optimiser, loss scale and progress.

    Attributes:
        command: of `mt4ssl`, for messages.
        order: settings that decide, with the ids and lengths, which utterances are in which batch.
        measure: settings that decide, with the ids and lengths, what is measured on held-out audio.
    """

    command: ClassVar[str]
    order: ClassVar[set[str]]
    measure: ClassVar[set[str]]

    def __init__(self, cfg: Any, world: World, model: nn.Module):
        self.cfg, self.world = cfg, world
        trained: Any = model.to(world.device)
        if cfg.run.activation_checkpointing:
            trained.encoder.checkpoint_activations()
        self.model = trained
        self.optimizer = AdamW(self.model, cfg.optim, self.own_rates())
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=cfg.run.precision == "fp16")
        self.progress = Progress(processes=world.size)
        self._new_order, self._new_measure = False, False
        self.sharded = False

    @classmethod
    def sections(cls) -> Mapping[str, type]:
        """{name: dataclass} of its config."""
        raise NotImplementedError

    def own_rates(self) -> Mapping[str, float]:
        """{part of the model: its highest learning rate} where that is not optim.lr."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Its config as plain values, as a checkpoint holds them."""
        return config.to_dict(self.cfg)

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint in the format of checkpoint.py."""
        raise NotImplementedError

    def shard(self) -> None:
        """Share weights and moments out among the processes, which all call it."""
        moments = {n: self.optimizer.state.get(p) for n, p in self.model.named_parameters()}
        shard(self.model, self.world)
        self.optimizer = AdamW(self.model, self.cfg.optim, self.own_rates())
        self.sharded = True
        for name, parameter in self.model.named_parameters():
            if entry := moments[name]:
                parts = {key: part_like(entry[key], parameter) for key in schema.MOMENTS}
                self.optimizer.state[parameter] = {**entry, **parts}

    def load_weights(self, state: dict[str, Any], where: Path) -> None:
        """Take the weights of a checkpoint; ValueError: it is of another architecture."""
        raise NotImplementedError

    def reshapes(self, key: str, old: Any, new: Any) -> bool:
        """Whether a checkpoint written with the setting ``old`` cannot go on with ``new``."""
        raise NotImplementedError

    @classmethod
    def check_kind(cls, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint is of a run of another kind."""
        raise NotImplementedError

    @classmethod
    def check(cls, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint cannot be one that a run of any model wrote."""
        schema.settings(state["config"], path, cls.sections())
        read_progress(state["progress"], path)
        schema.loss_scale(state["scaler"], path)
        schema.finite_weights(state["encoder"], "encoder", path)
        for name, values in state["targets"].items():
            schema.finite_weights(values, f"targets.{name}", path)

    def step_if_finite(self, figures: Tensor) -> bool:
        """Let the optimiser go on if ``figures`` are finite, without asking the device for them.

        Returns False, and does nothing, where only `step` can: with a loss scale, and of a model
        that is sharded.
        """
        if self.scaler.is_enabled() or self.sharded:
            return False
        self.optimizer.step_unless(~figures.isfinite().all())
        return True

    def step(self) -> None:
        """Let the optimiser go on; with a loss scale it stays where it is after an overflow."""
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def is_good(self, loss: float, grad_norm: float) -> bool:
        """Whether a run goes on after these: with fp16, gradients that overflow lower the loss
        scale, unless it is at its end.
        """
        if not math.isfinite(loss):
            return False
        overflow = not math.isfinite(grad_norm)
        return not overflow or (self.scaler.is_enabled() and self.scaler.get_scale() > 2**-14)

    def resume(self, state: dict[str, Any], path: Path) -> list[str]:
        """Continue from the checkpoint that was read from ``path``; returns what has changed.

        Raises:
            ValueError: it is of another model, or its parts do not fit each other.
        """
        old = schema.settings(state["config"], path, self.sections())
        changed = self._changes(old)
        other = [line for _, reshapes, line in changed.values() if reshapes]
        if other:
            listing = "\n  ".join(other)
            raise ValueError(
                f"{path} was written by another model:\n  {listing}\n"
                "give these values as they were, or another run.out"
            )
        self.load_weights(state, path)
        groups = self.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        for number, entry in schema.adam_state(state["optimizer"], parameters, path).items():
            self._place(parameters[number], entry)
        scale = schema.loss_scale(state["scaler"], path)
        if scale and self.scaler.is_enabled():
            self.scaler.load_state_dict(self.scaler.state_dict() | scale)
        self.progress = read_progress(state["progress"], path)
        lines = [line for _, _, line in changed.values()]
        if self.progress.processes != self.world.size:
            lines += self._other_processes(schema.accumulated(old, path))
            self.progress.share_among(self.world.size)
        self._new_order |= bool(self.order & changed.keys())
        self._new_measure = bool(self.measure & changed.keys())
        return lines

    def _other_processes(self, accumulated: int) -> list[str]:
        """What to say of another number of processes, which ``accumulated`` micro-batches each."""
        was, processes = self.progress.processes, self.world.size
        before, now = was * accumulated, processes * self.cfg.optim.accumulate
        batches = f"batches per update: {now}, as before"
        if now != before:
            batches = f"batches per update: {before} -> {now}, with the same learning rate"
            if before % processes == 0:
                batches += f"; optim.accumulate={before // processes} keeps {before}"
        dropout = "dropout is drawn per process, and differs from here on"
        return [f"processes: {was} -> {processes}; {dropout}", batches]

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
            if progress.batches or progress.earlier:
                lines.append("the data order has changed: this epoch starts again")
            progress.begin_again()
        if progress.best is not None and (self._new_measure or progress.held_out_data != held_out):
            lines.append("the held-out data have changed: the next validation makes best.pt anew")
            progress.best = None
        progress.train_data, progress.held_out_data = train, held_out
        return lines

    def _changes(self, old: dict[str, dict[str, Any] | None]) -> dict[str, tuple[str, bool, str]]:
        """{key: (key, whether no checkpoint can go on with it, what to say)} of each setting that
        is not as in ``old``. A setting that is newer than the checkpoint had its default then.
        """
        before = _flat(config.completed(old, self.sections()))
        after = _flat(self.settings())
        return {
            key: (
                key,
                self.reshapes(key, before.get(key), after.get(key)),
                f"{key}: {before.get(key)!r} -> {after.get(key)!r}",
            )
            for key in sorted(before.keys() | after.keys())
            if before.get(key) != after.get(key)
        }

    def _place(self, parameter: Tensor, entry: dict[str, Tensor]) -> None:
        """Put Adam's state where the parameter is, its count of steps too."""
        step = entry["step"].to(parameter.device, torch.float32)
        rest = {name: entry[name].to(parameter, copy=True) for name in schema.MOMENTS}
        self.optimizer.state[parameter] = {"step": step, **rest}
