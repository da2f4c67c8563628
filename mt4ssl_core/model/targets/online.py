"""Online target: regress the features of an EMA teacher (paper section 2.3, On-TE; data2vec)."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mt4ssl_core.config import MOST, Config
from mt4ssl_core.model.context import Context
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.padding import moments, padding_mask
from mt4ssl_core.model.targets import Masked, Target, TargetLoss, register
from mt4ssl_core.settings.bounds import number


@dataclass
class OnlineConfig:
    """Regress the features of an EMA teacher (paper: On-TE; data2vec).

    top_k: teacher layers averaged. ema_start, ema_end, ema_anneal_updates: linear ramp of the
        decay.
    norm_over_padding: padding counts in the targets' instance-norm statistics (official behaviour).
    step_per_micro_batch: one EMA step per micro-batch instead of per update (official behaviour).
    min_target_var, min_pred_var: training stops below these standard deviations: the representation
        has collapsed. collapse_after: updates before that is looked at.
    weight: of this loss in the sum.
    """

    top_k: int = number(8, at_least=1, at_most=1000)
    ema_start: float = number(0.999, at_least=0, at_most=1)
    ema_end: float = number(0.9999, at_least=0, at_most=1)
    ema_anneal_updates: int = number(30_000, at_least=0, at_most=MOST)
    norm_over_padding: bool = False
    step_per_micro_batch: bool = False
    min_target_var: float = number(0.1, at_least=0, at_most=1e6)
    min_pred_var: float = number(0.01, at_least=0, at_most=1e6)
    collapse_after: int = number(5_000, at_least=0, at_most=MOST)
    weight: float = number(1.0, at_least=0, at_most=1e6)


class Ema:
    """Exponential moving average of a module's parameters in float32; knows of no loss.

    Parameters whose name starts with a prefix in ``copied`` are copied, not averaged (the official
    code copies the positional convolution).
    """

    def __init__(self, cfg: OnlineConfig, copied: tuple[str, ...] = ("pos_conv.",)):
        self.cfg, self.copied = cfg, copied

    def decay_at(self, step: int) -> float:
        """Decay in effect after ``step`` updates: linear from ema_start to ema_end."""
        cfg = self.cfg
        if step >= cfg.ema_anneal_updates:
            return cfg.ema_end
        return cfg.ema_end - (cfg.ema_end - cfg.ema_start) * (1 - step / cfg.ema_anneal_updates)

    @torch.no_grad()
    def update(self, average: nn.Module, model: nn.Module, step: int) -> None:
        """``average`` <- decay * average + (1 - decay) * model."""
        theirs, ours = dict(model.named_parameters()), dict(average.named_parameters())
        averaged = [name for name in ours if not name.startswith(self.copied)]
        torch._foreach_lerp_(
            [ours[name] for name in averaged],
            [theirs[name] for name in averaged],
            1 - self.decay_at(step),
        )
        for name in ours.keys() - set(averaged):  # few; a sharded model knows of no foreach copy
            ours[name].copy_(theirs[name])


def instance_norm(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Normalise (B, T, D) per utterance and channel over valid frames (biased variance)."""
    x = x.float()
    mean, var = moments(x, lengths)
    return (x - mean) * torch.rsqrt(var + 1e-5)


def spread(x: Tensor) -> Tensor:
    """Mean over channels of the standard deviation over frames of (M, D): small when collapsed."""
    if len(x) < 2:
        return x.new_full((), float("nan"))
    return (x.float().var(0) + 1e-6).sqrt().mean()


@register("online", OnlineConfig, on=True)
class OnlineTarget(Target):
    """Teacher features at the hidden frames, regressed from the last layer by a linear head.

    The teacher is an average of the student's context network, fed the student's own unmasked
    frames.
    Its answer is the mean, over the top k layers, of instance-normalised feed-forward outputs. The
    loss is the squared error summed over channels, divided by sqrt(D).
    """

    metrics = ("loss", "target_var", "pred_var", "ema_decay")

    def __init__(self, cfg: OnlineConfig, encoder: Encoder):
        super().__init__(cfg, encoder)
        self.ema = Ema(cfg)
        dim = encoder.cfg.dim
        self.head = nn.Linear(dim, dim)
        self.teacher: Context = copy.deepcopy(encoder.context).requires_grad_(False)
        self.teacher.eval()

    @classmethod
    def problems(cls, settings: OnlineConfig, cfg: Config) -> list[str]:
        """More layers than there are, or a decay that falls."""
        top, layers, out = settings.top_k, cfg.encoder.layers, []
        start, end = settings.ema_start, settings.ema_end
        if top > layers:
            out.append(f"top_k: {top} is more than encoder.layers = {layers}")
        if start > end:
            out.append(f"ema_start: {start}; must be at most online.ema_end = {end}")
        return out

    def start_from(self, encoder: Encoder) -> None:
        """The teacher is the student."""
        self.teacher.load_state_dict(encoder.context.state_dict())

    def train(self, mode: bool = True) -> "OnlineTarget":
        """Switch the head's mode; the teacher never drops anything."""
        super().train(mode)
        self.teacher.eval()
        return self

    def before_micro_batch(self, encoder: Encoder, step: int, first: bool) -> None:
        """Let the teacher absorb the student as it is after ``step`` updates."""
        if step > 0 and (first or self.cfg.step_per_micro_batch):
            self.ema.update(self.teacher, encoder.context, step)

    @torch.no_grad()
    def answer(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The teacher's targets (B, T, D) for unmasked projected frames (B, T, D)."""
        _, ffn = self.teacher(frames, lengths)
        whole = self.cfg.norm_over_padding or padding_mask(lengths, frames.shape[1]) is None
        over = None if whole else lengths.to(frames.device, non_blocking=True)
        with torch.autocast(frames.device.type, enabled=False):
            layers = [instance_norm(x, over) for x in ffn[-self.cfg.top_k :]]
            return torch.stack(layers).mean(0)

    def loss(self, masked: Masked) -> TargetLoss:
        """Squared error at the hidden frames, with the spread of targets and predictions."""
        encoded = masked.encoded
        answer = self.answer(encoded.frames.detach(), encoded.lengths)
        wanted = masked.hidden(answer)  # (M, D)
        predicted = self.head(masked.hidden(encoded.output)).float()
        total = (predicted - wanted).square().sum() / wanted.shape[-1] ** 0.5
        means: dict[str, Tensor | float] = {
            "target_var": spread(wanted),
            "pred_var": spread(predicted.detach()),
            "ema_decay": self.ema.decay_at(masked.step),
        }
        return TargetLoss(
            self.name,
            self.cfg.weight * total,
            len(wanted),
            {"loss": total.detach()},
            means,
        )

    def check(self, metrics: dict[str, float], step: int) -> str | None:
        """Say that the representation has collapsed (official `multi2vec_audio.py` thresholds)."""
        if step <= self.cfg.collapse_after:
            return None
        for name, low in (
            ("target_var", self.cfg.min_target_var),
            ("pred_var", self.cfg.min_pred_var),
        ):
            value = metrics.get(f"{self.name}/{name}", low)
            if value < low:
                return (
                    f"{name} = {value:.4f} is below online.min_{name} = {low}: the representation "
                    "has collapsed; lower optim.lr, lengthen optim.warmup or make batches larger"
                )
        return None
