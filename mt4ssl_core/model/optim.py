"""Parameter updates and the learning-rate schedule."""

import torch
from torch import Tensor, nn

from mt4ssl_core.config import OptimConfig


class AdamW(torch.optim.AdamW):
    """AdamW on all trainable parameters, with PyTorch's or fairseq's place for epsilon.

    PyTorch divides by sqrt(v / c) + eps, fairseq by (sqrt(v) + eps) / sqrt(c), where c = 1 -
    beta2^t is
    the bias correction: the same as PyTorch's with eps / sqrt(c). The two differ by up to 6e-5 in
    weights after five updates. It is fused: one pass over the weights, on a CPU too.
    """

    def __init__(self, model: nn.Module, cfg: OptimConfig):
        parameters = [p for p in model.parameters() if p.requires_grad]
        super().__init__(
            parameters,
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

    def prepare(self, update: int) -> float:
        """Set rate and epsilon for the next update, after ``update`` updates; returns the rate."""
        lr = learning_rate(self.cfg, update)
        for group in self.param_groups:
            group["lr"] = lr
            group["eps"] = self.cfg.eps
            if self.cfg.fairseq_eps:
                group["eps"] = self.cfg.eps / (1 - self.cfg.betas[1] ** (update + 1)) ** 0.5
        return lr


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
