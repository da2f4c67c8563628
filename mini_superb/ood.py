"""Out-of-domain speech recognition: laid out as the Spanish part of Common Voice 7.0.

The clips are mp3 at 48 kHz, the sentences have punctuation, and some speakers are not from Mexico:
preparing the corpus has to deal with all three.
"""

from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import Grammar, phrases, sentence, words
from mini_superb.plan import Counts, Paths, Plan, Task
from mini_superb.voices import cast, mood, scene

RELEASE = "ood/cv-corpus-7.0-2021-07-21"
CORPUS = f"{RELEASE}/es"
VOICES = ("es-419",)  # of Latin America
SPLITS = {"train": "train", "valid": "dev", "test": "test"}
RATE = 48000
MEXICAN, OTHER = "mexicano", "rioplatense"
COLUMNS = words("""
    client_id path sentence up_votes down_votes age gender accent locale segment
""")

GRAMMAR: Grammar = {
    "S": phrases("WHO DOES THING | WHO DOES THING | WHO DOES THING WHEN"),
    "WHO": phrases("Ana | Pedro | la niña"),
    "DOES": words("canta come toma mira"),
    "THING": phrases("la MATTER | la MATTER NICE | una MATTER"),
    "MATTER": words("sopa casa mesa luna"),
    "NICE": words("rica bonita"),
    "WHEN": phrases("hoy | mañana"),
}
MARKS = (("", "."), ("¿", "?"), ("¡", "!"), ("", ""))  # around a sentence


COUNTS = {
    "tiny": Counts((4, 3), (3, 2), (3, 2)),
    "default": Counts((26, 12), (6, 6), (9, 6)),
    "large": Counts((120, 25), (20, 20), (20, 20)),
}


def plan(seed: int, size: str) -> Plan:
    """Sentences of 1-2.5 s and the lists of the three splits."""
    counts = COUNTS[size]
    rng = random_of(seed, "ood")
    groups = {
        split: [rng.bytes(16).hex() for _ in range(counts.speakers(split))] for split in SPLITS
    }
    clips, texts, numbers = [], {}, iter(rng.permutation(900_000) + 18_000_000)
    for split, speakers in cast(rng, groups, VOICES).items():
        rows = ["\t".join(COLUMNS)]
        for place, speaker in enumerate(speakers):
            accent = OTHER if place % 10 == 2 else MEXICAN  # one in ten
            for _ in range(counts.utterances(split)):
                name, text = f"common_voice_es_{next(numbers)}", _written(rng)
                path = f"{CORPUS}/clips/{name}.wav"
                here, person = scene(rng), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), text, person, here))
                row = [speaker.name, f"{name}.mp3", text, "2", "0", "", "", accent, "es", ""]
                rows.append("\t".join(row))
        texts[f"{CORPUS}/{SPLITS[split]}.tsv"] = "\n".join([*rows, ""])
    files = [clip.path for clip in clips]
    return Plan(
        clips, texts, lambda root: mixing.convert((root / file for file in files), RATE, ".mp3")
    )


def _written(rng: np.random.Generator) -> str:
    """A sentence with its capital and its punctuation."""
    text, (before, after) = sentence(GRAMMAR, rng), MARKS[rng.integers(len(MARKS))]
    return f"{before}{text[0].upper()}{text[1:]}{after}"


def paths(root: Path) -> Paths:
    """Where the corpus is; what s3prl's config asks for is made from it."""
    return {"root": root / "ood", "corpus": root / CORPUS}


TASK = Task("ood", plan, paths)
