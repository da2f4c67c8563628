"""A user's encoder class (see docs/extend.md) as a `SpeechEncoder`, with every answer checked."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.model.speech_encoder import SpeechEncoder, joined
from mt4ssl_core.settings.frames import SAMPLE_RATE, WINDOW

OFF = 2  # frames that an answer may have more or fewer than samples / hop
TOLERANCE = 1e-4  # of the largest value, between alone and in a batch
TRIED = (8_000, 5_000)  # samples of the noises that an encoder is tried on when it is loaded


class WrongAnswer(ValueError):
    """The user's class does not do what the contract says."""


class OwnEncoder(SpeechEncoder):
    """An encoder that the user wrote.

    Raises:
        ValueError: the class cannot be used; says which part of the contract it breaks.
    """

    def __init__(self, named: object) -> None:
        super().__init__()
        self.file = python_file.read_name(named)
        kind, self.source = python_file.load(named)
        self.model = _made(kind, self.file)
        claimed = _claims(self.model, self.file)
        self.layers, self.dim, self.hop, self.name = claimed
        self.alone = False
        self.eval()
        self.alone = bool(self.batch_problem())

    def encode(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """As `SpeechEncoder.encode`; one by one where the user's class mixes utterances up."""
        if self.alone and len(waves) > 1:
            answers = [self.ask([wave]) for wave in waves]
            rows = [[state[0] for state in states] for states, _ in answers]
            return joined(rows), torch.cat([lengths for _, lengths in answers])
        return self.ask(waves)

    def identity(self) -> str:
        """The file's contents, and the class."""
        return f"{self.source}:{self.file.name}"

    @torch.no_grad()
    def batch_problem(self, sizes: Sequence[int] = TRIED) -> str:
        """Say how noises of these sizes come out of a batch otherwise than alone; "" if they do
        not.
        """
        waves = noises(sizes, self.device)
        together, lengths = self.ask(waves)
        for row, wave in enumerate(waves):
            alone, (frames,) = self.ask([wave])
            if int(lengths[row]) != int(frames):
                return (
                    f"{len(wave):,} samples give {frames} frames alone and {lengths[row]} beside "
                    "others; count each utterance's own"
                )
            for layer, (a, b) in enumerate(zip(together, alone, strict=True)):
                difference = float((a[row, :frames] - b[0, :frames]).abs().max())
                if difference > TOLERANCE * float(b[0, :frames].abs().max()):
                    return (
                        f"layer {layer} of {len(wave):,} samples differs by {difference:.2g} "
                        "beside longer ones, so that utterances are encoded one by one, which is "
                        "slow; mask the padding"
                    )
        return ""

    def ask(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Ask the user's class, and check what it says."""
        pad = nn.functional.pad
        padded = [pad(wave.clone(), (0, max(0, WINDOW - len(wave)))) for wave in waves]
        try:
            answer = self.model(padded)
        except Exception as error:
            if isinstance(error, torch.OutOfMemoryError | MemoryError):
                raise
            raise WrongAnswer(f"{python_file.said(self.file.path, error)}; correct it") from error
        states, lengths = self._checked_parts(answer, padded[0].device)
        self._check_shapes(states, lengths, padded)
        self._check_values(states, lengths)
        return [state.float() for state in states], lengths

    def _checked_parts(self, answer: Any, device: torch.device) -> tuple[list[Tensor], Tensor]:
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise self._wrong(f"returns a {type(answer).__name__}", "return (states, lengths)")
        states, lengths = answer
        if not isinstance(states, list | tuple) or not all(isinstance(s, Tensor) for s in states):
            kinds = {type(state).__name__ for state in states} if _many(states) else {_kind(states)}
            raise self._wrong(
                f"its hidden states are {', '.join(sorted(kinds))}", "return a list of tensors"
            )
        if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dim() != 1:
            raise self._wrong("its lengths are no whole numbers", "return a tensor (B,) of them")
        for tensor in (*states, lengths):
            if tensor.device != device:
                raise self._wrong(
                    f"gets waves on {device}, and answers on {tensor.device}",
                    "make new tensors with device=waves[0].device",
                )
        if not torch.is_grad_enabled() and any(state.requires_grad for state in states):
            raise self._wrong(
                "its hidden states have gradients where these are off", "take enable_grad out"
            )
        return list(states), lengths

    def _check_shapes(self, states: list[Tensor], lengths: Tensor, waves: list[Tensor]) -> None:
        if len(states) != self.layers:
            raise self._wrong(
                f"gives {len(states)} hidden state(s), and says num_layers = {self.layers}",
                "correct the one or the other",
            )
        shapes = list(dict.fromkeys(tuple(state.shape) for state in states))
        if len(shapes) > 1:
            raise self._wrong(
                f"its layers are of shapes {', '.join(map(str, shapes))}", "give all one shape"
            )
        frames = shapes[0][1] if len(shapes[0]) > 1 else 0
        if shapes[0] != (len(waves), frames, self.dim) or len(lengths) != len(waves):
            raise self._wrong(
                f"gives layers of shape {shapes[0]} and {len(lengths)} lengths for {len(waves)} "
                f"waves, and says dim = {self.dim}",
                f"give (B, T, {self.dim}) and one length per wave",
            )
        for wave, length in zip(waves, lengths.tolist(), strict=True):
            expected = len(wave) / self.hop
            if not 1 <= length <= frames or abs(length - expected) > OFF:
                raise self._wrong(
                    f"gives {length} valid frames of {frames} for {len(wave):,} samples, where "
                    f"frame_rate = {self.frame_rate:g} makes {expected:.1f}",
                    "correct the lengths or the rate",
                )

    def _check_values(self, states: list[Tensor], lengths: Tensor) -> None:
        for layer, state in enumerate(states):
            if not state.is_floating_point():
                raise self._wrong(f"layer {layer} is of {state.dtype}", "give float tensors")
            valid = torch.arange(state.shape[1], device=state.device) < lengths[:, None]  # (B, T)
            if not bool(state[valid].isfinite().all()):
                raise self._wrong(f"layer {layer} has NaN or infinity", "correct the encoder")

    def _wrong(self, what: str, remedy: str) -> WrongAnswer:
        return WrongAnswer(f"{self.file}: {what}; {remedy}")


def noises(sizes: Sequence[int], device: torch.device) -> list[Tensor]:
    """Return waveforms of so many samples, always the same."""
    random = torch.Generator().manual_seed(0)
    return [(0.1 * torch.randn(size, generator=random)).to(device) for size in sizes]


def _made(kind: type, file: python_file.PythonFile) -> nn.Module:
    """Return an object of the user's class."""
    if not issubclass(kind, nn.Module):
        raise ValueError(f"{file}: not a torch.nn.Module; derive the class from it")
    needed = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise ValueError(
            f"{file}: needs arguments ({', '.join(needed)}), and is made without any; give these "
            "defaults, such as the path of your weights"
        )
    try:
        return kind()
    except Exception as error:
        raise ValueError(f"{python_file.said(file.path, error)}; correct it") from error


def _claims(model: Any, file: python_file.PythonFile) -> tuple[int, int, int, str]:
    """Return what the class says of itself: layers, dim, samples per frame, name."""
    rate, name = getattr(model, "frame_rate", None), getattr(model, "name", file.name)
    hop = SAMPLE_RATE / rate if isinstance(rate, int | float) and rate > 0 else 0
    if not hop or hop != int(hop):
        raise ValueError(
            f"{file}: frame_rate = {rate!r}; say how many frames come out of a second (a divisor "
            f"of {SAMPLE_RATE:,}), as in frame_rate = 50"
        )
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"{file}: name = {name!r}; give a text, as in name = 'mine'")
    return _count(model, "num_layers", file), _count(model, "dim", file), int(hop), name.strip()


def _count(model: Any, key: str, file: python_file.PythonFile) -> int:
    value = getattr(model, key, None)
    if type(value) is not int or value < 1:
        raise ValueError(f"{file}: {key} = {value!r}; say how many, as in {key} = 12")
    return value


def _many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
