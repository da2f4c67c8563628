"""Hidden states of waveforms, each as if it were encoded alone: for files, labels and Python."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.model.speech_encoder import SpeechEncoder

BATCH_SECONDS = 60.0  # of audio that is encoded at once, padding included


def choose(layers: str | Sequence[int], encoder: SpeechEncoder, name: str | Path) -> list[int]:
    """Return the numbers of the wanted layers, or of "all".

    Raises:
        ValueError: one that ``encoder``, which is called ``name``, does not have.
    """
    if isinstance(layers, str) and layers == "all":
        return list(range(encoder.layers))
    wrong = [layer for layer in layers if layer not in range(encoder.layers)]
    if wrong or not layers:
        raise ValueError(
            f"layers {layers}: {name} has layers 0 to {encoder.layers - 1}; choose among these, "
            "or all"
        )
    return [int(layer) for layer in layers]


def batches(samples: Sequence[int], isolated: bool, seconds: float) -> Iterator[list[int]]:
    """Yield the places of utterances to encode together, longest first.

    Of similar length, at most ``seconds`` with padding; longer ones alone, and all of them alone
    where they are not ``isolated``: others in a batch would change their features.
    """
    most = seconds * SAMPLE_RATE if isolated else 0
    batch: list[int] = []
    for place in sorted(range(len(samples)), key=lambda place: -samples[place]):
        if batch and samples[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.no_grad()
def hidden_states(
    encoder: SpeechEncoder, waves: Sequence[np.ndarray], layers: Sequence[int]
) -> list[Tensor]:
    """Return some layers (layers, T, D) of each waveform (N,) at 16 kHz, as it was recorded."""
    given = [torch.from_numpy(wave).to(encoder.device) for wave in waves]
    states, lengths = encoder.encode(given)
    chosen = torch.stack([states[layer] for layer in layers], 1)  # (B, layers, T, D)
    return [row[:, :frames] for row, frames in zip(chosen, lengths.tolist(), strict=True)]


def check_features(features: Tensor, name: str) -> None:
    """Raise ValueError, which begins with ``name``, for features with NaN or infinity."""
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name}: its features contain NaN or infinity; use another checkpoint")
