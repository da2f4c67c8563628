"""The records a corpus is planned in: who says what, recorded how, into which file."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Speaker:
    """A voice: everything that stays the same from one sentence of a person to the next."""

    name: str
    voice: str  # espeak-ng's accent+variant, such as en-us+f3
    rate: float  # words per minute
    pitch: float  # 0-99
    pitch_range: float  # 0 (monotone) to 99
    tract: float  # factor on all formants and the pitch: above 1 is a shorter vocal tract


@dataclass(frozen=True)
class Scene:
    """A recording situation: all that is about the room and the microphone, not the speaker."""

    level_db: float  # RMS of the speech, dB below full scale
    snr_db: float
    noise: str  # a key of sound.NOISES
    channel_db: tuple[float, ...]  # gains at sound.CHANNEL_HZ
    reverb_seconds: float  # time until the room's echo has decayed by 60 dB
    reverb_db: float  # energy of the echo against the direct sound


@dataclass(frozen=True)
class Clip:
    """One audio file. ``speaker`` None: nothing but the scene's noise, at ``level_db``."""

    path: str  # relative to the corpus root; its suffix is the format
    split: str
    seed: int  # of the noise and the room
    text: str
    speaker: Speaker | None
    scene: Scene
    before: float = 0.1  # seconds of silence around the speech
    after: float = 0.1
    seconds: float | None = None  # exactly this long: cut or filled with silence at the end

    def to_json(self) -> dict[str, Any]:
        """Plain data for another process."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Clip":
        """What ``to_json`` gave."""
        speaker = Speaker(**data["speaker"]) if data["speaker"] else None
        scene = Scene(**{**data["scene"], "channel_db": tuple(data["scene"]["channel_db"])})
        return Clip(**{**data, "speaker": speaker, "scene": scene})


def seed_of(*names: object) -> int:
    """A 64-bit seed that depends on nothing but ``names``: the same in every process and order."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def random_of(*names: object) -> np.random.Generator:
    """A random generator of its own for ``names``."""
    return np.random.default_rng(seed_of(*names))
