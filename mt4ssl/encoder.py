"""An encoder in one object: what it is, and the hidden states that it gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from torch import Tensor

from mt4ssl.audio import Audio, is_one, waves_of
from mt4ssl_core import shipped
from mt4ssl_core.checkpoints import convert, python_file
from mt4ssl_core.checkpoints.fingerprints import encoder_fingerprint
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.checkpoints.foreign.export import push as pushing
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling.hidden_states import (
    BATCH_SECONDS,
    batches,
    check_features,
    choose,
    hidden_states,
)
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings import labelling_defaults as labelling
from upstream.door import hub


class Encoder:
    """A frozen speech encoder, in eval mode.

    Attributes:
        layers: how many hidden states it gives: 13 of a BASE model. They are counted as Hugging
            Face does: 0 is the input of the first transformer layer, ``layers - 1`` the output of
            the last.
        dim: the size of each.
        frame_rate: frames per second.
        name: what it is called.
        params: how many parameters it has.
        source: where it was loaded from.
        module: the PyTorch module itself.
    """

    def __init__(self, module: SpeechEncoder, source: str) -> None:
        self.module, self.source = module.eval(), source
        self._loaded = self.fingerprint()
        self.layers, self.dim, self.frame_rate = module.layers, module.dim, module.frame_rate
        known = module.name or shipped.name_of(source) or hub_models.origin(source)
        self.name = known or "/".join(Path(source).parts[-2:])
        self.params = sum(parameter.numel() for parameter in module.parameters())

    @classmethod
    def from_pretrained(cls, source: str | Path, device: str = labelling.DEVICE) -> "Encoder":
        """Load an encoder; see `load`."""
        place = choose_device(device)
        if source in hub.defined() and not Path(source).exists():
            from upstream.door.s3prl_encoder import S3prlEncoder  # imports s3prl

            return cls(S3prlEncoder(str(source)).to(place), str(source))
        path = hub_models.local(python_file.of_user(str(source))).absolute()
        return cls(convert.load_encoder(path).to(place), str(path))

    @overload
    def features(  # type: ignore[overload-overlap]  # a text is a sequence of texts
        self, audio: Audio, layers: str | int | Sequence[int] = ..., *,
        rate: float | None = ..., batch_seconds: float = ...,
    ) -> Tensor: ...  # fmt: skip
    @overload
    def features(
        self, audio: Sequence[Audio], layers: str | int | Sequence[int] = ..., *,
        rate: float | None = ..., batch_seconds: float = ...,
    ) -> list[Tensor]: ...  # fmt: skip
    def features(
        self,
        audio: Any,
        layers: str | int | Sequence[int] = "all",
        *,
        rate: float | None = None,
        batch_seconds: float = BATCH_SECONDS,
    ) -> Any:
        """Return the hidden states of an utterance, or of each of a list, as float32 on the CPU.

        Audio is brought to what the encoder expects: mixed down, resampled to 16 kHz, normalised if
        it wants that. What `mt4ssl extract` writes is the same.

        Args:
            audio: a file; samples (N,) or with channels, as an array or tensor, with ``rate``; a
                pair (samples, rate), as soundfile and torchaudio give it; or a list of these.
            layers: "all", their numbers, or one number.
            rate: of samples that come without one, in Hz.
            batch_seconds: of audio, padding included, that is encoded at once. An utterance has the
                same features alone and in any batch.

        Returns:
            Of each utterance (layers, frames, dim); of one layer given as a number (frames, dim).

        Raises:
            ValueError: no such layer, audio that cannot be used, or features with NaN.
        """
        single = isinstance(layers, int)
        chosen = choose([layers] if isinstance(layers, int) else layers, self.module, self.source)
        waves = waves_of([audio] if is_one(audio) else audio, rate)
        found: dict[int, Tensor] = {}
        for batch in batches([len(wave) for _, wave in waves], self.module.isolated, batch_seconds):
            states = hidden_states(self.module, [waves[place][1] for place in batch], chosen)
            for place, features in zip(batch, states, strict=True):
                check_features(features, waves[place][0])
                found[place] = features[0] if single else features
        ordered = [found[place].cpu().contiguous() for place in range(len(waves))]
        return ordered[0] if is_one(audio) else ordered

    def to(self, device: str) -> "Encoder":
        """Move it to "cpu", "cuda" or "cuda:N"; returns it."""
        self.module.to(choose_device(device))
        return self

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of all that its features depend on."""
        return encoder_fingerprint(self.module)

    def check_unchanged(self) -> None:
        """Raise ValueError where its weights are no longer those of its source."""
        if self.fingerprint() != self._loaded:
            raise ValueError(
                f"{self.source}: its weights have changed since it was loaded; write them with "
                "save_pretrained, and load that folder"
            )

    def save_pretrained(
        self, folder: str | Path, push: str | None = None, *, private: bool = True
    ) -> Path:
        """Write it as a Hugging Face folder, as `mt4ssl export` does; returns the folder.

        Args:
            folder: what is written.
            push: upload that to Hugging Face's hub as ORG/NAME, with the token of
                ``hf auth login`` or $HF_TOKEN.
            private: whether a model that is new there is for nobody else to see.

        Raises:
            ValueError: Hugging Face has no such model, the folder holds something else, or it
                cannot be pushed (the folder stays, then).
        """
        if push is not None:
            pushing.check(push)
        about = Card(name=push)
        written = convert.export_encoder(self.module, user_path(folder), self.source, about)
        if push is not None:
            pushing.push(written, push, private)
        return written

    def __repr__(self) -> str:
        return (
            f"Encoder({self.name!r}, layers={self.layers}, dim={self.dim}, "
            f"frame_rate={self.frame_rate:g}, params={self.params:,})"
        )


def load(source: str | Path, device: str = labelling.DEVICE) -> Encoder:
    """Load an encoder: a checkpoint of ours or fairseq's, a folder or name of Hugging Face's hub,
    "mt4ssl-small" where the package comes with it, FILE.py:CLASS, or a name on s3prl's hub, such
    as "fbank".

    Nothing that is inside a checkpoint is executed; a Python file is. By default it goes to the GPU
    if there is one.

    Raises:
        ValueError: no checkpoint there, or one that cannot be read; no such device.
    """
    return Encoder.from_pretrained(source, device)
