"""Common Voice 7.0 for out-of-domain speech recognition, and what is made of it.

``prepared/ood/LANGUAGE/{train,dev,test}.tsv`` (a header, then ``path`` and ``sentence``, the
longest first), ``prepared/ood/LANGUAGE/clips/*.wav`` at 16 kHz and
``prepared/ood/LANGUAGE/vocab.txt`` (one character a line), for each of es, zh-CN and ar that is
there. SUPERB takes the Mexican part of es, and sentences without the letters of other scripts.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import soundfile

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave
from mt4ssl_core.files import atomic_path, reading, write_text
from upstream.corpora import prepared
from upstream.corpora.audio_checks import evenly, name_some
from upstream.corpora.survey import Survey
from upstream.door import tasks

LANGUAGES = ("es", "zh-CN", "ar")
DEFAULT = "es"  # of downstream_configs/ood.yaml
SPLITS = ("train", "dev", "test")
RELEASE = "cv-corpus-7.0-2021-07-21"
ACCENT = {"es": "mexicano"}
SCRIPT = {"es": "LATIN ", "zh-CN": "CJK ", "ar": "ARABIC "}  # how the names of its letters begin


class Clip(NamedTuple):
    """A line of Common Voice: the audio and the normalised sentence."""

    audio: Path
    sentence: str


def survey(root: Path) -> Survey:
    """Count the clips that the task takes; list missing ones and other releases."""
    found = {language: folder(root, language) for language in LANGUAGES}
    there = {language: base for language, base in found.items() if base is not None}
    counts, problems = {}, []
    if DEFAULT not in there:
        problems.append(_missing(root))
    for language, base in there.items():
        for split in SPLITS:
            name = split if language == DEFAULT else f"{language}/{split}"
            try:
                clips = read(base, language, split)
            except ValueError as error:
                problems.append(str(error))
                continue
            counts[name] = len(clips)
            problems += _lost(base, split, clips)
    return Survey(counts, problems, None)


def _missing(root: Path) -> str:
    source = tasks.header("ood")["corpus"]["source"][0]
    where = f"{root / RELEASE / DEFAULT}: no such folder"
    if other := sorted(root.glob("cv-corpus-*")):
        where = f"{other[0]}: another release of Common Voice, or without {DEFAULT}"
    return (
        f"{where}; get Common Voice Corpus 7.0, language {DEFAULT}, from {source} and put it at "
        f"{root / RELEASE / DEFAULT}"
    )


def _lost(base: Path, split: str, clips: list[Clip]) -> list[str]:
    remedy = "unpack the clips of Common Voice 7.0 again"
    problems = []
    if not clips:
        problems.append(f"{base / f'{split}.tsv'}: no clip that the task can use; {remedy}")
    if lost := [clip.audio.name for clip in clips if not clip.audio.is_file()]:
        problems.append(
            f"{base / 'clips'}: {len(lost)} clips of {split}.tsv are missing ({name_some(lost)}); "
            f"{remedy}"
        )
    for clip in evenly([clip for clip in clips if clip.audio.is_file()]):
        try:
            soundfile.info(clip.audio)
        except soundfile.SoundFileError as error:
            problems.append(f"{clip.audio}: not readable as audio ({error}); {remedy}")
    return problems


def folder(root: Path, language: str) -> Path | None:
    """Return the folder of a language of release 7.0 at or below ``root``, if it is there."""
    here = [root / RELEASE / language, root / language]
    here += [root] if root.name == language else []
    return next((path for path in here if (path / "clips").is_dir()), None)


def read(base: Path, language: str, split: str) -> list[Clip]:
    """Return the clips of a split that the task takes, in their order.

    Raises:
        ValueError: there is no such list, or it is one of another release.
    """
    path = base / f"{split}.tsv"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; unpack Common Voice 7.0 ({language}) again")
    with reading(path), open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        lacking = {"path", "sentence", "accent"} - set(rows.fieldnames or ())
        if lacking:
            raise ValueError(
                f"{path}: no column {', '.join(sorted(lacking))}; is it release 7.0 (2021-07-21)? "
                "Later ones name and fill their columns otherwise; get that one"
            )
        return list(_taken(rows, base / "clips", language))


def _taken(rows: Iterable[dict[str, str]], clips: Path, language: str) -> Iterator[Clip]:
    for row in rows:
        sentence = plain_sentence(row["sentence"], language)
        if sentence and row["accent"] == ACCENT.get(language, row["accent"]):
            yield Clip(clips / row["path"], sentence)


def plain_sentence(sentence: str, language: str) -> str:
    """Return the sentence in capitals without punctuation; "" when the task leaves it out.

    Kept are letters, digits, apostrophes and, in Chinese not, spaces. A sentence with letters of
    another script is left out.
    """
    text = unicodedata.normalize("NFKC", sentence).upper().replace("\u2019", "'")
    kept = "".join(c if _is_kept(c) else " " for c in text)
    kept = re.sub(" +", "" if language == "zh-CN" else " ", kept).strip()
    if language != "es" and "'" in kept:
        return ""
    letters = [c for c in kept if unicodedata.category(c) in ("Lu", "Ll", "Lo")]
    known = all(unicodedata.name(c, "").startswith(SCRIPT[language]) for c in letters)
    return kept if known else ""


def _is_kept(character: str) -> bool:
    kind = unicodedata.category(character)
    accent = "\u0300" <= character <= "\u036f"  # alone: what NFKC could not put on a letter
    return character == "'" or (kind[0] in "LMN" and kind != "Lm" and not accent)


def prepare(root: Path) -> None:
    """Write lists, vocabulary and 16 kHz clips of every language that is there.

    Raises:
        ValueError: the default language is not there, or one is incomplete.
    """
    there = {language: base for language in LANGUAGES if (base := folder(root, language))}
    if DEFAULT not in there:
        raise ValueError(_missing(root))
    for language, base in there.items():
        lists = [base / f"{split}.tsv" for split in SPLITS]
        target = root / prepared.FOLDER / "ood" / language
        clips = {split: read(base, language, split) for split in SPLITS}
        if problems := [p for split in SPLITS for p in _lost(base, split, clips[split])]:
            raise ValueError("; ".join(problems))
        stamp = prepared.stamp_of(lists)
        prepared.remake(target, stamp, partial(_make, target, clips))


def _make(target: Path, clips: dict[str, list[Clip]]) -> None:
    (target / "clips").mkdir(parents=True, exist_ok=True)
    for split, taken in clips.items():
        convert = partial(_convert, target / "clips")
        bar = Bar(f"{target.name} {split}", len(taken))
        with ThreadPoolExecutor() as pool:
            seconds = list(bar.over(pool.map(convert, (clip.audio for clip in taken))))
        order = sorted(zip(seconds, taken, strict=True), key=lambda pair: (-pair[0], pair[1]))
        lines = [f"{clip.audio.stem}.wav\t{clip.sentence}\n" for _, clip in order]
        write_text(target / f"{split}.tsv", "".join(["path\tsentence\n", *lines]))
    characters = sorted({character for clip in clips["train"] for character in clip.sentence})
    write_text(target / "vocab.txt", "".join(f"{character}\n" for character in characters))


def _convert(folder: Path, audio: Path) -> float:
    """Write a clip at 16 kHz, unless it is there; return its length in seconds."""
    path = folder / f"{audio.stem}.wav"
    if not path.is_file():
        with atomic_path(path) as temporary:
            wave = load_wave(audio)
            soundfile.write(temporary, wave, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    header = soundfile.info(path)
    return header.frames / header.samplerate
