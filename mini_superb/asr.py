"""Speech recognition: laid out as LibriSpeech, with a 4-gram language model and its lexicon.

The words are few and spelt as they sound, so that a small head learns to write them in minutes.
"""

from pathlib import Path

from mini_superb.clip import Clip
from mini_superb.grammar import Grammar, phrases, vocabulary, words
from mini_superb.librispeech import recorded
from mini_superb.ngram import BackOff
from mini_superb.plan import Counts, Paths, Plan, Task

CORPUS = "asr/LibriSpeech"
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


COUNTS = {
    "tiny": Counts((3, 3), (2, 2), (2, 2)),
    "default": Counts((30, 17), (8, 5), (10, 6)),
    "large": Counts((120, 25), (20, 20), (20, 20)),
}


def plan(seed: int, size: str) -> Plan:
    """Utterances of 1-2.5 s with transcripts, and the language model of those to train on."""
    clips, texts = recorded(seed, "asr", COUNTS[size], GRAMMAR)
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
