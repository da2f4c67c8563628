"""What settings must be together; each alone is checked by `bounds.problems`."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mt4ssl_core.settings import registry
from mt4ssl_core.settings.bounds import MISSING
from mt4ssl_core.settings.frames import HOP, SAMPLE_RATE, WINDOW, num_frames
from mt4ssl_core.settings.shards import FACTS, JOB

if TYPE_CHECKING:
    from mt4ssl_core.config import Config, DataConfig, EncoderConfig, OptimConfig

MOST_PARAMETERS = 20e9  # of an encoder


def encoder_problems(e: "EncoderConfig") -> list[str]:
    """Return what is wrong with an architecture whose numbers are within their bounds."""
    out = []
    if not 0 < len(e.conv_layers) <= 64:
        out.append(f"encoder.conv_layers: {len(e.conv_layers)} blocks; expected 1 to 64")
    elif any(len(block) != 3 for block in e.conv_layers):
        out.append("encoder.conv_layers: expected [channels, kernel, stride] per block")
    elif any(not s <= k <= 2 * s for _, k, s in e.conv_layers):
        out.append("encoder.conv_layers: each kernel must be between its stride and twice that")
    elif math.prod(s for _, _, s in e.conv_layers) != HOP or _first_frame(e) != WINDOW:
        out.append(
            f"encoder.conv_layers: a frame must cover {WINDOW} samples and come every {HOP}, as "
            "with kernels 10 3 3 3 3 2 2 and strides 5 2 2 2 2 2 2; labels are made for these"
        )
    for name, divisor in (("heads", e.heads), ("pos_conv_groups", e.pos_conv_groups)):
        if divisor < 1 or e.dim % divisor:
            out.append(f"encoder.{name}: {divisor} does not divide encoder.dim = {e.dim}")
    if e.pos_conv_depth > 1 and e.pos_conv_kernel % 2 == 0:
        out.append("encoder.pos_conv_kernel: must be odd when pos_conv_depth > 1")
    if e.mel_stack == 3:
        out.append("encoder.mel_stack: 3; use 2 (frames of 20 ms) or 4 (40 ms)")
    if e.relative_buckets and (
        e.relative_buckets % 4 or e.relative_distance <= e.relative_buckets // 4
    ):
        out.append(
            f"encoder.relative_buckets: {e.relative_buckets} with relative_distance "
            f"{e.relative_distance}; expected a multiple of 4, and a distance of more than its "
            "quarter, such as 320 and 800, or 0 buckets for none"
        )
    if (size := _parameters(e)) > MOST_PARAMETERS:
        out.append(
            f"encoder: about {size / 1e9:,.0f} billion parameters, the most is "
            f"{MOST_PARAMETERS / 1e9:.0f}; lower encoder.dim, layers or ffn_dim"
        )
    return out


def _first_frame(e: "EncoderConfig") -> int:
    """Samples that the first frame covers."""
    size, rate = 1, 1
    for _, kernel, stride in e.conv_layers:
        size += (kernel - 1) * rate
        rate *= stride
    return size


def _parameters(e: "EncoderConfig") -> float:
    """About how many parameters an encoder has."""
    channels = [1, *(block[0] for block in e.conv_layers if block)]
    kernels = [block[1] for block in e.conv_layers if len(block) > 1]
    convs = sum(a * b * k for a, b, k in zip(channels, channels[1:], kernels, strict=False))
    position = e.pos_conv_depth * e.pos_conv_kernel * e.dim**2 / max(1, e.pos_conv_groups)
    return convs + position + e.layers * (4 * e.dim**2 + 2 * e.dim * e.ffn_dim)


def problems(cfg: "Config") -> list[str]:
    """Return what does not fit together."""
    parts = _target_problems(cfg), _data_problems(cfg), _sharding_problems(cfg)
    return [line for part in (*parts, stage_problems(cfg.optim)) for line in part]


def _sharding_problems(cfg: "Config") -> list[str]:
    out = []
    if cfg.run.parallel == "fsdp" and cfg.encoder.layerdrop:
        out.append(
            f"encoder.layerdrop: {cfg.encoder.layerdrop}; with run.parallel=fsdp all processes "
            "compute the same layers, so it must be 0"
        )
    if cfg.run.parallel == "fsdp" and cfg.run.precision == "fp16":
        out.append("run.precision: fp16; with run.parallel=fsdp use bf16 or fp32")
    if cfg.run.parallel == "fsdp" and cfg.run.probe is not None:
        out.append(
            f"run.probe: {cfg.run.probe}; with run.parallel=fsdp no process can look at the model "
            "alone, so it must be null"
        )
    return out


def _target_problems(cfg: "Config") -> list[str]:
    on, out = cfg.on, []
    if not on:
        out.append(f"{', '.join(cfg.targets)}: all null, nothing to learn; set one to {{}}")
    elif all(settings.weight == 0 for settings in on.values()):
        names = ", ".join(f"{name}.weight" for name in on)
        out.append(f"{names}: all 0, nothing to learn; set one above 0")
    kinds = registry.known()
    for name, settings in on.items():
        out += [f"{name}.{line}" for line in kinds[name].target.problems(settings, cfg)]
        if kinds[name].target.needs_labels:
            out += _label_problems(cfg.data, name)
    return out


def _label_problems(data: "DataConfig", target: str) -> list[str]:
    out = []
    if data.train not in ("", MISSING) and data.labels is None and not _sharded(data.train):
        out.append(
            f"data.labels: the {target} target needs labels; make them with `mt4ssl kmeans`, or "
            f"set {target}=null (with random_projection={{}} no labels are needed)"
        )
    if data.valid is not None and data.valid_labels is None and not _sharded(data.valid):
        out.append(f"data.valid_labels: the {target} target needs labels for data.valid too")
    return out


def _sharded(folder: str) -> bool:
    """Whether there are shards, which may hold labels."""
    try:
        return any((Path(folder) / name).is_file() for name in (FACTS, JOB))
    except OSError:  # such as a name too long
        return False


def _data_problems(cfg: "Config") -> list[str]:
    out, run, data = [], cfg.run, cfg.data
    if run.init_from is not None and run.continue_from is not None:
        out.append(
            "run.init_from, run.continue_from: give one: init_from for the weights alone, "
            "continue_from for optimiser and counters too"
        )
    if run.probe is not None and not (run.validate_every and (data.valid or data.valid_share)):
        out.append(
            "run.probe: it is measured at validations, of which there are none; set "
            "run.validate_every and data.valid_share, or data.valid"
        )
    if data.min_seconds > data.max_seconds:
        out.append(
            f"data.min_seconds: {data.min_seconds}; must be at most data.max_seconds = "
            f"{data.max_seconds}"
        )
    if data.batch_seconds < data.max_seconds:
        out.append(
            f"data.batch_seconds: {data.batch_seconds} must be at least "
            f"data.max_seconds = {data.max_seconds}, or one utterance does not fit"
        )
    finite = math.isfinite(data.max_seconds)  # or it is a problem already
    longest = num_frames(int(data.max_seconds * SAMPLE_RATE)) if finite else 0
    if finite and cfg.masking.length > longest:
        out.append(
            f"masking.length: {cfg.masking.length} frames of 20 ms are longer than any utterance "
            f"(data.max_seconds = {data.max_seconds} are {longest} frames)"
        )
    return out


def held_out_notes(train: str | Path, valid: str | None) -> list[str]:
    """Return what to say where the held-out speech is that of training."""
    if valid is None or os.path.abspath(valid) != os.path.abspath(train):
        return []
    return [
        f"data.valid is the training speech ({valid}): what is measured on it, and best.pt, say "
        "nothing of other speech; data.valid=null holds a share out"
    ]


def stage_problems(optim: "OptimConfig") -> list[str]:
    """Return what is wrong with the stages of a learning rate."""
    if abs(optim.warmup + optim.hold + optim.decay - 1) > 1e-6:
        return ["optim.warmup + optim.hold + optim.decay: must sum to 1"]
    return []
