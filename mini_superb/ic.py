"""Intent classification: laid out as Fluent Speech Commands.

An intent is an action, an object and a location, said in one of a few ways; every person says each.
People differ from split to split, as in the real corpus. The first six intents, which the default
size has, sound different from each other also on average over time, which is all that the task's
head is given.
"""

import csv
import io
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, Scene, random_of, seed_of
from mini_superb.grammar import phrases
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import cast, mood, scene

CORPUS = "fluent_speech_commands_dataset"
COLUMNS = ("", "path", "speakerId", "transcription", "action", "object", "location")

# (action, object, location), spelt as in the corpus, and ways to say it
INTENTS: dict[tuple[str, str, str], list[str]] = {
    ("increase", "heat", "kitchen"): phrases("""
        increase the heat in the kitchen please | kitchen heat, increase it
    """),
    ("decrease", "volume", "none"): phrases("""
        lower the volume | volume down now
    """),
    ("bring", "shoes", "none"): phrases("""
        choose two shoes and bring the shoes | shoes please, bring two shoes
    """),
    ("deactivate", "lamp", "bedroom"): phrases("""
        bedroom lamp off now | turn the bedroom lamp off
    """),
    ("activate", "music", "none"): phrases("""
        use music, some new music | some music, use the music
    """),
    ("activate", "lights", "washroom"): phrases("""
        wide bright lights, right in the washroom | washroom lights bright
    """),
    ("change language", "Chinese", "none"): phrases("""
        change the language to Chinese | switch to Chinese | use Chinese
    """),
    ("deactivate", "music", "none"): phrases("""
        stop the music | pause the music please | turn off the music
    """),
    ("bring", "newspaper", "none"): phrases("""
        bring me the newspaper | get me my newspaper | fetch the newspaper
    """),
    ("activate", "lights", "kitchen"): phrases("""
        turn on the lights in the kitchen | kitchen lights on | switch the kitchen lights on
    """),
    ("deactivate", "lights", "kitchen"): phrases("""
        turn off the lights in the kitchen | kitchen lights off | switch the kitchen lights off
    """),
    ("increase", "volume", "none"): phrases("""
        turn the volume up | I cannot hear this | make it louder
    """),
    ("decrease", "heat", "bedroom"): phrases("""
        turn down the heat in the bedroom | bedroom heat down | it is too hot in the bedroom
    """),
    ("change language", "German", "none"): phrases("""
        change the language to German | switch to German | use German
    """),
}


@dataclass(frozen=True)
class Counts:
    """How many of the intents, and how many people say all of them in each split."""

    intents: int
    speakers: dict[str, int]


COUNTS = {
    "tiny": Counts(4, {"train": 2, "valid": 1, "test": 2}),
    "default": Counts(6, {"train": 60, "valid": 12, "test": 24}),
    "large": Counts(14, {"train": 140, "valid": 30, "test": 50}),
}


def plan(seed: int, size: str) -> Plan:
    """The commands of all speakers and the three tables that name them."""
    counts = COUNTS[size]
    rng = random_of(seed, "ic")
    names = {split: [_name(rng) for _ in range(n)] for split, n in counts.speakers.items()}
    clips, texts = [], {}
    for split, speakers in cast(rng, names).items():
        rows: list[tuple[str, ...]] = []
        for speaker in speakers:
            for intent in list(INTENTS)[: counts.intents]:
                text = str(rng.choice(INTENTS[intent]))
                file = uuid.UUID(bytes=rng.bytes(16), version=4)
                name = f"wavs/speakers/{speaker.name}/{file}.wav"
                path = f"ic/{CORPUS}/{name}"
                place, person = _headset(rng), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), text, person, place))
                rows.append((name, speaker.name, text[0].upper() + text[1:], *intent))
        texts[f"ic/{CORPUS}/data/{split}_data.csv"] = _table(rows)
    return Plan(clips, texts)


def _headset(rng: np.random.Generator) -> Scene:
    """A microphone at the mouth: hardly any room, and always about as loud."""
    place = scene(rng, snr_db=(25.0, 40.0), channel_db=1.0)
    return replace(place, level_db=rng.uniform(-26, -23), reverb_seconds=0.1, reverb_db=-25.0)


def _name(rng: np.random.Generator) -> str:
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return "".join(rng.choice(letters, 16))


def _table(rows: list[tuple[str, ...]]) -> str:
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows((str(index), *row) for index, row in enumerate(rows))
    return file.getvalue()


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {"root": root / "ic", "file_path": root / "ic" / CORPUS}


TASK = Task("ic", plan, paths)
