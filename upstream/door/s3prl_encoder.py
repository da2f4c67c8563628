"""An upstream of s3prl's hub as an encoder like any other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import upstream as door
from mt4ssl_core.model.speech_encoder import SpeechEncoder, joined
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.door import packages


class S3prlEncoder(SpeechEncoder):
    """What s3prl calls ``name``; utterances are encoded one by one, as their padding may show.

    Raises:
        ValueError: no such upstream, or its layers differ in size.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model, self.name = door.load(name), name
        self.hop = int(self.model.get_downsample_rates("hidden_states"))
        noise = 0.1 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            states = self._states(noise)
        if len({state.shape for state in states}) > 1:
            raise ValueError(f"{name}: its layers differ in size; score it with superb run -u")
        self.layers, self.dim = len(states), states[0].shape[-1]
        self.eval()

    def encode(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """As `SpeechEncoder.encode`; of each utterance as many frames as s3prl's tasks take."""
        answers = [self._states(wave) for wave in waves]
        frames = [
            max(1, min(round(len(wave) / self.hop), states[0].shape[0]))
            for wave, states in zip(waves, answers, strict=True)
        ]
        return joined(answers), torch.tensor(frames, device=waves[0].device)

    def identity(self) -> str:
        """The name, and the version of s3prl."""
        return f"{self.name} {packages.s3prl()}"

    def _states(self, wave: Tensor) -> list[Tensor]:
        """Return the layers (T, D) of one utterance."""
        found: Any = self.model([wave])["hidden_states"]
        return [state[0] for state in (found if isinstance(found, list | tuple) else [found])]
