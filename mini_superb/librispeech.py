"""What the corpora that are, or are made of, LibriSpeech have in common: its names and folders."""

import numpy as np

from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import Grammar, sentence
from mini_superb.plan import SPLITS, Counts
from mini_superb.voices import AMERICAN, cast, mood, scene

FOLDERS = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}


def readers(rng: np.random.Generator, counts: Counts) -> dict[str, list[str]]:
    """The numbers of the people of every split."""
    numbers = iter(rng.permutation(8000) + 100)
    return {split: [str(next(numbers)) for _ in range(counts.speakers(split))] for split in SPLITS}


def chapter(rng: np.random.Generator) -> str:
    """The number of a chapter."""
    return str(rng.integers(100_000, 300_000))


def recorded(
    seed: int, task: str, counts: Counts, grammar: Grammar
) -> tuple[list[Clip], dict[str, str]]:
    """Utterances in ``TASK/LibriSpeech/SPLIT/READER/CHAPTER``, and their transcripts by path."""
    rng = random_of(seed, task)
    clips, texts = [], {}
    for split, speakers in cast(rng, readers(rng, counts), AMERICAN).items():
        for speaker in speakers:
            book = f"{speaker.name}-{chapter(rng)}"
            folder = f"{task}/LibriSpeech/{FOLDERS[split]}/{book.replace('-', '/')}"
            lines = []
            for index in range(counts.utterances(split)):
                name = f"{book}-{index:04d}"
                path, text = f"{folder}/{name}.flac", sentence(grammar, rng)
                here, person = scene(rng), mood(rng, speaker)
                clips.append(Clip(path, split, seed_of(seed, path), text, person, here))
                lines.append(f"{name} {text.upper()}\n")
            texts[f"{folder}/{book}.trans.txt"] = "".join(lines)
    return clips, texts
