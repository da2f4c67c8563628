"""Speaker identification: laid out as VoxCeleb1 with its iden_split.txt.

Each speaker has several videos, and a video is one scene (room, microphone, background). As in the
real split, validation and test take videos that training has not heard, so the microphone does not
give the speaker away.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import cast, mood, scene

FIRST_ID, FIRST_TEST_PART_ID = 10001, 10270  # VoxCeleb1 keeps id10270-id10309 in its test folder
_LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True)
class Counts:
    """Speakers in either folder, and for each of them (videos, utterances per video) by split."""

    dev_part: int
    test_part: int
    videos: dict[str, tuple[int, int]]


COUNTS = {
    "tiny": Counts(3, 1, {"train": (2, 2), "valid": (1, 1), "test": (1, 2)}),
    "default": Counts(16, 4, {"train": (4, 5), "valid": (1, 4), "test": (2, 3)}),
    "large": Counts(60, 20, {"train": (6, 8), "valid": (2, 4), "test": (2, 5)}),
}
_SPLIT_NUMBER = {"train": 1, "valid": 2, "test": 3}


def plan(seed: int, size: str) -> Plan:
    """Sentences of 2-4 s and the file that says which split each belongs to."""
    counts = COUNTS[size]
    rng = random_of(seed, "sid")
    ids = [FIRST_ID + k for k in range(counts.dev_part)]
    ids += [FIRST_TEST_PART_ID + k for k in range(counts.test_part)]
    clips, lines = [], []
    for speaker in cast(rng, {"all": [f"id{number}" for number in ids]})["all"]:
        part = "dev" if int(speaker.name[2:]) < FIRST_TEST_PART_ID else "test"
        for split, (videos, utterances) in counts.videos.items():
            for _ in range(videos):
                video, place = video_name(rng), scene(rng, snr_db=(8.0, 25.0), channel_db=6.0)
                for index in range(utterances):
                    name = f"{speaker.name}/{video}/{index + 1:05d}.wav"
                    path = f"sid/VoxCeleb1/{part}/wav/{name}"
                    here = replace(place, snr_db=place.snr_db + rng.uniform(-3, 3))
                    person, text = mood(rng, speaker), _long_sentence(rng)
                    clips.append(Clip(path, split, seed_of(seed, path), text, person, here))
                    lines.append(f"{_SPLIT_NUMBER[split]} {name}\n")
    return Plan(clips, texts={"sid/VoxCeleb1/iden_split.txt": "".join(lines)})


def _long_sentence(rng: np.random.Generator) -> str:
    while len((text := sentence(EVERYDAY, rng)).split()) < 8:
        pass
    return text


def video_name(rng: np.random.Generator) -> str:
    """The name of a video, as YouTube has them."""
    return "".join(rng.choice(_LETTERS, 11))


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    corpus = root / "sid" / "VoxCeleb1"
    return {"root": root / "sid", "file_path": corpus, "meta_data": corpus / "iden_split.txt"}


TASK = Task("sid", plan, paths)
