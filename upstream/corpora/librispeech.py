"""LibriSpeech, for phone and speech recognition: ``SPLIT/SPEAKER/CHAPTER/S-C-0000.flac``."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.texts import read_text

SPLITS = ("train-clean-100", "dev-clean", "test-clean")
SOURCE = "https://www.openslr.org/12"
_REMEDY = f"unpack LibriSpeech again ({SOURCE})"


class TranscribedUtterance(NamedTuple):
    """An utterance of a transcript; ``audio`` is None when its file is not there."""

    name: str
    text: str
    audio: Path | None


def folder(base: Path) -> Path:
    """Return the folder that holds the splits: ``base/LibriSpeech`` or ``base``."""
    return inner(base, "LibriSpeech")


def transcripts(base: Path, split: str) -> list[Path]:
    """Return the transcript files of a split."""
    return sorted((folder(base) / split).glob("*/*/*.trans.txt"))


def utterances(base: Path, split: str) -> Iterator[TranscribedUtterance]:
    """Yield what the transcripts of a split name, in their order."""
    for file in transcripts(base, split):
        there = {path.stem: path for path in file.parent.iterdir() if _is_audio(path)}
        for line in read_text(file).splitlines():
            name, _, text = line.strip().partition(" ")
            if name:
                yield TranscribedUtterance(name, text, there.get(name))


def _is_audio(path: Path) -> bool:
    return path.suffix in (".flac", ".wav")


class CorpusContents(NamedTuple):
    """What is in a LibriSpeech folder: utterances per split, what is wrong, hours, all words."""

    counts: dict[str, int]
    problems: list[str]
    hours: float
    words: set[str]


def inspect(base: Path) -> CorpusContents:
    """Count utterances and look for what is missing; hours are estimated from a sample."""
    counts, problems, hours, words = {}, [], 0.0, set()
    for split in SPLITS:
        found = list(utterances(base, split))
        counts[split] = len(found)
        if not found:
            problems.append(_nothing(folder(base) / split))
            continue
        words |= {word for utterance in found for word in utterance.text.split()}
        silent = [utterance.name for utterance in found if not utterance.text]
        if silent:
            problems.append(
                f"{folder(base) / split}: no words for {name_some(silent)} in the transcripts; "
                f"{_REMEDY}"
            )
        if lost := [utterance.name for utterance in found if utterance.audio is None]:
            problems.append(
                f"{folder(base) / split}: the transcripts name {len(lost)} utterances whose audio "
                f"is missing ({name_some(lost)}); {_REMEDY}"
            )
        files = [utterance.audio for utterance in found if utterance.audio]
        wrong, length = sample_headers(files, SAMPLE_RATE, _REMEDY)
        problems += wrong
        hours += length
    return CorpusContents(counts, problems, hours, words)


def _nothing(split: Path) -> str:
    if not split.is_dir():
        return f"{split}: no such folder; download it from {SOURCE} and unpack it there"
    if any(split.glob("*/*/*.normalized.txt")):
        return f"{split}: this is LibriTTS, not LibriSpeech; get {SOURCE}"
    return f"{split}: no SPEAKER/CHAPTER/*.trans.txt in it; {_REMEDY}"
