"""Kaldi's data folders, and the checks that the corpora made into such folders share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import soundfile
import soxr

from mt4ssl_core.bars import Bar
from mt4ssl_core.files import atomic_path, write_text
from upstream.corpora.audio_checks import name_some
from upstream.corpora.texts import read_text


def read_scp(path: Path) -> dict[str, list[str]]:
    """Return the lines of a file such as wav.scp: first field -> the others."""
    lines = (line.split() for line in read_text(path).splitlines())
    return {fields[0]: fields[1:] for fields in lines if fields}


def write_table(path: Path, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write lines of fields, sorted by the first one."""
    ordered = sorted(rows, key=lambda row: str(row[0]))
    write_text(path, "".join(" ".join(map(str, row)) + "\n" for row in ordered))


def write_utterances(folder: Path, wavs: dict[str, Path]) -> None:
    """Write wav.scp, utt2spk and spk2utt of utterances that count as speakers of their own."""
    write_table(folder / "wav.scp", ((name, path.absolute()) for name, path in wavs.items()))
    for table in ("utt2spk", "spk2utt"):
        write_table(folder / table, ((name, name) for name in wavs))


def wavs_of(folder: Path) -> dict[str, Path]:
    """Return the wav files of a folder by their names without suffix."""
    return {path.stem: path for path in sorted(folder.glob("*.wav"))}


def possible_places(root: Path, tree: str) -> list[Path]:
    """Return where the folder ``tree`` may be if ``root`` is it or any folder on the way to it."""
    parts = Path(tree).parts
    return [root / Path(*parts[k:]) for k in range(len(parts) + 1)]


def blanks(folder: Path) -> list[str]:
    """Return a sentence when the path has a blank, which s3prl's lists cannot hold."""
    if not any(character.isspace() for character in str(folder)):
        return []
    return [f"{folder}: the path has a blank, which s3prl's file lists cannot hold; rename it"]


def missing_files(names: Iterable[str], folder: Path, remedy: str) -> list[str]:
    """Return a sentence on the files missing from ``folder``; none when there are none."""
    lacking = sorted(names)
    return [f"{folder}: {name_some(lacking)} missing; {remedy}"] if lacking else []


def unequal_lengths(groups: Iterable[list[Path]], remedy: str) -> list[str]:
    """Return a sentence for every group of files of unequal length, as far as they are readable."""
    problems = []
    for paths in groups:
        try:
            lengths = [soundfile.info(path).frames for path in paths]
        except (soundfile.SoundFileError, OSError):
            continue
        if len(set(lengths)) > 1:
            shown = ", ".join(map(str, lengths))
            names = ", ".join(map(str, paths))
            problems.append(f"{names}: {shown} samples, must be equally long; {remedy}")
    return problems


def refuse_corpus(what: str, problems: list[str]) -> None:
    """Raise ValueError with all problems of a corpus, when there are any."""
    if problems:
        raise ValueError(f"{what} cannot be prepared:\n" + "\n".join(problems))


def resampled(wavs: dict[str, Path], folder: Path, rate: int) -> dict[str, Path]:
    """Write copies at ``rate`` Hz to ``folder``, but for those that are there; return them."""
    copies = {name: folder / f"{name}.wav" for name in wavs}
    for name, path in Bar(folder.name, len(wavs)).over(wavs.items()):
        if copies[name].is_file() and copies[name].stat().st_mtime >= path.stat().st_mtime:
            continue
        wave, theirs = soundfile.read(path, dtype="float32")
        with atomic_path(copies[name]) as temporary:
            wave = soxr.resample(wave, theirs, rate)
            soundfile.write(temporary, wave, rate, subtype="PCM_16", format="WAV")
    return copies
