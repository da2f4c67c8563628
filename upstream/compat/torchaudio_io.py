"""torchaudio's file functions, through libsndfile.

What: ``torchaudio.set_audio_backend``, ``get_audio_backend``, ``list_audio_backends`` and ``info``
    are gone, ``load`` and ``save`` ask for TorchCodec (which needs FFmpeg libraries). s3prl calls
    the first while ``s3prl.hub`` is imported.
Why: torchaudio handed audio files over to TorchCodec.
Since: torchaudio 2.9 (announced in 2.8).
Here: the backend functions do nothing; ``info`` is soundfile's, and so are ``load`` and ``save``
    where TorchCodec is not installed. Must run before a dataset does ``from torchaudio import
    load``.
Delete when: s3prl reads audio itself.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
import torch
import torchaudio


class AudioInfo(NamedTuple):
    """What ``torchaudio.info`` told of a file."""

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def install() -> bool:
    """Add what this torchaudio lacks."""
    missing: dict[str, Any] = {
        "set_audio_backend": lambda backend: None,
        "get_audio_backend": lambda: "soundfile",
        "list_audio_backends": lambda: ["soundfile"],
        "info": info,
    }
    replaced = False
    for name, function in missing.items():
        if not hasattr(torchaudio, name):
            setattr(torchaudio, name, function)
            replaced = True
    reads_itself = not hasattr(torchaudio, "load_with_torchcodec")  # torchaudio <= 2.8
    if not reads_itself and importlib.util.find_spec("torchcodec") is None:
        replaced = replaced or torchaudio.load is not load
        torchaudio.load, torchaudio.save = load, save
    return replaced


def load(
    uri: Any,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
) -> tuple[torch.Tensor, int]:
    """Read float32 audio, (C, T) or (T, C) without ``channels_first``, and its sample rate.

    Raises:
        ValueError: the file is there but is not audio that libsndfile can read.
        FileNotFoundError: there is no such file.
    """
    if isinstance(uri, (str, Path)) and not Path(uri).is_file():
        raise FileNotFoundError(f"{uri}: no such audio file")
    try:
        audio, rate = soundfile.read(
            uri, frames=num_frames, start=frame_offset, dtype="float32", always_2d=True
        )  # (T, C)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{uri}: not readable as audio ({error}); replace or remove it") from error
    return torch.from_numpy(audio.T.copy() if channels_first else audio), rate


def save(
    uri: Any, src: torch.Tensor, sample_rate: int, channels_first: bool = True, **_: Any
) -> None:
    """Write float audio (C, T), or (T, C) without ``channels_first``."""
    audio = src.detach().cpu().numpy()
    soundfile.write(uri, audio.T if channels_first and audio.ndim == 2 else audio, sample_rate)


def info(uri: Any, format: str | None = None) -> AudioInfo:
    """Read a file's header."""
    header = soundfile.info(uri)
    bits = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32}
    return AudioInfo(
        header.samplerate,
        header.frames,
        header.channels,
        bits.get(header.subtype, 0),
        header.subtype,
    )
