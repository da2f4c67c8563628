"""A fine-tuned model that listens: waveforms in, log probabilities and words out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.hidden_states import BATCH_SECONDS, batches
from mt4ssl_core.labelling.utterances import U, read_ahead, within_memory
from mt4ssl_core.model.ctc import CTCModel
from mt4ssl_core.recognition.long_audio import LONGEST, pieces
from mt4ssl_core.recognition.search_request import Search, SearchRequest, search_through
from mt4ssl_core.search.hypothesis import Hypothesis
from mt4ssl_core.settings.labelling_defaults import DEVICE

MOST = 0.5  # of the words: text with so many errors cannot be read


class Recogniser:
    """A model with its search.

    Attributes:
        model: the fine-tuned model, in eval mode.
        vocabulary: its tokens.
        frame_seconds: from one frame to the next.
        source: where it was loaded from.
    """

    def __init__(self, model: CTCModel, search: Search, source: str) -> None:
        self.model, self.search, self.source = model.eval(), search, source
        self.vocabulary = model.vocabulary
        self.frame_seconds = model.encoder.hop / SAMPLE_RATE

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        request: SearchRequest | None = None,
        device: str = DEVICE,
        dictionary: str | Path | None = None,
    ) -> "Recogniser":
        """Load a fine-tuned model: ours, fairseq's, or a folder or name of Hugging Face's.

        Args:
            checkpoint: what `mt4ssl_core.checkpoints.recognisers.load_ctc` takes.
            request: how to search; None: greedy.
            device: "auto" is the GPU if there is one.
            dictionary: of a fairseq model that has none beside it.

        Raises:
            ValueError: as of `load_ctc`, or a language model or lexicon that cannot be used.
        """
        place = choose_device(device)
        path = hub_models.local(user_path(str(checkpoint)))
        model = load_ctc(path, None if dictionary is None else user_path(dictionary))
        search = (request or SearchRequest()).searcher(model.vocabulary)
        return cls(model.to(place), search, str(path))

    @property
    def doubt(self) -> str:
        """What to expect of a model that had most words wrong in its fine-tuning; else nothing."""
        rate = self.model.held_out_wer
        if rate is None or rate < MOST:
            return ""
        return (
            f"{self.source}: its word error rate was {rate:.0%} at best, on the speech held out of "
            "its fine-tuning, so expect fragments; fine-tune on more transcribed speech, or an "
            "encoder that heard more, or give --lm"
        )

    @torch.no_grad()
    def log_probs(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return log probabilities (T, V), float32, of waveforms (N,) at 16 kHz, as recorded.

        One that is longer than `LONGEST` is encoded in pieces.
        """
        if max(map(len, waves)) > LONGEST * SAMPLE_RATE:
            return [self._in_pieces(wave) for wave in waves]
        return self._together(waves)

    def _in_pieces(self, wave: np.ndarray) -> np.ndarray:
        hop = self.model.encoder.hop
        return np.concatenate(
            [
                self._together([wave[piece.first : piece.last]])[0][piece.kept(hop)]
                for piece in pieces(wave, hop)
            ]
        )

    def _together(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
        encoder = self.model.encoder
        given = [encoder.prepare(torch.from_numpy(wave).to(encoder.device)) for wave in waves]
        sizes = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(given, batch_first=True)  # (B, N)
        logits, lengths = self.model(padded, sizes)
        found: Tensor = logits.float().log_softmax(-1).cpu()  # (B, T, V)
        if not bool(found.isfinite().all()):
            raise ValueError(
                f"{self.source}: gives NaN or infinite probabilities; use another checkpoint"
            )
        return [row[:frames].numpy() for row, frames in zip(found, lengths.tolist(), strict=True)]

    def hypotheses(self, log_probs: np.ndarray) -> list[Hypothesis]:
        """Return what was said according to log probabilities (T, V), the best first."""
        return search_through(self.search, log_probs, self.vocabulary, self.frame_seconds)

    def emissions(
        self, utterances: Sequence[U], strict: bool, bar: AudioBar
    ) -> Iterator[tuple[U, np.ndarray]]:
        """Yield utterances with their log probabilities (T, V), long ones first.

        Those that cannot be read are named and left out; ValueError with ``strict``.
        """
        samples = [utterance.samples for utterance in utterances]
        places = batches(samples, self.model.encoder.isolated, BATCH_SECONDS)
        together = ([utterances[place] for place in batch] for batch in places)
        encode: Callable[[Sequence[np.ndarray]], list[np.ndarray]] = self.log_probs
        for batch, waves in read_ahead(together, strict, bar):
            yield from within_memory(encode, batch, waves, strict, bar)
