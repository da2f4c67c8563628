"""Voice conversion: laid out as VCC2020 with all files of a speaker in one folder.

Four source and four target speakers. E1* are sentences that all read, E2* only the targets, E3* is
the test: the sources' recordings are converted, the targets' are what they are compared with.
Recorded in a studio, 24 kHz.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import Clip, Scene, Speaker, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.plan import Paths, Plan, Task
from mini_superb.sound import CHANNEL_HZ
from mini_superb.voices import cast

CORPUS = "vcc2020"
RATE = 24000
SOURCES = ("SEM1", "SEF1", "SEM2", "SEF2")
TARGETS = ("TEM1", "TEF1", "TEM2", "TEF2")
# pitch (0-99), tract: F0 stays in the range that the official evaluation looks for in a target
_VOICES = {"F": (42.0, 1.06), "M": (52.0, 0.94)}


@dataclass(frozen=True)
class Counts:
    """Sentences of each kind; the last ten (tiny: one) of E1* are the development set."""

    first_parallel: int  # the targets read E1* from this number to 70
    own: int
    test: int
    source_parallel: int


COUNTS = {
    "tiny": Counts(60, own=2, test=1, source_parallel=1),
    "default": Counts(51, own=30, test=5, source_parallel=3),
    "large": Counts(51, own=50, test=25, source_parallel=20),
}


def plan(seed: int, size: str) -> Plan:
    """The recordings of eight people, and what they say."""
    counts = COUNTS[size]
    rng = random_of(seed, "vc")
    parallel = [f"E1{n:04d}" for n in range(counts.first_parallel, 71)]
    if size == "tiny":
        parallel = [parallel[0], parallel[-1]]
    own = [f"E2{n + 1:04d}" for n in range(counts.own)]
    test = [f"E3{n + 1:04d}" for n in range(counts.test)]
    said = {number: sentence(EVERYDAY, rng) for number in (*parallel, *own, *test)}
    clips = []
    for speaker in _speakers(rng):
        numbers = parallel[: counts.source_parallel] if speaker.name[0] == "S" else parallel + own
        studio = _studio(rng)
        for number in (*numbers, *test):
            path = f"vc/{CORPUS}/{speaker.name}/{number}.wav"
            split = {"1": "parallel", "2": "own", "3": "test"}[number[1]]
            clips.append(Clip(path, split, seed_of(seed, path), said[number], speaker, studio))
    prompts = "".join(f"{number[1:]} {text.capitalize()}.\n" for number, text in said.items())
    files = [clip.path for clip in clips]
    return Plan(
        clips,
        texts={f"vc/{CORPUS}/prompts/Eng_transcriptions.txt": prompts},
        finish=lambda root: mixing.convert((root / file for file in files), RATE),
    )


def _speakers(rng: np.random.Generator) -> list[Speaker]:
    groups = {"sources": list(SOURCES), "targets": list(TARGETS)}
    people = []
    for speaker in (person for group in cast(rng, groups, ("en-us",)).values() for person in group):
        pitch, tract = _VOICES[speaker.name[2]]
        people.append(
            Speaker(
                speaker.name,
                speaker.voice,
                speaker.rate,
                pitch + rng.uniform(-8, 8),
                speaker.pitch_range,
                tract + rng.uniform(-0.04, 0.04),
            )
        )
    return people


def _studio(rng: np.random.Generator) -> Scene:
    return Scene(
        level_db=-24.0,
        snr_db=45.0,
        noise="pink_noise",
        channel_db=tuple(float(g) for g in rng.normal(0, 2.0, len(CHANNEL_HZ))),
        reverb_seconds=0.1,
        reverb_db=-30.0,
    )


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {"root": root / "vc", "data_root": root / "vc" / CORPUS}


TASK = Task("vc", plan, paths)
