"""Speech recognition: laid out as LibriSpeech, with a 4-gram language model and its lexicon.

The words are few and spelt as they sound, so that a small head learns to write them in minutes.
"""

from dataclasses import dataclass
from pathlib import Path

from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import Grammar, phrases, sentence, vocabulary, words
from mini_superb.ngram import BackOff
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import AMERICAN, cast, mood, scene

CORPUS = "asr/LibriSpeech"
SPLITS = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}
LANGUAGE_MODEL, LEXICON = "asr/4-gram.arpa", "asr/librispeech_lexicon.lst"
ORDER = 4

GRAMMAR: Grammar = {
    "S": phrases("WHO DID THING | WHO DID THING | WHEN WHO DID THING | WHO DID THING PLACE"),
    "WHO": words("we they anna sam"),
    "DID": words("sent lost held found"),
    "THING": phrases("the NOUN | the COLOR NOUN | NUMBER NOUN"),
    "COLOR": words("red old"),
    "NOUN": words("hat ship fish dog"),
    "NUMBER": words("six ten"),
    "WHEN": words("soon then"),
    "PLACE": phrases("at home | in april"),
}


@dataclass(frozen=True)
class Counts:
    """(speakers, utterances of each) for every split."""

    train: tuple[int, int]
    valid: tuple[int, int]
    test: tuple[int, int]


COUNTS = {
    "tiny": Counts((3, 3), (2, 2), (2, 2)),
    "default": Counts((30, 17), (8, 5), (10, 6)),
    "large": Counts((120, 25), (20, 20), (20, 20)),
}


def plan(seed: int, size: str) -> Plan:
    """Utterances of 1-2.5 s with transcripts, and the language model of those to train on."""
    counts = COUNTS[size]
    rng = random_of(seed, "asr")
    numbers = iter(rng.permutation(8000) + 100)
    groups = {
        split: [str(next(numbers)) for _ in range(getattr(counts, split)[0])] for split in SPLITS
    }
    clips, texts = [], {}
    for split, speakers in cast(rng, groups, AMERICAN).items():
        for speaker in speakers:
            chapter = str(rng.integers(100_000, 300_000))
            folder = f"{CORPUS}/{SPLITS[split]}/{speaker.name}/{chapter}"
            lines = []
            for index in range(getattr(counts, split)[1]):
                name = f"{speaker.name}-{chapter}-{index:04d}"
                path, text = f"{folder}/{name}.flac", sentence(GRAMMAR, rng)
                here, person = scene(rng), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), text, person, here))
                lines.append(f"{name} {text.upper()}\n")
            texts[f"{folder}/{speaker.name}-{chapter}.trans.txt"] = "".join(lines)
    return Plan(clips, texts | _language(clips))


def _language(clips: list[Clip]) -> dict[str, str]:
    """The 4-gram of the training sentences, and how each word is spelt."""
    said = [clip.text.upper() for clip in clips if clip.split == "train"]
    known = [word.upper() for word in vocabulary(GRAMMAR)]
    return {
        LANGUAGE_MODEL: BackOff(said, ORDER).arpa(),
        LEXICON: "".join(f"{word}\t{' '.join(word)} |\n" for word in known),
    }


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {
        "root": root / "asr",
        "libri_root": root / CORPUS,
        "kenlm_model": root / LANGUAGE_MODEL,
        "lexicon": root / LEXICON,
    }


TASK = Task("asr", plan, paths)
