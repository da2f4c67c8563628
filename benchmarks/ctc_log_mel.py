"""Log-mel frames in place of an encoder, with a head of the same size: a start of `ctc_real.py`."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ctc_starts import BATCH_SECONDS
from mt4ssl_core.bars import Bar
from mt4ssl_core.config import SAMPLE_RATE, EncoderConfig
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import atomic_path
from mt4ssl_core.model.ctc import ctc_losses
from mt4ssl_core.model.mel_frames import MelFrames
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.recognition.references import Spoken, read_references
from mt4ssl_core.recognition.search_request import SearchRequest
from mt4ssl_core.recognition.word_scores import total, word_errors
from mt4ssl_core.settings.finetuning import FinetuneConfig, TextConfig


class LogMelModel(nn.Module):
    """Log-mel frames, normalised by utterance, a layer of the encoder's width, and the head."""

    def __init__(self, dim: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.frames = MelFrames(EncoderConfig(frontend="mel", mel_norm="utterance"))
        self.projection = nn.Linear(self.frames.channels, dim)
        self.head = nn.Linear(dim, len(vocabulary))
        self.encoder = SimpleNamespace(
            hop=self.frames.hop,
            isolated=True,
            device=torch.device("cpu"),
            prepare=lambda wave: wave,
        )

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) and (B,) samples -> logits (B, T, V) and (B,) frames."""
        hidden = self.projection(self.frames(waves, lengths)).relu()
        return self.head(hidden), (lengths - 400) // self.frames.hop + 1


def log_mel(cfg: FinetuneConfig, dim: int) -> Recogniser:
    """Train such a model on the batches of ``cfg``, and keep the best on held-out speakers.

    dim: the width of the layer before the head. Of the settings only seed, rate and updates count.
    """
    out, updates, train = Path(cfg.run.out), cfg.optim.max_updates, Path(cfg.data.train)
    with open(train, newline="", encoding="utf-8") as file:
        vocabulary = Vocabulary.from_transcripts(row["text"] for row in csv.DictReader(file))
    torch.manual_seed(cfg.run.seed)
    model = LogMelModel(dim, vocabulary)
    path, so_far = out / "best.pt", out / "unfinished.pt"
    if not path.exists():
        spoken, _ = read_references(train, None, TextConfig(), vocabulary)
        waves = [load_wave(one.source) for one in spoken]
        optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optim.lr)
        best = np.inf
        drawn_batches = Bar("log-mel", updates).over(batches(spoken, cfg.run.seed, updates))
        for update, places in enumerate(drawn_batches):
            loss = _loss(model, [waves[p] for p in places], [spoken[p].text for p in places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (update + 1) % max(1, updates // 10) == 0:
                wer = _scored(listening(model, path), Path(str(cfg.data.valid)))
                if wer < best:
                    best = wer
                    with atomic_path(so_far) as temporary:
                        torch.save(model.state_dict(), temporary)
        os.replace(so_far, path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return listening(model, path)


def batches(spoken: Sequence[Spoken], seed: int, updates: int) -> Iterator[list[int]]:
    """Yield places of utterances that have `BATCH_SECONDS` together, drawn without replacement."""
    rng, queue = np.random.default_rng(seed), list[int]()
    for _ in range(updates):
        batch: list[int] = []
        while sum(spoken[place].samples for place in batch) < BATCH_SECONDS * SAMPLE_RATE:
            queue = queue or rng.permutation(len(spoken)).tolist()
            batch.append(queue.pop())
        yield batch


def _loss(model: LogMelModel, waves: Sequence[np.ndarray], texts: Sequence[str]) -> Tensor:
    pad = torch.nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = pad([torch.from_numpy(wave) for wave in waves], batch_first=True)
    ids = [torch.tensor(model.vocabulary.encode(text)) for text in texts]
    sizes = torch.tensor([len(one) for one in ids])
    logits, frames = model(padded, lengths)
    blank = model.vocabulary.blank
    return ctc_losses(logits, frames, pad(ids, batch_first=True), sizes, blank).mean()


def listening(model: Any, path: Path, request: SearchRequest | None = None) -> Recogniser:
    """What searches with ``model``, greedily if nothing else is asked for; ``path`` is its name."""
    search = (request or SearchRequest()).searcher(model.vocabulary)
    return Recogniser(model, search, str(path))


def _scored(recogniser: Recogniser, data: Path) -> float:
    """The greedy word error rate."""
    recogniser.model.eval()
    spoken, _ = read_references(data, None, TextConfig(), recogniser.vocabulary)
    heard = (recogniser.log_probs([load_wave(one.source)])[0] for one in spoken)
    errors = [
        word_errors(one.text, recogniser.hypotheses(log_probs)[0].text)
        for one, log_probs in zip(spoken, heard, strict=True)
    ]
    recogniser.model.train()
    return total(errors).rate
