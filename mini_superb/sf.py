"""Slot filling: laid out as the preprocessed Audio SNIPS.

A transcript line is ``NAME BOS WORDS EOS<tab>O SLOTS INTENT``: a slot or ``O`` for every word.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, Speaker, random_of, seed_of
from mini_superb.grammar import phrases, words
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import AMERICAN, cast, mood, scene

CORPUS = "sf/SNIPS"
SPEAKERS = {  # of the real corpus, by the split they speak in
    "train": words("Ivy Joanna Joey Justin Kendra Kimberly Matthew Salli"),
    "valid": words("Aditi Amy Geraint Nicole"),
    "test": words("Brian Emma Raveena Russell"),
}
VOICES = 4  # behind each of these names: eight are few to learn from
PHRASES = {  # intent -> sentences; a word in capitals is a slot
    "PlayMusic": phrases("play ARTIST | play SERVICE now"),
    "AddToPlaylist": phrases("add ARTIST to my PLAYLIST list"),
    "GetWeather": phrases("will it snow in CITY | will it snow DAY"),
    "BookRestaurant": phrases("book a table in CITY | book a table DAY"),
}
VALUES = {
    "ARTIST": phrases("bob dylan | madonna | nina simone | abba"),
    "PLAYLIST": words("party dinner study"),
    "SERVICE": words("spotify napster tidal"),
    "CITY": words("boston paris london madrid"),
    "DAY": words("today monday friday tomorrow"),
}
SLOTS = {
    "ARTIST": "artist",
    "PLAYLIST": "playlist",
    "SERVICE": "service",
    "CITY": "city",
    "DAY": "timeRange",
}


@dataclass(frozen=True)
class Counts:
    """Utterances of every speaker, by split."""

    train: int
    valid: int
    test: int


COUNTS = {
    "tiny": Counts(2, 1, 1),
    "default": Counts(80, 8, 16),
    "large": Counts(400, 40, 80),
}


def plan(seed: int, size: str) -> Plan:
    """Requests of 1-2.5 s, their transcripts with slots, and the list of slots."""
    rng = random_of(seed, "sf")
    clips, lines = [], []
    for split, voices in _voices(rng).items():
        for index in range(getattr(COUNTS[size], split)):
            for speaker, choice in zip(SPEAKERS[split], voices, strict=True):
                name = f"{speaker}-snips-{split}-{index}"
                path = f"{CORPUS}/{split}/{name}.wav"
                text, line = _request(rng)
                here, person = scene(rng), mood(rng, choice[index % VOICES])
                clips.append(Clip(path, split, seed_of(seed, path), text, person, here))
                lines.append(f"{name} {line}\n")
    texts = {
        f"{CORPUS}/all.iob.snips.txt": "".join(lines),
        f"{CORPUS}/slots.txt": "\n".join(["O", *sorted(SLOTS.values())]),
    }
    return Plan(clips, texts)


def _voices(rng: np.random.Generator) -> dict[str, list[list[Speaker]]]:
    """For every split and speaker its voices."""
    groups = {
        split: [f"{speaker}{number}" for speaker in speakers for number in range(VOICES)]
        for split, speakers in SPEAKERS.items()
    }
    return {
        split: [found[place : place + VOICES] for place in range(0, len(found), VOICES)]
        for split, found in cast(rng, groups, AMERICAN).items()
    }


def _request(rng: np.random.Generator) -> tuple[str, str]:
    """What is said, and its line without the name."""
    intent = str(rng.choice(list(PHRASES)))
    said, slots = [], []
    for word in str(rng.choice(PHRASES[intent])).split():
        value = str(rng.choice(VALUES[word])).split() if word in VALUES else [word]
        said += value
        slots += [SLOTS.get(word, "O")] * len(value)
    text = " ".join(said)
    return text, f"BOS {text.upper()} EOS\tO {' '.join(slots)} {intent}"


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    corpus = root / CORPUS
    return {"root": root / "sf", "path": corpus, "slots_file": corpus / "slots.txt"}


TASK = Task("sf", plan, paths)
