"""A trained head in one object: what it says of audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from mt4ssl.audio import Audio, is_one, waves_of
from mt4ssl_core.labelling.hidden_states import BATCH_SECONDS, batches
from mt4ssl_core.settings.labelling_defaults import DEVICE
from upstream.trained.answers import Prediction
from upstream.trained.trained_head import TrainedHead


class Head:
    """A trained head of SUPERB with its encoder, in eval mode.

    Attributes:
        task: its code, such as "ks".
        labels: what it chooses ("label"; the slots of an intent; "symbol" of text) -> the names.
        source: its checkpoint.
        encoder: that of its encoder; None of such as fbank.
    """

    def __init__(self, trained: TrainedHead) -> None:
        self._trained = trained
        self.task, self.labels = trained.task, trained.labels
        self.source, self.encoder = str(trained.path), trained.ckpt

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is a sequence of texts
        self, audio: Audio, *, top: int = ..., rate: float | None = ...,
        batch_seconds: float = ...,
    ) -> Prediction: ...  # fmt: skip
    @overload
    def predict(
        self, audio: Sequence[Audio], *, top: int = ..., rate: float | None = ...,
        batch_seconds: float = ...,
    ) -> list[Prediction]: ...  # fmt: skip
    def predict(
        self,
        audio: Any,
        *,
        top: int = 1,
        rate: float | None = None,
        batch_seconds: float = BATCH_SECONDS,
    ) -> Any:
        """Return what the head says of an utterance, or of each of a list, as in its test.

        Args:
            audio: as of `mt4ssl.Encoder.features`.
            top: how many labels; a `Prediction` has the best one, and ``others``.
            rate: of samples that come without one, in Hz.
            batch_seconds: of audio, padding included, that is encoded at once.

        Raises:
            ValueError: audio that cannot be used, or that is too short for this head; ``top`` of
                a head that gives text.
        """
        self._trained.check_top(top)
        waves = waves_of([audio] if is_one(audio) else audio, rate)
        found: dict[int, Prediction] = {}
        lengths = [len(wave) for _, wave in waves]
        for batch in batches(lengths, self._trained.isolated, batch_seconds):
            features = self._trained.features([waves[place][1] for place in batch])
            for place, row in zip(batch, features, strict=True):
                try:
                    found[place] = self._trained.read(row, top)
                except ValueError as error:
                    raise ValueError(f"{waves[place][0]}: {error}") from error
        ordered = [found[place] for place in range(len(waves))]
        return ordered[0] if is_one(audio) else ordered

    def __repr__(self) -> str:
        return f"Head({self.task!r}, source={self.source!r}, encoder={self.encoder!r})"


def load_head(
    source: str | Path,
    encoder: str | Path | None = None,
    *,
    root: str | Path | None = None,
    device: str = DEVICE,
) -> Head:
    """Load a head of KS, SID, IC, ER, PR, ASR or SF, and its encoder.

    Args:
        source: the folder of its experiment (then the best head), or a checkpoint in it.
        encoder: the checkpoint that it was trained on; None: where the head says that it was.
        root: the folder of its corpus, for a head that does not say what its outputs are called.
        device: "auto" (the GPU if there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: no such head, or one of another task; its encoder is not there, or another one.
    """
    ckpt = None if encoder is None else str(encoder)
    return Head(TrainedHead(source, ckpt=ckpt, root=root, device=device))
