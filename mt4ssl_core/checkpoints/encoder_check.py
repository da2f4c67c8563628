"""`mt4ssl check-encoder`: whether a class in a Python file keeps the contract of an encoder."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.own_encoder import OwnEncoder, noises
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.settings.frames import SAMPLE_RATE, WINDOW

LONGEST = 4 * SAMPLE_RATE
BATCH = (16_000, 400, 9_000, 24_000, 719)  # samples of utterances that are encoded together

Check = Callable[[OwnEncoder], None]  # raises ValueError where the contract is broken


def check(named: str, device: str = "auto", say: Callable[[str], None] = print) -> bool:
    """Try an encoder FILE.py:CLASS out, saying what holds and what does not; return whether all.

    Raises:
        ValueError: there is no such file, or no such device.
    """
    python_file.allow(named)
    place = choose_device(device)
    try:
        encoder = OwnEncoder(named)
    except ValueError as error:
        say(f"FAILED  can be used: {error}")
        return False
    say(f"{'ok':8}can be used")
    failed = 0
    for what, problem in _problems(encoder, place):
        say(f"{'FAILED' if problem else 'ok':8}{what}{f': {problem}' if problem else ''}")
        failed += bool(problem)
    params = sum(parameter.numel() for parameter in encoder.parameters())
    result = f"{failed} of its checks failed" if failed else "all checks passed"
    say(
        f"{encoder.name}: {encoder.layers} layers of {encoder.dim}, {encoder.frame_rate:g} frames "
        f"per second, {params:,} parameters, on {place}; {result}"
    )
    return not failed


@torch.no_grad()
def _problems(encoder: OwnEncoder, place: torch.device) -> Iterator[tuple[str, str]]:
    """Yield what is tried, and what is wrong with it or ""."""
    checks: dict[str, Check] = {
        "shapes and lengths of 400 to 64,000 samples": _lengths,
        "the same answer twice": _twice,
        "an utterance is the same alone and in a batch": _batch,
        "silence": _silence,
        "float32": _dtype,
        "moves between devices": partial(_moves, place=place),
    }
    for what, run in checks.items():
        try:
            run(encoder)
        except ValueError as error:
            yield what, str(error)
        else:
            yield what, ""


def counts(hop: int) -> list[int]:
    """Sample counts to try: densely where the first frames begin, then over all lengths."""
    first = range(WINDOW, WINDOW + 3 * hop, max(1, hop // 8))
    steps = {round(WINDOW * (LONGEST / WINDOW) ** (i / 24)) for i in range(25)}
    edges = {LONGEST // hop * hop + by for by in (-1, 0)}
    return sorted({*first, *steps, *edges})


def _lengths(encoder: OwnEncoder) -> None:
    (wave,) = noises([LONGEST], encoder.device)
    before = 0
    for count in counts(encoder.hop):
        _, lengths = encoder.ask([wave[:count]])
        if int(lengths[0]) < before:
            raise ValueError(f"{count:,} samples give fewer frames than fewer samples; correct it")
        before = int(lengths[0])


def _twice(encoder: OwnEncoder) -> None:
    waves = noises([16_000], encoder.device)
    torch.manual_seed(0)
    first, _ = encoder.ask(waves)
    torch.manual_seed(1)
    again, _ = encoder.ask(waves)
    if any(not torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise ValueError("answers differ; leave out what is random where self.training is False")


def _batch(encoder: OwnEncoder) -> None:
    if problem := encoder.batch_problem(BATCH):
        raise ValueError(problem)


def _silence(encoder: OwnEncoder) -> None:
    encoder.ask([torch.zeros(16_000, device=encoder.device)])


def _dtype(encoder: OwnEncoder) -> None:
    states, _ = encoder.model(noises([16_000], encoder.device))
    if wrong := {str(state.dtype) for state in states} - {"torch.float32"}:
        raise ValueError(f"gives {', '.join(sorted(wrong))}; give float32")


def _moves(encoder: OwnEncoder, place: torch.device) -> None:
    """Tensors that stay behind are looked for everywhere; the move itself needs a second device."""
    for name, module in encoder.model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                path = ".".join(filter(None, ["self", name, key]))
                raise ValueError(f"{path} does not move with the encoder; use register_buffer")
    encoder.to(place)
    encoder.ask(noises([16_000], place))
    encoder.to("cpu")
