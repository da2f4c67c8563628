"""Log-mel and MFCC features, one frame per encoder frame, in plain torch.

The arithmetic is Kaldi's (25 ms Povey windows, snipped edges, mean removal, pre-emphasis 0.97,
power spectrum over 512 points, mel triangles from 20 Hz to 8 kHz, log, cosine transform, lifter
22), which HuBERT's labels are made of. Frame i covers samples [320 i, 320 i + 400), exactly as
the encoder's, and N samples give ``num_frames(N)`` frames in both.

Deltas are taken over neighbours 10 ms apart (the grid of HuBERT's recipe), and then every second
frame is kept: its frame 2i is our frame i, so our labels see the same features as that recipe's.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mt4ssl_core.config import HOP, SAMPLE_RATE, WINDOW

FFT = 512  # samples
_MEL_LOW = 20.0  # Hz
_CEPSTRA, _MFCC_MELS, _LIFTER = 13, 23, 22
_BLOCK = 256  # frames worked on at once on a CPU: they stay in its cache (twice as fast as all)


def log_mel(waves: Tensor, num_mels: int = 80, hop: int = HOP) -> Tensor:
    """Return log mel energies: (B, N) or (N,) float samples -> (B, T, M) or (T, M), one per ``hop``
    samples; 50 Hz by default.

    Every frame is a function of its own 400 samples, so zeros behind an utterance in a batch change
    none of its frames. ValueError below 400 samples.
    """
    if waves.shape[-1] < WINDOW:
        raise ValueError(
            f"{waves.shape[-1]} samples are less than one frame of {WINDOW}; leave such audio out"
        )
    frames = waves.float().unfold(-1, WINDOW, hop)  # (..., T, 400), a view
    window, bank = _window(waves.device), _mel_bank(num_mels, waves.device)
    batch = waves.numel() // waves.shape[-1]
    block = max(1, _BLOCK // max(1, batch)) if waves.device.type == "cpu" else frames.shape[-2]
    with torch.no_grad(), torch.autocast(waves.device.type, enabled=False):
        blocks = [_frame_log_mel(b, window, bank) for b in frames.split(block, dim=-2)]
        return torch.cat(blocks, dim=-2)


@torch.no_grad()
def mfcc(wave: Tensor) -> Tensor:
    """Return 13 cepstra, deltas and delta-deltas at 50 Hz: (N,) samples at 16 kHz -> (T, 39).

    Samples lie in [-1, 1] (not normalised). ValueError below 400 samples.
    """
    mels = log_mel(wave, _MFCC_MELS, HOP // 2)  # (T100, 23), 10 ms apart
    cepstra = mels @ _cosine_transform(mels.device)  # (T100, 13)
    deltas = _deltas(cepstra)
    every = torch.cat([cepstra, deltas, _deltas(deltas)], dim=1)  # (T100, 39)
    return every[::2].contiguous()  # (T, 39), 20 ms apart


def _frame_log_mel(frames: Tensor, window: Tensor, bank: Tensor) -> Tensor:
    """Map windows of samples (..., T, 400) to log mel energies (..., T, M)."""
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat(
        [frames[..., :1], frames[..., :-1]], dim=-1
    )  # the first sample precedes itself
    frames = (frames - 0.97 * before) * window
    power = torch.fft.rfft(frames, n=FFT).abs().square()  # (..., T, 257)
    return (power @ bank).clamp_min(torch.finfo(torch.float32).eps).log()


def _deltas(features: Tensor) -> Tensor:
    """Return the slope of each dimension over 5 frames, edges repeated: (T, D) -> (T, D)."""
    padded = F.pad(features.T, (2, 2), mode="replicate").T  # (T + 4, D)
    near, far = padded[3:-1] - padded[1:-3], padded[4:] - padded[:-4]
    return (near + 2 * far) / 10


@lru_cache
def _window(device: torch.device) -> Tensor:
    """Povey's window, (400,): a Hann window to the power 0.85."""
    return torch.hann_window(WINDOW, periodic=False).pow(0.85).to(device)


@lru_cache
def _mel_bank(num_mels: int, device: torch.device) -> Tensor:
    """Triangles evenly spaced in mel from 20 Hz to 8 kHz, (257, M); none reaches 8 kHz."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    low, high = mel(torch.tensor([_MEL_LOW, SAMPLE_RATE / 2], dtype=torch.float64))
    edges = low + (high - low) * torch.arange(num_mels + 2) / (num_mels + 1)
    bins = mel(torch.arange(FFT // 2, dtype=torch.float64) * SAMPLE_RATE / FFT)[:, None]  # (256, 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp_min(0)  # (256, M)
    return F.pad(bank, (0, 0, 0, 1)).float().to(device)


@lru_cache
def _cosine_transform(device: torch.device) -> Tensor:
    """Orthonormal cosine transform of 23 mels with the lifter's weights folded in, (23, 13)."""
    k = torch.arange(_CEPSTRA, dtype=torch.float64)
    phase = (torch.arange(_MFCC_MELS, dtype=torch.float64) + 0.5)[:, None] * k  # (23, 13)
    transform = torch.cos(math.pi / _MFCC_MELS * phase) * math.sqrt(2 / _MFCC_MELS)
    transform[:, 0] = math.sqrt(1 / _MFCC_MELS)
    lifter = 1 + _LIFTER / 2 * torch.sin(math.pi * k / _LIFTER)
    return (transform * lifter).float().to(device)
