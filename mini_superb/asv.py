"""Speaker verification: laid out as VoxCeleb1 with the trial list of its test speakers.

As in the real corpus, the people of the test folder are not in the dev folder, a video is one scene
(room, microphone, background), a trial may join two videos, and some utterances are longer than the
8 s of which a head is trained on a random part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, Speaker, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.plan import Paths, Plan, Task
from mini_superb.sid import FIRST_ID, FIRST_TEST_PART_ID, video_name
from mini_superb.voices import cast, mood, scene

CORPUS = "asv/VoxCeleb1"
TRIALS = "asv/voxceleb1_test_v2.txt"
_WORDS, _LONG_WORDS = 10, 34  # at least so many: over 2 s, over 8 s
_LONG_EVERY = 24  # one utterance in so many is a long one


@dataclass(frozen=True)
class Counts:
    """People of either folder, videos of each, utterances per video, trials of either kind."""

    dev: int
    test: int
    videos: int
    utterances: int
    trials: int


COUNTS = {
    "tiny": Counts(4, 3, 2, 2, trials=8),
    "default": Counts(24, 12, 4, 3, trials=400),
    "large": Counts(100, 40, 6, 5, trials=4000),
}


def plan(seed: int, size: str) -> Plan:
    """Utterances of 2-5 s, some over 8 s, and as many target as non-target trials."""
    counts = COUNTS[size]
    rng = random_of(seed, "asv")
    groups = {
        "dev": [f"id{FIRST_ID + k}" for k in range(counts.dev)],
        "test": [f"id{FIRST_TEST_PART_ID + k}" for k in range(counts.test)],
    }
    clips, said = [], {}
    for part, speakers in cast(rng, groups).items():
        for speaker in speakers:
            made = _utterances(rng, seed, part, speaker, counts)
            said[speaker.name] = [clip.path.split("/wav/")[1] for clip in made]
            clips += made
    trials = _trials(rng, {name: said[name] for name in groups["test"]}, counts.trials)
    return Plan(clips, {TRIALS: "".join(f"{trial}\n" for trial in trials)})


def _utterances(
    rng: np.random.Generator, seed: int, part: str, speaker: Speaker, counts: Counts
) -> list[Clip]:
    clips = []
    for _ in range(counts.videos):
        video = video_name(rng)
        place = scene(rng, snr_db=(12.0, 30.0), channel_db=4.0)
        for index in range(counts.utterances):
            path = f"{CORPUS}/{part}/wav/{speaker.name}/{video}/{index + 1:05d}.wav"
            here = replace(place, snr_db=place.snr_db + rng.uniform(-3, 3))
            text = _text(rng, _LONG_WORDS if rng.integers(_LONG_EVERY) == 0 else _WORDS)
            person = mood(rng, speaker)
            clips.append(Clip(path, part, seed_of(seed, path), text, person, here))
    longest = replace(clips[0], text=_text(rng, _LONG_WORDS))
    return [longest, *clips[1:]] if speaker.name == f"id{FIRST_ID}" else clips


def _text(rng: np.random.Generator, least: int) -> str:
    text = sentence(EVERYDAY, rng)
    while len(text.split()) < least:
        text += f". {sentence(EVERYDAY, rng)}"
    return text


def _trials(rng: np.random.Generator, said: dict[str, Sequence[str]], count: int) -> list[str]:
    """``1|0 UTTERANCE UTTERANCE``: ``count`` of each kind, fewer where there are no more."""
    names = list(said)
    trials: dict[str, None] = {}  # in order, each once
    for _ in range(count):
        first, second = rng.permutation(names)[:2]
        one, two = rng.permutation(said[first])[:2]
        trials[f"1 {one} {two}"] = None
        trials[f"0 {one} {rng.choice(said[second])}"] = None
    return list(trials)


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {
        "root": root / "asv",
        "file_path": root / CORPUS,
        "test_meta_data": root / TRIALS,
    }


TASK = Task("asv", plan, paths)
