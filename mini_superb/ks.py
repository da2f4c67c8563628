"""Keyword spotting: one-second clips laid out as Speech Commands v0.01 and its published test set.

The split is not written anywhere: as in the real corpus it follows from the SHA-1 of the speaker's
name (validation below 10 %, test below 20 %, train above), so names are drawn until they fall where
they should.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, Scene, Speaker, random_of, seed_of
from mini_superb.grammar import words
from mini_superb.plan import Paths, Plan, Task
from mini_superb.sound import NOISES
from mini_superb.voices import cast, mood, scene

KEYWORDS = words("yes no up down left right on off stop go")
OTHER_WORDS = words("""
    bed bird cat dog happy house marvin sheila tree wow zero one two three four five six seven
    eight nine
""")
TRAIN = "speech_commands_v0.01"
TEST = "speech_commands_test_set_v0.01"
_HASH_RANGE = 2**27


@dataclass(frozen=True)
class Counts:
    """How many people, how often each says a keyword, and how many of the other words."""

    train_speakers: int
    valid_speakers: int
    test_speakers: int
    takes: int
    other_words: int
    noise_seconds: float


COUNTS = {
    "tiny": Counts(3, 2, 2, takes=1, other_words=3, noise_seconds=3.0),
    "default": Counts(36, 8, 14, takes=2, other_words=10, noise_seconds=20.0),
    "large": Counts(150, 25, 40, takes=3, other_words=15, noise_seconds=60.0),
}


def hash_split(speaker: str) -> str:
    """Where Speech Commands puts the clips of ``speaker``: train, valid or test."""
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % _HASH_RANGE
    percent = number * 100.0 / (_HASH_RANGE - 1)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"


def _names(rng: np.random.Generator, wanted: dict[str, int]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {split: [] for split in wanted}
    while any(len(names[split]) < count for split, count in wanted.items()):
        name = f"{rng.integers(2**32):08x}"
        split = hash_split(name)
        if len(names[split]) < wanted[split]:
            names[split].append(name)
    return names


def plan(seed: int, size: str) -> Plan:
    """The clips of all three splits, the background noises and the silences of the test set."""
    counts = COUNTS[size]
    rng = random_of(seed, "ks")
    wanted = {
        "train": counts.train_speakers,
        "valid": counts.valid_speakers,
        "test": counts.test_speakers,
    }
    clips = []
    for split, speakers in cast(rng, _names(rng, wanted)).items():
        unknown = counts.takes if split == "test" else counts.other_words
        for speaker in speakers:
            takes = [(word, take) for word in KEYWORDS for take in range(counts.takes)]
            takes += [(str(w), 0) for w in rng.choice(OTHER_WORDS, unknown, replace=False)]
            for word, take in takes:
                path = _path(split, word, speaker.name, take)
                clips.append(_clip(rng, seed, path, split, word, mood(rng, speaker)))
    clips += [_noise(rng, seed, name, counts.noise_seconds) for name in sorted(NOISES)]
    for index in range(counts.test_speakers * counts.takes):
        clips.append(_silence(rng, seed, index))
    return Plan(clips, texts={})


def _path(split: str, word: str, speaker: str, take: int) -> str:
    if split != "test":
        return f"ks/{TRAIN}/{word}/{speaker}_nohash_{take}.wav"
    if word in KEYWORDS:
        return f"ks/{TEST}/{word}/{speaker}_nohash_{take}.wav"
    return f"ks/{TEST}/_unknown_/{word}_{speaker}_nohash_{take}.wav"


def _clip(
    rng: np.random.Generator, seed: int, path: str, split: str, word: str, speaker: Speaker
) -> Clip:
    text = word + str(rng.choice([".", "!", "?"], p=[0.6, 0.2, 0.2]))
    return Clip(
        path=path,
        split=split,
        seed=seed_of(seed, path),
        text=text,
        speaker=speaker,
        scene=scene(rng, snr_db=(10.0, 30.0)),
        before=rng.uniform(0.05, 0.35),
        seconds=1.0,
    )


def _noise(rng: np.random.Generator, seed: int, name: str, seconds: float) -> Clip:
    path = f"ks/{TRAIN}/_background_noise_/{name}.wav"
    quiet = _quiet(scene(rng), rng, name)
    return Clip(path, "train", seed_of(seed, path), "", None, quiet, seconds=seconds)


def _silence(rng: np.random.Generator, seed: int, index: int) -> Clip:
    path = f"ks/{TEST}/_silence_/silence_{index:03d}.wav"
    quiet = _quiet(scene(rng), rng, str(rng.choice(sorted(NOISES))))
    return Clip(path, "test", seed_of(seed, path), "", None, quiet, seconds=1.0)


def _quiet(situation: Scene, rng: np.random.Generator, noise: str) -> Scene:
    return replace(situation, noise=noise, level_db=rng.uniform(-48, -28))


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {
        "root": root / "ks",
        "speech_commands_root": root / "ks" / TRAIN,
        "speech_commands_test_root": root / "ks" / TEST,
    }


TASK = Task("ks", plan, paths)
