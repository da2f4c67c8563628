"""The front end of log-mel frames, in place of the convolutions: nothing in it is learned.

As in Fast-HuBERT (arXiv 2309.13860), MelHuBERT (2211.09944) and BEST-RQ (2202.01855).
"""

import torch
from torch import Tensor, nn

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.mfcc import log_mel
from mt4ssl_core.model.padding import moments
from mt4ssl_core.settings.frames import WINDOW

MELS = 80
STEP = 160  # samples between two log-mel frames: 10 ms
CENTRE, SPREAD = -1.0, 4.0  # of log-mel of speech of unit variance, over all bands


class MelFrames(nn.Module):
    """Log-mel energies of 80 bands every 10 ms, several stacked: (B, N) -> (B, T, 80 * stack).

    Frame t holds the energies ``stack * t`` to ``stack * t + stack - 1``, so with 2 it begins at
    the sample where frame t of the convolutions does. Energies that an utterance is too short for
    are its last one again: padding never reaches a real frame, alone and in a batch.
    """

    def __init__(self, cfg: EncoderConfig):
        super().__init__()
        self.stack, self.norm = cfg.mel_stack, cfg.mel_norm
        self.channels, self.hop = MELS * cfg.mel_stack, STEP * cfg.mel_stack

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """(B, N) and (B,) samples -> (B, T, C)."""
        mels = log_mel(waves, MELS, STEP)  # (B, T', 80)
        valid = ((lengths - WINDOW) // STEP + 1).to(waves.device, non_blocking=True)
        if self.norm == "utterance":
            mean, var = moments(mels, valid)
            mels = (mels - mean) * torch.rsqrt(var + 1e-5)
        else:
            mels = (mels - CENTRE) / SPREAD
        frames = (waves.shape[1] - WINDOW) // self.hop + 1  # T
        places = torch.arange(frames * self.stack, device=waves.device)
        places = places.minimum(valid[:, None] - 1)[..., None]  # (B, T * stack, 1)
        return mels.take_along_dim(places, 1).reshape(len(waves), frames, self.channels)
