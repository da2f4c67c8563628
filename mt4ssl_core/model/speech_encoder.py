"""What a frozen encoder of any kind is to its listeners: waveforms in, hidden states out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mt4ssl_core.settings.frames import HOP, SAMPLE_RATE


class SpeechEncoder(nn.Module):
    """An encoder of any kind. Shapes: B utterances, T frames, D = ``dim``.

    Attributes:
        layers: how many hidden states it gives. They are counted as Hugging Face does: 0 is the
            input of the first transformer layer, ``layers - 1`` the output of the last one.
        dim: the size of each.
        hop: samples at 16 kHz from one frame to the next.
        name: what it calls itself; "" where only the path of its checkpoint tells.
        isolated: whether an utterance comes out of a padded batch as it comes out alone.
    """

    layers: int
    dim: int
    hop: int = HOP
    name: str = ""
    isolated: bool = True

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return SAMPLE_RATE / self.hop

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        return next((value.device for value in self.parameters()), torch.device("cpu"))

    def encode(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode B waveforms (N,), float32 at 16 kHz as they were recorded, on its device.

        Returns ``layers`` tensors (B, T, D), and how many frames of each utterance are valid (B,):
        one at least; these are on any device.
        """
        raise NotImplementedError

    def identity(self) -> str:
        """Return what its features depend on beside its weights, as text."""
        raise NotImplementedError


def joined(utterances: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Put utterances that were encoded apart, each in layers (T, D), into one batch: layers
    (B, T, D), padded with zeros.
    """
    layers = zip(*utterances, strict=True)
    return [nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in layers]
