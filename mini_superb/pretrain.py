"""Unlabelled speech to pre-train on: many people, many sentences, FLAC at 16 kHz."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import cast, mood, scene


@dataclass(frozen=True)
class Counts:
    """People and what each of them says."""

    speakers: int
    utterances: int


COUNTS = {"tiny": Counts(6, 3), "default": Counts(64, 6), "large": Counts(300, 20)}


def plan(seed: int, size: str) -> Plan:
    """Utterances of 1-6 s."""
    counts = COUNTS[size]
    rng = random_of(seed, "pretrain")
    names = [f"spk{index:03d}" for index in range(counts.speakers)]
    clips = []
    for speaker in cast(rng, {"all": names})["all"]:
        for index in range(counts.utterances):
            path = f"pretrain/{speaker.name}/{speaker.name}_{index:03d}.flac"
            here, person, text = scene(rng), mood(rng, speaker), _text(rng)
            clips.append(Clip(path, "train", seed_of(seed, path), text, person, here))
    return Plan(clips, texts={})


def _text(rng: np.random.Generator) -> str:
    """One sentence or two, not longer than about six seconds."""
    text = sentence(EVERYDAY, rng)
    more = f"{text}. {sentence(EVERYDAY, rng)}"
    return more if rng.random() < 0.7 and len(more.split()) <= 15 else text


def paths(root: Path) -> Paths:
    """The folder of audio."""
    return {"root": root / "pretrain"}


TASK = Task("pretrain", plan, paths)
