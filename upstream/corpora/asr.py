"""LibriSpeech for speech recognition, and what is made of it.

``prepared/asr/len_for_bucket/SPLIT.csv`` has every audio file with its length in samples, the
longest first (columns: a number, file_path relative to LibriSpeech, length, label, which is empty).
``prepared/asr/char.dict`` has the characters of English transcripts, one ``SYMBOL COUNT`` a line,
the most frequent first; ``|`` ends a word.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import ascii_uppercase

import soundfile

from mt4ssl_core.bars import Bar
from mt4ssl_core.files import write_text
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import librispeech, prepared
from upstream.corpora.audio_checks import name_some
from upstream.corpora.librispeech import SPLITS, TranscribedUtterance
from upstream.corpora.survey import Survey

BUCKETS, DICTIONARY = "len_for_bucket", "char.dict"
WORD_END = "|"
SYMBOLS = (WORD_END, "'", *ascii_uppercase)


def survey(root: Path) -> Survey:
    """Count utterances; list what is missing or has characters that the dictionary lacks."""
    found = librispeech.inspect(root)
    letters = {letter for word in found.words for letter in word.upper()}
    problems = list(found.problems)
    if strange := sorted(letters - set(SYMBOLS)):
        problems.append(
            f"{librispeech.folder(root)}: the transcripts have {name_some(strange, 10)}, not only "
            "the letters A-Z and '; spell these words out"
        )
    return Survey(found.counts, problems, found.hours)


def prepare(root: Path) -> None:
    """Write the lengths of all audio files and the characters' dictionary.

    Raises:
        ValueError: a split, a transcript or an audio file is missing.
    """
    folder, files = root / prepared.FOLDER / "asr", []
    for split in SPLITS:
        found = librispeech.transcripts(root, split)
        files += found + [path for file in found for path in file.parent.iterdir()]
    if not files:
        raise ValueError("; ".join(librispeech.inspect(root).problems))
    prepared.remake(folder, prepared.stamp_of(files), lambda: _make(root, folder))


def _make(root: Path, folder: Path) -> None:
    found = {split: list(librispeech.utterances(root, split)) for split in SPLITS}
    if any(not u or any(utterance.audio is None for utterance in u) for u in found.values()):
        raise ValueError("; ".join(librispeech.inspect(root).problems))
    for split, utterances in found.items():
        paths = [utterance.audio for utterance in utterances if utterance.audio]
        write_text(folder / BUCKETS / f"{split}.csv", table(measured(root, split, paths)))
    write_text(folder / DICTIONARY, _dictionary(found["train-clean-100"]))


def measured(root: Path, what: str, paths: list[Path]) -> list[tuple[str, int]]:
    """Return paths relative to LibriSpeech's folder, with their lengths in samples.

    Raises:
        ValueError: a file is not readable as audio, or has another rate.
    """
    with ThreadPoolExecutor() as pool:
        bar = Bar(f"lengths of {what}", len(paths))
        lengths = list(bar.over(pool.map(_samples, paths)))
    base = librispeech.folder(root)
    return [(str(p.relative_to(base)), n) for p, n in zip(paths, lengths, strict=True)]


def table(rows: Iterable[tuple[str, int]]) -> str:
    """Return the table of a split, the longest first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", "file_path", "length", "label"])
    for number, (path, length) in enumerate(sorted(rows, key=lambda row: (-row[1], row[0]))):
        writer.writerow([number, path, length, ""])
    return text.getvalue()


def _samples(path: Path) -> int:
    try:
        header = soundfile.info(path)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{path}: not readable as audio ({error}); unpack it again") from error
    if header.samplerate != SAMPLE_RATE:
        raise ValueError(
            f"{path}: {header.samplerate} Hz, LibriSpeech has {SAMPLE_RATE}; unpack it again"
        )
    return int(header.frames)


def _dictionary(utterances: list[TranscribedUtterance]) -> str:
    counts = Counter({symbol: 0 for symbol in SYMBOLS})
    for utterance in utterances:
        counts.update(f"{WORD_END.join(utterance.text.upper().split())}{WORD_END}")
    order = sorted(SYMBOLS, key=lambda symbol: (-counts[symbol], symbol))
    return "".join(f"{symbol} {counts[symbol]}\n" for symbol in order)
