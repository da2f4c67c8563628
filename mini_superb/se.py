"""Speech enhancement: laid out as VoiceBank-DEMAND, the 28-speaker version at 16 kHz.

Names, speakers and signal-to-noise ratios as in the real corpus: training has 0, 5, 10 and 15 dB,
the test 2.5, 7.5, 12.5 and 17.5 dB. Which speakers are held out for validation is up to who
prepares the corpus.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import Clip, Scene, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence, words
from mini_superb.plan import Paths, Plan, Task
from mini_superb.sound import NOISES
from mini_superb.voices import cast, mood, scene

TRAIN_SPEAKERS = words("""
    p226 p287 p227 p228 p230 p231 p233 p236 p239 p243 p244 p250 p254 p256 p258 p259 p267 p268 p269
    p270 p273 p274 p276 p277 p278 p279 p282 p286
""")
TEST_SPEAKERS = words("p232 p257")
PARTS = {"train": "trainset_28spk", "test": "testset"}
SNR_DB = {"train": (0.0, 5.0, 10.0, 15.0), "test": (2.5, 7.5, 12.5, 17.5)}


@dataclass(frozen=True)
class Counts:
    """Training speakers, and the utterances of each speaker in training and test."""

    speakers: int
    train: int
    test: int


COUNTS = {"tiny": Counts(4, 2, 1), "default": Counts(12, 12, 8), "large": Counts(28, 40, 40)}


def plan(seed: int, size: str) -> Plan:
    """Clean utterances of 1-5 s with their texts; the noisy ones are made of them."""
    counts = COUNTS[size]
    rng = random_of(seed, "se")
    groups = {"train": TRAIN_SPEAKERS[: counts.speakers], "test": TEST_SPEAKERS}
    clips, texts = [], {}
    for split, speakers in cast(rng, groups).items():
        for speaker in speakers:
            for index in range(getattr(counts, split)):
                name = f"{speaker.name}_{index + 1:03d}"
                path = f"se/clean_{PARTS[split]}_wav_16k/{name}.wav"
                text, person = sentence(EVERYDAY, rng), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), text, person, _studio(rng)))
                texts[f"se/{PARTS[split]}_txt/{name}.txt"] = f"{text}\n"
    return Plan(clips, texts, finish=partial(_add_noise, clips))


def _studio(rng: np.random.Generator) -> Scene:
    quiet = scene(rng, snr_db=(55.0, 65.0), channel_db=1.0)
    return replace(quiet, level_db=rng.uniform(-30, -24), reverb_seconds=0.1, reverb_db=-40.0)


def _add_noise(clips: list[Clip], root: Path) -> None:
    for clip in clips:
        rng = np.random.default_rng([clip.seed, 1])
        clean = mixing.read(root / clip.path)
        kind, snr_db = str(rng.choice(sorted(NOISES))), float(rng.choice(SNR_DB[clip.split]))
        noisy = clean + mixing.noise_at(clean, snr_db, kind, rng)
        clean, noisy = mixing.quieter(clean, noisy)
        mixing.write(root / clip.path, clean)
        mixing.write(root / clip.path.replace("/clean_", "/noisy_"), noisy)


def paths(root: Path) -> Paths:
    """The folder of the corpus; what s3prl asks for is prepared from it."""
    return {"root": root / "se"}


TASK = Task("se", plan, paths)
