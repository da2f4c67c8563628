"""Parameter updates and the learning-rate schedule."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mt4ssl_core.config import OptimConfig


class AdamW(torch.optim.AdamW):
    """AdamW on all trainable parameters, with PyTorch's or fairseq's place for epsilon.

    PyTorch divides by sqrt(v / c) + eps, fairseq by (sqrt(v) + eps) / sqrt(c), where c = 1 -
    beta2^t is
    the bias correction: the same as PyTorch's with eps / sqrt(c). The two differ by up to 6e-5 in
    weights after five updates. It is fused: one pass over the weights, on a CPU too.

    own_rates: {child of the model: its highest rate, in place of cfg.lr}; the schedule is the same.
    Whatever groups that makes, parameters are numbered in the model's order.
    """

    def __init__(
        self,
        model: nn.Module,
        cfg: OptimConfig,
        own_rates: Mapping[str, float] = MappingProxyType({}),
    ):
        own = {f"{part}_lr": replace(cfg, lr=rate) for part, rate in own_rates.items()}
        self.schedules = {"lr": cfg, **own}

        def rate_of(item: tuple[str, nn.Parameter]) -> str:
            name = f"{item[0].split('.')[0]}_lr"
            return name if name in own else "lr"

        trained = [item for item in model.named_parameters() if item[1].requires_grad]
        groups = [(rate, [p for _, p in items]) for rate, items in groupby(trained, rate_of)]
        self.rates = [rate for rate, _ in groups]  # the name of each group's
        super().__init__(
            [{"params": parameters} for _, parameters in groups],
            lr=cfg.lr,
            betas=(cfg.betas[0], cfg.betas[1]),
            eps=cfg.eps,
            weight_decay=cfg.weight_decay,
            fused=True,
        )
        self.cfg = cfg

    def step_unless(self, stop: Tensor) -> None:
        """Step unless ``stop`` (a bool of the device, which is not asked for it)."""
        self.found_inf, self.grad_scale = stop.float(), None
        try:
            self.step()
        finally:
            del self.found_inf, self.grad_scale

    def prepare(self, update: int) -> dict[str, float]:
        """Set rates and epsilon for the next update, after ``update`` updates.

        Returns {lr: the rate, PART_lr: that of each part with its own}.
        """
        found = {name: learning_rate(cfg, update) for name, cfg in self.schedules.items()}
        for name, group in zip(self.rates, self.param_groups, strict=True):
            group["lr"] = found[name]
            group["eps"] = self.cfg.eps
            if self.cfg.fairseq_eps:
                group["eps"] = self.cfg.eps / (1 - self.cfg.betas[1] ** (update + 1)) ** 0.5
        return found


def learning_rate(cfg: OptimConfig, update: int) -> float:
    """Tri-stage schedule: linear warm-up, hold, exponential decay (fairseq `tri_stage`).

    ``update`` counts updates made so far: the first update uses ``learning_rate(cfg, 0)``.
    """
    warmup = int(cfg.warmup * cfg.max_updates)
    hold = int(cfg.hold * cfg.max_updates)
    decay = max(1, int(cfg.decay * cfg.max_updates))
    if update < warmup:
        start = cfg.init_scale * cfg.lr
        return start + (cfg.lr - start) / warmup * update
    if update <= warmup + hold:
        return cfg.lr
    progress = min(1.0, (update - warmup - hold) / decay)
    return cfg.lr * cfg.final_scale**progress
