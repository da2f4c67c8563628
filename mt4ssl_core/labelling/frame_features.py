"""Features of every utterance of a corpus, in order: files are read ahead by a few threads."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint, encoder_fingerprint
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.config import HOP, SAMPLE_RATE
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.audio_bar import AudioBar, ahead
from mt4ssl_core.data.manifest import Manifest, open_manifest
from mt4ssl_core.data.mfcc import mfcc
from mt4ssl_core.labelling.hidden_states import check_features, choose, hidden_states
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.settings.labelling_defaults import MIN_SECONDS
from mt4ssl_core.store.store import FRAMES, FeatureKind, FeatureStore, content_key
from mt4ssl_core.threads import cores

ALLOW = "mend the files named, or allow more with --max-skipped"
COUNTING = "Hugging Face's: 0 is the input of the first transformer layer"  # of LAYER in ckpt:
Features = Callable[[np.ndarray], Tensor]  # float32 samples (N,) at 16 kHz -> (T, D), 50 Hz


@dataclass
class FeatureSource:
    """A named feature function and the fingerprint of what it computes with."""

    name: str
    function: Features
    threaded: bool = False  # cheap enough to run beside the reading of files
    sha256: str = ""

    @classmethod
    def of(
        cls,
        features: str | Features,
        device: str | torch.device = "cpu",
        store: FeatureStore | None = None,
    ) -> "FeatureSource":
        """Resolve "mfcc", "ckpt:PATH:LAYER" or a callable. ValueError: any other string.

        ``store`` keeps the hidden states of a checkpoint, and nothing else.
        """
        if not isinstance(features, str):
            return cls("callable", features)
        if features == "mfcc":
            return cls("mfcc", lambda wave: mfcc(torch.from_numpy(wave)), True)
        kind, _, rest = features.partition(":")
        path, _, layer = rest.rpartition(":")
        if kind != "ckpt" or not path or not layer.isdecimal():
            raise ValueError(
                f"features {features!r}: expected 'mfcc' or 'ckpt:PATH:LAYER', such as "
                "'ckpt:runs/first/best.pt:6'; correct it"
            )
        path = str(hub_models.local(path))
        function = encoder_features(path, int(layer), device, store)
        features = f"ckpt:{path}:{layer}"
        return cls(resolved(features), function, False, checkpoint_fingerprint(path))

    def check(self, frames: Tensor, num_samples: int, id: str) -> None:
        """Raise ValueError unless features are finite, (T, D), with T as the encoder counts."""
        expected = num_frames(num_samples)
        if frames.dim() != 2 or len(frames) != expected:
            raise ValueError(
                f"{id}: features of shape {tuple(frames.shape)} for {num_samples} samples, "
                f"expected ({expected}, D); use features of 50 frames per second"
            )
        check_features(frames, f"{id}: {self.name}")


def encoder_features(
    path: str | Path,
    layer: int,
    device: str | torch.device = "cpu",
    store: FeatureStore | None = None,
    precision: str = "fp32",
) -> Features:
    """Return a function to the hidden states of a layer (0 = its input .. last) of a checkpoint.

    With ``store``, what is there in ``precision`` is not computed again, and the rest is added.
    """
    from mt4ssl_core.checkpoints.convert import load_encoder

    encoder = load_encoder(path).to(device).eval()
    choose([layer], encoder, path)

    def features(wave: np.ndarray) -> Tensor:
        return _counted(encoder, hidden_states(encoder, [wave], [layer])[0][0], len(wave))

    return features if store is None else _stored(encoder, layer, store, precision)


def resolved(features: str) -> str:
    """Return "mfcc" or "ckpt:PATH:LAYER" so that it is found from any folder."""
    path, _, layer = features.removeprefix("ckpt:").rpartition(":")
    return f"ckpt:{Path(path).resolve()}:{layer}" if path else features


def listed(source: str | Path, min_seconds: float, strict: bool, max_skipped: float) -> Manifest:
    """Return the corpus ``source``, as `open_manifest` does; no utterance is too short to label."""
    shortest = max(min_seconds, MIN_SECONDS)
    return open_manifest(source, min_seconds=shortest, strict=strict, max_skipped=max_skipped)


def layer_store(
    folder: str | Path | None, gigabytes: float | None, features: str | Features
) -> FeatureStore | None:
    """Open the store of hidden states in ``folder``, if one is given.

    Raises ValueError: these ``features`` are no hidden states.
    """
    if folder is None:
        return None
    if not isinstance(features, str) or not features.startswith("ckpt:"):
        raise ValueError(
            f"store {folder}: it keeps the hidden states of ckpt:PATH:LAYER, and these features "
            "are others; leave it out"
        )
    return FeatureStore(folder, gigabytes)


def counting(features: str) -> dict[str, str]:
    """How the layer of ckpt:PATH:LAYER is counted, for whoever compares labels with others'."""
    return {"layers_counted_as": COUNTING} if features.startswith("ckpt:") else {}


def _counted(encoder: SpeechEncoder, frames: Tensor, samples: int) -> Tensor:
    """As many frames as labels have: of an encoder of other frames those that begin at the same
    sample or last before; one of 50 per second may give some more or fewer.
    """
    places = torch.arange(num_frames(samples), device=frames.device) * HOP // encoder.hop
    return frames[places.clamp(max=len(frames) - 1)]


def of_user(features: str) -> None:
    """Let the Python file run that a user names with ckpt:FILE.py:CLASS:LAYER."""
    if features.startswith("ckpt:"):
        python_file.of_user(features.removeprefix("ckpt:").rpartition(":")[0])


def _stored(encoder: SpeechEncoder, layer: int, store: FeatureStore, precision: str) -> Features:
    """Return a function that looks the hidden states of a layer up before it computes them.

    They are those that SUPERB's tasks store, to the last digit: with as many frames as s3prl
    counts, up to one more than the encoder's, the last one again.
    """
    name, device = encoder_fingerprint(encoder), encoder.device
    alone = FeatureKind("mt4ssl", name, "hidden_states", FRAMES, (layer,), False, precision)
    own, whole = store.space(alone), store.space(replace(alone, layers=None))

    def features(wave: np.ndarray) -> Tensor:
        key = content_key(wave)
        for space, row in ((own, 0), (whole, layer)):
            if (found := space.get(key)) is not None:
                return _counted(encoder, found[row].float().to(device), len(wave))
        computed = hidden_states(encoder, [wave], [layer])[0][0]  # (T, D)
        missing = max(round(len(wave) / encoder.hop) - len(computed), 0)
        padded = torch.cat([computed, computed[-1:].expand(missing, -1)])[None]
        own.put(key, padded)
        return _counted(encoder, own.roundtrip(padded)[0].to(device), len(wave))

    return features


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a GPU, is short."""
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return short or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def stream(
    cuts: Iterable, source: FeatureSource, workers: int | None, strict: bool, bar: AudioBar
) -> Generator[tuple[Any, np.ndarray, Tensor], None, None]:
    """Yield (cut, samples (N,), features (T, D)) in order; ``bar.skip`` gets what fails.

    ``workers`` threads (default: one per core) read and resample, and compute MFCC; an encoder runs
    in the calling thread. Only a few utterances per thread are in memory. ValueError: with
    ``strict`` the first file that cannot be read; always features that :class:`FeatureSource`
    refuses.
    """

    def work(cut: Any) -> tuple[np.ndarray, Tensor | None]:
        wave = load_wave(cut)
        if num_frames(len(wave)) == 0:
            raise ValueError(f"{cut.id}: {len(wave)} samples are less than one frame; leave it out")
        return wave, _features(source, wave, cut.id) if source.threaded else None

    for cut, future in ahead(cuts, work, workers or cores(), source.threaded):
        try:
            wave, frames = future.result()
            if frames is None:
                frames = _features(source, wave, cut.id)
        except ValueError as error:
            if strict or isinstance(error, WrongFeatures):
                raise
            bar.skip(cut.id, str(error))
            continue
        source.check(frames, len(wave), cut.id)
        yield cut, wave, frames


class WrongFeatures(ValueError):
    """It is the feature function that is at fault, not the file."""


def _features(source: FeatureSource, wave: np.ndarray, id: str) -> Tensor:
    """Return the features (T, D) of samples (N,).

    Raises ValueError when the memory is too short for them.
    """
    try:
        return source.function(wave)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        seconds = len(wave) / SAMPLE_RATE
        raise ValueError(f"{id}: out of memory over {seconds:.0f} s; cut it into pieces") from None
    except ValueError as error:
        raise WrongFeatures(str(error)) from error
