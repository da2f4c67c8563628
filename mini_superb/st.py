"""Speech translation: laid out as CoVoST 2 English-German on Common Voice, clips at 48 kHz.

Every sentence is made in both languages at once. German puts the verb second, so that a sentence
that begins with a time is not translated word by word.
"""

from functools import partial
from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.plan import Counts, Paths, Plan, Task
from mini_superb.voices import AMERICAN, cast, mood, scene

TRANSLATIONS = "st/covost_v2.en_de.tsv"
VALIDATED = "st/en/validated.tsv"
CLIPS = "st/en/clips"
RATE = 48000
SPLITS = {"train": "train", "valid": "dev", "test": "test"}  # ours: CoVoST's
_MP3 = ("test",)  # as in Common Voice; the rest is WAV, as MP3 takes long to make

SUBJECTS = {
    "the teacher": "die Lehrerin",
    "my brother": "mein Bruder",
    "our doctor": "unser Arzt",
    "a child": "ein Kind",
    "the queen": "die Königin",
    "nobody": "niemand",
}
VERBS = {
    "buys": "kauft",
    "paints": "malt",
    "finds": "findet",
    "loves": "liebt",
    "shows": "zeigt",
}
OBJECTS = {
    "the old bicycle": "das alte Fahrrad",
    "a yellow house": "ein gelbes Haus",
    "two horses": "zwei Pferde",
    "the green book": "das grüne Buch",
    "many apples": "viele Äpfel",
    "a small garden": "einen kleinen Garten",
}
TIMES = {"today": "heute", "tomorrow": "morgen", "every sunday": "jeden Sonntag"}
PLACES = {
    "in the village": "im Dorf",
    "near the river": "am Fluss",
    "behind the church": "hinter der Kirche",
}


COUNTS = {
    "tiny": Counts((3, 3), (2, 2), (2, 2)),
    "default": Counts((24, 20), (6, 8), (6, 10)),
    "large": Counts((100, 40), (20, 20), (20, 20)),
}


def translated(rng: np.random.Generator) -> tuple[str, str]:
    """Return a sentence in English and in German."""

    def one(choices: dict[str, str]) -> tuple[str, str]:
        english = str(rng.choice(list(choices)))
        return english, choices[english]

    subject, verb, thing = one(SUBJECTS), one(VERBS), one(OBJECTS)
    if rng.random() < 0.4:
        time = one(TIMES)
        english = [time[0], subject[0], verb[0], thing[0]]
        german = [time[1], verb[1], subject[1], thing[1]]
    else:
        place = one(PLACES)
        english = [subject[0], verb[0], thing[0], place[0]]
        german = [subject[1], verb[1], thing[1], place[1]]
    return _written(english), _written(german)


def _written(parts: list[str]) -> str:
    text = " ".join(parts)
    return text[0].upper() + text[1:] + "."


def plan(seed: int, size: str) -> Plan:
    """Recordings of 2-4 s, Common Voice's list of them, and CoVoST's translations."""
    counts = COUNTS[size]
    rng = random_of(seed, "st")
    groups = {
        split: [f"{rng.integers(2**63):016x}" for _ in range(counts.speakers(split))]
        for split in SPLITS
    }
    clips = []
    listed = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"]
    translations = ["path\ttranslation\tsplit"]
    numbers = iter(rng.permutation(1_000_000) + 100_000)
    for split, speakers in cast(rng, groups, AMERICAN).items():
        for speaker in speakers:
            for _ in range(counts.utterances(split)):
                name = f"common_voice_en_{next(numbers)}"
                english, german = translated(rng)
                path = f"{CLIPS}/{name}.wav"
                here, person = scene(rng, snr_db=(20.0, 40.0)), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), english, person, here))
                file = f"{name}.mp3" if split in _MP3 else f"{name}.wav"
                listed.append(f"{speaker.name}\t{file}\t{english}\t2\t0\t\t\t")
                translations.append(f"{file}\t{german}\t{SPLITS[split]}")
    texts = {VALIDATED: "\n".join(listed) + "\n", TRANSLATIONS: "\n".join(translations) + "\n"}
    return Plan(clips, texts, partial(_finish, clips))


def _finish(clips: list[Clip], root: Path) -> None:
    """Bring the clips to Common Voice's sample rate, and some to its format."""
    for suffix in (".wav", ".mp3"):
        chosen = [clip.path for clip in clips if (clip.split in _MP3) == (suffix == ".mp3")]
        mixing.convert((root / path for path in chosen), RATE, suffix)


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {"root": root / "st", "data": root / "st" / "prepared"}


TASK = Task("st", plan, paths)
