"""Models with a CTC head for tests: one that is drawn, and one that hears pitch."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.model.ctc import CTCModel
from mt4ssl_core.model.encoder import Encoder

HOP, WINDOW = 320, 400
CONV = [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2
LETTERS = Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "|", "A", "B", "C"))


def drawn(seed=0, vocabulary=LETTERS):
    """A small model with random weights."""
    torch.manual_seed(seed)
    settings = EncoderConfig(conv_layers=CONV, dim=32, layers=2, heads=4, ffn_dim=64)
    return CTCModel(Encoder(settings), vocabulary).eval()


def saved(path, model=None, **changes):
    """Write it as a checkpoint of ours, with ``changes``; returns the path as text."""
    model = model or drawn()
    state = {
        "config": {"encoder": config.to_dict(model.encoder.cfg)},
        "encoder": model.encoder.state_dict(),
        "targets": {"ctc": {f"head.{k}": v for k, v in model.head.state_dict().items()}},
        "optimizer": None,
        "scaler": None,
        "progress": {"update": 1, "epoch": 0, "batches": 1, "best": None},
        "vocabulary": model.vocabulary.to_dict(),
    }
    checkpoint.save(path, state | changes)
    return str(path)


class PitchModel(nn.Module):
    """Hears letters: a frame says the token whose tone is loudest in it, the blank in silence."""

    TONES = (("A", 500.0), ("B", 900.0), ("C", 1400.0), ("|", 2000.0))

    def __init__(self, vocabulary=LETTERS):
        super().__init__()
        self.vocabulary = vocabulary
        self.encoder = SimpleNamespace(
            hop=HOP, isolated=True, device=torch.device("cpu"), prepare=lambda wave: wave
        )

    def forward(self, waves, lengths):
        frames = waves.unfold(1, WINDOW, HOP)  # (B, T, WINDOW)
        time = torch.arange(WINDOW) / 16_000
        logits = torch.zeros(*frames.shape[:2], len(self.vocabulary))
        logits[..., self.vocabulary.blank] = 3.0
        for token, tone in self.TONES:
            wave = torch.exp(2j * torch.pi * tone * time)
            power = (frames.to(wave.dtype) @ wave).abs() / WINDOW
            logits[..., self.vocabulary.tokens.index(token)] = 100 * power
        return logits, (lengths - WINDOW) // HOP + 1


def spoken(text, letter=0.12, gap=0.04):
    """The waveform in which `PitchModel` hears a text; ``|`` after each word is a tone as well."""
    parts = []
    time = np.arange(round(letter * 16_000)) / 16_000
    for word in text.split():
        for token in (*word, "|"):
            tone = dict(PitchModel.TONES)[token]
            parts += [np.sin(2 * np.pi * tone * time), np.zeros(round(gap * 16_000))]
    return (0.5 * np.concatenate(parts)).astype(np.float32)
