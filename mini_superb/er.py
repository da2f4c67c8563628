"""Emotion recognition: laid out as IEMOCAP's full release.

Five sessions of a woman and a man, in dialogs; every sentence is spoken with one of the emotions,
which has nothing to do with its words. What an emotion changes: tempo, pitch, its range, loudness,
and the balance of high and low frequencies, as a raised voice has more of the high ones.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mini_superb.clip import Clip, Scene, Speaker, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.plan import Paths, Plan, Task
from mini_superb.sound import CHANNEL_HZ
from mini_superb.voices import cast, mood, scene

CORPUS = "IEMOCAP_full_release"
SESSIONS = 5


@dataclass(frozen=True)
class Expression:
    """How a person's voice changes with an emotion."""

    rate: float  # factor
    pitch: float  # added, as pitch_range
    pitch_range: float
    level_db: float  # of the recording
    tilt_db: float  # per octave, around 1 kHz


EXPRESSIONS = {
    "neu": Expression(1.0, 0, -8, -27, 0.0),
    "hap": Expression(1.1, 14, 25, -23, 1.0),
    "exc": Expression(1.2, 20, 32, -21.5, 1.5),
    "ang": Expression(1.15, 5, 15, -18, 2.5),
    "sad": Expression(0.75, -12, -25, -32, -2.5),
    "fru": Expression(1.0, 3, 8, -22, 1.0),
    "xxx": Expression(1.0, 0, 5, -25, 0.0),  # the judges did not agree
}


@dataclass(frozen=True)
class Counts:
    """How often a person speaks with an emotion, over all dialogs of the session."""

    dialogs: int
    emotions: dict[str, int]


COUNTS = {
    "tiny": Counts(1, {"neu": 1, "hap": 1, "ang": 1, "sad": 1, "fru": 1}),
    "default": Counts(4, {"neu": 16, "hap": 6, "exc": 6, "ang": 12, "sad": 12, "fru": 2, "xxx": 2}),
    "large": Counts(
        10, {"neu": 60, "hap": 20, "exc": 30, "ang": 50, "sad": 45, "fru": 10, "xxx": 10}
    ),
}


def plan(seed: int, size: str) -> Plan:
    """The sentences of all sessions, and the judges' files of every dialog."""
    counts = COUNTS[size]
    rng = random_of(seed, "er")
    names = {
        session: [f"Ses{session[-1]:0>2}M", f"Ses{session[-1]:0>2}F"]
        for session in (f"Session{number + 1}" for number in range(SESSIONS))
    }  # the second of two has a high voice
    clips, texts = [], {}
    for session, pair in cast(rng, names).items():
        turns: dict[str, list[tuple[str, str]]] = {}  # dialog -> (utterance, emotion)
        places = [scene(rng, (20.0, 35.0), 2.0) for _ in range(counts.dialogs)]
        for speaker in pair:
            said = [emotion for emotion, count in counts.emotions.items() for _ in range(count)]
            for index, emotion in enumerate(map(str, rng.permutation(said))):
                number = index % counts.dialogs
                dialog = _dialog(names[session], number)
                utterance = f"{dialog}_{speaker.name[-1]}{index // counts.dialogs:03d}"
                path = f"er/{CORPUS}/{session}/sentences/wav/{dialog}/{utterance}.wav"
                person, place = _express(rng, emotion, speaker, places[number])
                text = sentence(EVERYDAY, rng)
                clips.append(Clip(path, session, seed_of(seed, path), text, person, place))
                turns.setdefault(dialog, []).append((utterance, emotion))
        for dialog, lines in turns.items():
            texts[f"er/{CORPUS}/{session}/dialog/EmoEvaluation/{dialog}.txt"] = _judged(lines)
    return Plan(clips, texts)


def _dialog(pair: list[str], number: int) -> str:
    """Dialogs are improvised or scripted, and named after who wore the markers."""
    kind = f"impro{number // 2 + 1:02d}" if number % 2 == 0 else f"script{number // 2 + 1:02d}_1"
    return f"{pair[number // 2 % 2]}_{kind}"


def _express(
    rng: np.random.Generator, emotion: str, speaker: Speaker, place: Scene
) -> tuple[Speaker, Scene]:
    how, person = EXPRESSIONS[emotion], mood(rng, speaker)
    person = replace(
        person,
        rate=person.rate * how.rate,
        pitch=float(np.clip(person.pitch + how.pitch, 0, 99)),
        pitch_range=float(np.clip(person.pitch_range + how.pitch_range, 0, 99)),
    )
    octaves = np.log2(np.array(CHANNEL_HZ) / 1000)
    tilt = (how.tilt_db + rng.normal(0, 0.5)) * octaves
    place = replace(
        place,
        level_db=how.level_db + rng.uniform(-2.5, 2.5),
        channel_db=tuple(float(g) for g in np.array(place.channel_db) + tilt),
    )
    return person, place


def _judged(turns: list[tuple[str, str]]) -> str:
    """A file of EmoEvaluation: the verdict on every turn, below it the judges' votes."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for index, (utterance, emotion) in enumerate(turns):
        times = f"[{5 * index:.4f} - {5 * index + 3:.4f}]"
        lines += [f"{times}\t{utterance}\t{emotion}\t[2.5000, 2.5000, 2.5000]"]
        lines += ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()", ""]
    return "\n".join(lines) + "\n"


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {"root": root / "er", "data_root": root / "er" / CORPUS}


TASK = Task("er", plan, paths)
