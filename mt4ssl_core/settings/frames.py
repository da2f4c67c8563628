"""The rate of audio, and which samples a frame covers: for encoders, labels and probes alike."""

from typing import Any

SAMPLE_RATE = 16_000  # Hz, of all audio once it is read
HOP, WINDOW = 320, 400  # samples between two frames, and under one: 20 and 25 ms at 16 kHz


def num_frames(num_samples: Any, hop: int = HOP) -> Any:
    """Return the frames in N samples, of a number, tensor or array: 0 below 400, else
    1 + (N - 400) // 320.

    That is what comes out of every encoder of 50 frames per second: its config is refused
    otherwise. ``hop``: samples from one frame to the next of another one.
    """
    count = (num_samples - WINDOW) // hop + 1
    return count.clip(min=0) if hasattr(count, "clip") else max(count, 0)
