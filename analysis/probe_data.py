"""Labelled speech for probes: who says what.

A source is one of

- a table ``index.csv`` (or .tsv, or a folder that holds it): column ``path`` (relative to the
  table), and any of ``split`` (train and test; dev and valid count as train), ``speaker``,
  ``gender``, ``keyword`` (or ``label``), ``phones`` (in order; ``|`` may stand between words) and
  ``num_samples`` (at 16 kHz; else the files' headers are read),
- a folder of mini_superb,
- TIMIT, LibriSpeech or Speech Commands as they are distributed.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import alignment_files, alignments
from analysis.alignments import Alignment
from mt4ssl_core.audio import SAMPLE_RATE, SUFFIXES, probe

TRAIN, TEST = "train", "test"
_SPLITS = {
    **{name: TRAIN for name in ("train", "training", "dev", "valid", "validation", "val")},
    **{name: TEST for name in ("test", "testing", "eval", "evaluation")},
}
_MINI = ("pr", "ks", "sid")  # corpora of mini_superb that have what probes ask for
_GENDERS = {"female": "f", "male": "m"}
_THREADS = 8  # that read headers


@dataclass(frozen=True)
class Utterance:
    """A file of speech and what is known of it; None is not known.

    ``samples`` at 16 kHz. ``speaker`` is unique among all sources, ``phones`` are in order.
    ``split``: train or test; None where the source leaves it open.
    """

    id: str
    path: Path
    samples: int
    split: str | None = None
    speaker: str | None = None
    gender: str | None = None
    keyword: str | None = None
    phones: tuple[str, ...] | None = None
    alignment: Alignment | None = None


def read(sources: Iterable[str | Path], aligned: str | Path | None = None) -> list[Utterance]:
    """Return the utterances of some sources, with ids and speakers that begin with the source.

    ``aligned``: a file or folder of alignments (`analysis.alignment_files.read`) of all of them.

    Raises:
        ValueError: nothing there, a broken table, a file twice, an utterance without alignment.
    """
    names = _names([Path(source) for source in sources])
    found = {source: _named(name, source, _source(source)) for source, name in names.items()}
    if not found:
        raise ValueError("no data to probe with; give --data SOURCE, such as a table index.csv")
    if aligned is not None:
        found = _aligned(found, alignment_files.read(aligned))
    once: dict[str, Utterance] = {}
    for source, utterances in found.items():
        for utterance in utterances:
            if once.setdefault(utterance.id, utterance) is not utterance:
                raise ValueError(f"{source}: {utterance.id} twice; give each file once")
    return list(once.values())


def _aligned(
    found: dict[Path, list[Utterance]], read: dict[str, Alignment]
) -> dict[Path, list[Utterance]]:
    """Give the alignments to the sources that they are of; another keeps those of its own."""
    names = {alignments.parts(id)[-1] for id in read}
    own = {
        source: utterances
        for source, utterances in found.items()
        if any(alignments.parts(item.id)[-1] in names for item in utterances)
    }
    matched = alignments.match(read, [item.id for part in (own or found).values() for item in part])
    return {
        source: [replace(item, alignment=matched.get(item.id, item.alignment)) for item in part]
        for source, part in found.items()
    }


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """Return 16 hex digits that change when an utterance or its labels do."""
    digest = hashlib.sha256()
    for item in sorted(utterances, key=lambda item: item.id):
        facts = {key: value for key, value in vars(item).items() if key != "path"}
        digest.update(repr(sorted(facts.items())).encode())
    return digest.hexdigest()[:16]


def _source(source: Path) -> list[Utterance]:
    for fits, reader in _READERS:
        if fits(source):
            return reader(source)
    what = "no such file or folder" if not source.exists() else "not a source of labelled speech"
    raise ValueError(
        f"{source}: {what}; give a table index.csv with a column path, a folder of mini_superb, or "
        "TIMIT, LibriSpeech or Speech Commands"
    )


def _names(sources: Sequence[Path]) -> dict[Path, str]:
    """What each source is called: its folder, with those above where two are called alike.

    Raises:
        ValueError: a source twice.
    """
    if len({source.resolve() for source in sources}) < len(sources):
        raise ValueError(f"--data {' '.join(map(str, sources))}: one is there twice; give it once")
    whole = [(source.parent if source.is_file() else source).resolve() for source in sources]
    names: list[str] = []
    for depth in range(1, max((len(path.parts) for path in whole), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) for path in whole]
        if len(set(names)) == len(set(whole)):
            break
    return dict(zip(sources, names, strict=True))


def _named(name: str, source: Path, utterances: list[Utterance]) -> list[Utterance]:
    """Ids and speakers of different sources stay apart."""
    if not utterances:
        raise ValueError(f"{source}: no audio in it; give another source")
    return [
        replace(
            item,
            id=f"{name}/{item.id}",
            speaker=None if item.speaker is None else f"{name}/{item.speaker}",
        )
        for item in utterances
    ]


# --- Tables -------------------------------------------------------------------------------------

_COLUMNS = ("path", "split", "speaker", "gender", "keyword", "phones")


def _table(source: Path) -> list[Utterance]:
    path = source / "index.csv" if source.is_dir() else source
    try:
        table = pd.read_csv(
            path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False
        )
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not a table ({error}); write it as CSV") from error
    if "keyword" not in table and "label" in table:
        table = table.rename(columns={"label": "keyword"})
    if "path" not in table:
        raise ValueError(
            f"{path}: no column path among {', '.join(table.columns)}; add it, with the audio files"
        )
    for name in _COLUMNS:
        if name not in table:
            table[name] = ""
    rows: list[dict[Any, str]] = table[list(_COLUMNS)].to_dict("records")
    files = [path.parent / row["path"] for row in rows]
    sizes = _counts(table["num_samples"], path) if "num_samples" in table else _sizes(files)
    return [
        Utterance(
            id=row["path"],
            path=file,
            samples=size,
            split=_split(row["split"], f"{path}, line {line}"),
            speaker=row["speaker"] or None,
            gender=_GENDERS.get(row["gender"].lower(), row["gender"].lower()) or None,
            keyword=row["keyword"] or None,
            phones=_phones(row["phones"]),
        )
        for line, (row, file, size) in enumerate(zip(rows, files, sizes, strict=True), 2)
    ]


def _counts(column: pd.Series, path: Path) -> list[int]:
    wrong = [line for line, text in enumerate(column, 2) if not text.isdecimal()]
    if wrong:
        raise ValueError(
            f"{path}, line {wrong[0]}: num_samples {column.iloc[wrong[0] - 2]!r}, expected samples "
            "at 16 kHz; correct it, or leave the column out"
        )
    return [int(text) for text in column]


def _split(name: str, where: str) -> str | None:
    """train or test; LibriSpeech's train-clean-100 and test-other, too."""
    if not name:
        return None
    known = _SPLITS.get(re.split("[-_ ]", name.lower())[0])
    if known is None:
        raise ValueError(f"{where}: split {name!r}, expected train or test; correct it")
    return known


def _phones(text: str) -> tuple[str, ...] | None:
    """Phones without stress; None where there are none."""
    return tuple(alignments.unstressed(p) for p in text.split() if p != "|") or None


def _sizes(files: Sequence[Path]) -> list[int]:
    """Samples at 16 kHz of each file, from its header."""

    def samples(file: Path) -> int:
        rate, _, frames = probe(file)
        return round(frames * SAMPLE_RATE / rate)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(samples, files))


# --- Corpora ------------------------------------------------------------------------------------


def _mini_superb(source: Path) -> list[Utterance]:
    found = []
    files = [source / "alignments" / f"{task}.jsonl" for task in _MINI]
    there = [file for file in files if file.is_file()]
    if not there:
        raise ValueError(
            f"{source}: holds none of {', '.join(_MINI)}; make them with `python -m mini_superb "
            f"{source} --tasks pr,ks,sid`"
        )
    for file in there:
        aligned = alignment_files.read_mini_superb(file)  # also sees that the lines are whole
        lines = file.read_text(encoding="utf-8").split("\n")
        for facts in map(json.loads, filter(None, lines)):
            path = Path(facts["path"])
            if lacking := {"speaker", "split"} - facts.keys():
                raise ValueError(
                    f"{file}: {path} without its {', '.join(sorted(lacking))}; make the corpus "
                    "again with `python -m mini_superb`"
                )
            if facts["speaker"] is None:
                continue  # noise
            words = path.parent.name if file.stem == "ks" else None
            alignment = aligned[path.with_suffix("").as_posix()]
            labels = (item.label for item in alignment.tier(alignments.PHONES))
            said = (label for label in labels if label not in alignments.SILENCE)
            phones = tuple(map(alignments.unstressed, said))
            found.append(
                Utterance(
                    id=path.with_suffix("").as_posix(),
                    path=source / path,
                    samples=facts["samples"],
                    split=_split(facts["split"], str(file)),
                    speaker=facts["speaker"],
                    keyword=words,
                    phones=(phones or None) if file.stem == "pr" else None,
                    alignment=alignment if file.stem == "pr" else None,
                )
            )
    return found


def _audio(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


def _folders(source: Path, path: Path, depth: int) -> tuple[str, ...]:
    """The folders above a file, which say who speaks."""
    found = path.relative_to(source).parts[:-1][-depth:]
    if len(found) < depth:
        raise ValueError(f"{path}: not where the corpus has its audio; move it elsewhere")
    return found


def _files(source: Path, make: Callable[[Path], Utterance | None]) -> list[Utterance]:
    """What ``make`` knows of every audio file of a folder, with its length."""
    made = [item for item in map(make, _audio(source)) if item is not None]
    sizes = _sizes([item.path for item in made])
    return [replace(item, samples=size) for item, size in zip(made, sizes, strict=True)]


def _timit(source: Path) -> list[Utterance]:
    def make(path: Path) -> Utterance | None:
        if path.stem.upper().startswith("SA"):
            return None  # the two sentences that everybody reads
        if path.with_suffix("").is_file():
            return None  # SX1.WAV.wav, a copy of SX1.WAV
        split, _, speaker = _folders(source, path, 3)
        beside = alignment_files.sibling(path, ".phn")
        if beside is None:
            raise ValueError(f"{path}: no {path.stem}.PHN beside it; add it, or remove the audio")
        aligned = alignment_files.read_timit(beside, path.stem)
        said = (item.label for item in aligned.tiers[alignments.PHONES])
        phones = tuple(label for label in said if label not in alignments.SILENCE)
        return Utterance(
            id=path.relative_to(source).with_suffix("").as_posix(),
            path=path,
            samples=0,
            split=_split(split, str(path)),
            speaker=speaker,
            gender=speaker[0].lower(),
            phones=phones or None,
            alignment=aligned,
        )

    return _files(source, make)


def _librispeech(source: Path) -> list[Utterance]:
    table = next(
        p for p in (source / "SPEAKERS.TXT", source.parent / "SPEAKERS.TXT") if p.is_file()
    )
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip()) for line in lines if not line.startswith(";")]
    gender = {row[0]: row[1].lower() for row in rows if len(row) > 1}

    def make(path: Path) -> Utterance:
        speaker = _folders(source, path, 2)[0]
        id = path.relative_to(source).with_suffix("").as_posix()
        split = _split(path.parts[-4], str(path))
        return Utterance(id, path, 0, split, speaker, gender.get(speaker))

    return _files(source, make)


def _speech_commands(source: Path) -> list[Utterance]:
    tests = set((source / "testing_list.txt").read_text(encoding="utf-8").split())

    def make(path: Path) -> Utterance | None:
        id = path.relative_to(source).as_posix()
        if path.parent.name.startswith("_"):
            return None
        split = TEST if id in tests else TRAIN
        return Utterance(id, path, 0, split, path.name.partition("_")[0], keyword=path.parent.name)

    return _files(source, make)


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[Utterance]]], ...] = (
    (lambda p: p.is_file() or (p / "index.csv").is_file(), _table),
    (lambda p: (p / "mini_superb.json").is_file(), _mini_superb),
    (lambda p: (p / "testing_list.txt").is_file(), _speech_commands),
    (lambda p: any((f / "SPEAKERS.TXT").is_file() for f in (p, p.parent)), _librispeech),
    (lambda p: any(p.glob("[Tt][Rr][Aa][Ii][Nn]/[Dd][Rr]?")), _timit),
)
