"""A look at an upstream before days are spent: is it an encoder, how many layers, how fast."""

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

import upstream as door
from mt4ssl_core.bars import Bar
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.suite import model_size

SHAPE = (2, 4 * SAMPLE_RATE)  # clips, samples each
REPEATS = 3


@dataclass(frozen=True)
class Probe:
    """What was found."""

    layers: int  # hidden states
    dim: int
    seconds: float | None = None  # to encode one second of audio; None: not measured
    batch_dependent: bool = False  # an utterance has other features beside a longer one
    frames: float = 50.0  # per second of audio
    params: int | None = None
    macs: int | None = None  # as SUPERB counts them, see model_size


def try_upstream(
    upstream: str, ckpt: str | None = None, device: str = "cpu", timed: bool = False
) -> Probe:
    """Build an upstream of s3prl's hub and encode noise with it.

    Raises:
        ValueError: no such upstream, a checkpoint that is none of an encoder, or one whose hidden
            states are not finite tensors of one shape.
    """
    with Bar(f"loading s3prl and {upstream}"):
        return _tried(upstream, ckpt, device, timed)


def _tried(upstream: str, ckpt: str | None, device: str, timed: bool) -> Probe:
    door.register()
    from s3prl import hub

    from upstream.heads import command
    from upstream.store import stored_features

    where = f"-u {upstream}" + (f" {ckpt}" if ckpt else "")
    args = SimpleNamespace(upstream=upstream, upstream_ckpt=ckpt)
    command.resolve_upstream(args)
    try:
        model = getattr(hub, upstream)(ckpt=args.upstream_ckpt, model_config=None, refresh=False)
        model = model.to(device).eval()
        states = _hidden_states(model, device)
        facts = stored_features.upstream_facts(model, "hidden_states", device)
    except (ValueError, OSError, KeyboardInterrupt):
        raise
    except Exception as error:  # what a foreign expert makes of a wrong checkpoint is up to it
        raise ValueError(
            f"{where}: not usable as an encoder ({type(error).__name__}: {error}); give a "
            "checkpoint of this upstream"
        ) from error
    shapes = {tuple(state.shape) for state in states}
    if len(shapes) != 1 or not all(torch.isfinite(state).all() for state in states):
        raise ValueError(
            f"{where}: its hidden states are not finite or differ in shape; give another checkpoint"
        )
    seconds = _seconds(model, device) if timed else None
    frames = states[0].shape[1] * SAMPLE_RATE / SHAPE[1]
    return Probe(
        layers=len(states),
        dim=states[0].shape[-1],
        seconds=seconds,
        batch_dependent=facts["batch_dependent"],
        frames=frames,
        params=model_size.params(model),
        macs=model_size.macs(model),
    )


def _hidden_states(model: Any, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    waves = [wave.to(device) for wave in 0.1 * torch.randn(SHAPE, generator=generator)]
    with torch.no_grad():
        states = model(waves)["hidden_states"]  # list of (B, T, D), or one of them
    return list(states) if isinstance(states, list | tuple) else [states]


def _seconds(model: Any, device: str) -> float:
    """Seconds to encode a second of audio: the fastest of some passes."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        _hidden_states(model, device)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times) * SAMPLE_RATE / (SHAPE[0] * SHAPE[1])
