"""Sources of labelled speech for probes: who says what.

A source is one of

- a table ``index.csv`` (or .tsv, or a folder that holds it): column ``path`` (relative to the
  table), and any of ``split`` (train and test; dev and valid count as train), ``speaker``,
  ``gender``, ``keyword`` (or ``label``), ``phones`` (in order; ``|`` may stand between words) and
  ``num_samples`` (at 16 kHz; else the files' headers are read),
- a folder of mini_superb,
- TIMIT, LibriSpeech or Speech Commands as they are distributed.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.labelled_speech import alignment_files, alignments
from analysis.labelled_speech.alignments import Alignment
from mt4ssl_core.data import csv_tables
from mt4ssl_core.data.audio import SAMPLE_RATE, SUFFIXES, read_header
from mt4ssl_core.data.csv_tables import TEST, TRAIN, split_of
from mt4ssl_core.files import user_path

_MINI = ("pr", "ks", "sid")  # corpora of mini_superb that have what probes ask for
_GENDERS = {"female": "f", "male": "m"}
_THREADS = 8  # that read headers


@dataclass(frozen=True)
class LabelledUtterance:
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
    problem: str = ""  # why its audio cannot be read


def read_source(source: Path) -> list[LabelledUtterance]:
    """Return the utterances of one source; those whose audio cannot be read have a ``problem``.

    Raises:
        ValueError: not a source, a broken table, or a corpus that is laid out otherwise.
    """
    for fits, reader in _READERS:
        if fits(source):
            return reader(source)
    what = "no such file or folder" if not source.exists() else "not a source of labelled speech"
    raise ValueError(
        f"{source}: {what}; give a table index.csv with a column path, a folder of mini_superb, or "
        "TIMIT, LibriSpeech or Speech Commands"
    )


# --- Tables -------------------------------------------------------------------------------------


def _table(source: Path) -> list[LabelledUtterance]:
    path = source / "index.csv" if source.is_dir() else source
    columns, found = csv_tables.read_table(path, ["path"], "\t" if path.suffix == ".tsv" else ",")
    for line, row in found:
        if not row["path"].strip():
            raise ValueError(f"{path}, line {line}: no path; add it, or remove the line")
    files = [path.parent / user_path(row["path"]) for _, row in found]
    counted = "num_samples" in columns
    sizes = [_count(line, row, path) for line, row in found] if counted else _sizes(files)
    keyword = "keyword" if "keyword" in columns else "label"
    return [
        LabelledUtterance(
            id=row["path"],
            path=file,
            samples=size if isinstance(size, int) else 0,
            problem="" if isinstance(size, int) else size,
            split=split_of(row.get("split", ""), f"{path}, line {line}"),
            speaker=row.get("speaker") or None,
            gender=_gender(row.get("gender", "")),
            keyword=row.get(keyword) or None,
            phones=_phones(row.get("phones", "")),
        )
        for (line, row), file, size in zip(found, files, sizes, strict=True)
    ]


def _gender(text: str) -> str | None:
    return _GENDERS.get(text.lower(), text.lower()) or None


def _count(line: int, row: dict[str, str], path: Path) -> int:
    text = row["num_samples"]
    if not (text.isdecimal() and len(text) < 16):
        raise ValueError(
            f"{path}, line {line}: num_samples {text!r}, expected samples at 16 kHz; correct it, "
            "or leave the column out"
        )
    return int(text)


def _phones(text: str) -> tuple[str, ...] | None:
    """Phones without stress; None where there are none."""
    return tuple(alignments.unstressed(p) for p in text.split() if p != "|") or None


def _sizes(files: Sequence[Path]) -> list[int | str]:
    """Samples at 16 kHz of each file, from its header; or why it cannot be read."""

    def samples(file: Path) -> int | str:
        if file.exists() and not file.is_file():
            return f"{file}: a pipe or device, expected a file; leave it out"
        try:
            rate, _, frames = read_header(file)
        except ValueError as error:
            return str(error)
        return round(frames * SAMPLE_RATE / rate)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(samples, files))


# --- Corpora ------------------------------------------------------------------------------------


def _mini_superb(source: Path) -> list[LabelledUtterance]:
    found = []
    files = [source / "alignments" / f"{task}.jsonl" for task in _MINI]
    there = [file for file in files if file.is_file()]
    if not there:
        raise ValueError(
            f"{source}: holds none of {', '.join(_MINI)}; make them with `mt4ssl mini "
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
                    "again with `mt4ssl mini`"
                )
            if facts["speaker"] is None:
                continue  # noise
            words = path.parent.name if file.stem == "ks" else None
            alignment = aligned[path.with_suffix("").as_posix()]
            labels = (item.label for item in alignment.tiers.get(alignments.PHONES, ()))
            said = (label for label in labels if label not in alignments.SILENCE)
            phones = tuple(map(alignments.unstressed, said))
            found.append(
                LabelledUtterance(
                    id=path.with_suffix("").as_posix(),
                    path=source / path,
                    samples=facts["samples"],
                    split=split_of(facts["split"], str(file)),
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


def _files(
    source: Path, make: Callable[[Path], LabelledUtterance | None]
) -> list[LabelledUtterance]:
    """What ``make`` knows of every audio file of a folder, with its length."""
    made = [item for item in map(make, _audio(source)) if item is not None]
    sizes = _sizes([item.path for item in made])
    return [
        replace(item, samples=size) if isinstance(size, int) else replace(item, problem=size)
        for item, size in zip(made, sizes, strict=True)
    ]


def _timit(source: Path) -> list[LabelledUtterance]:
    def make(path: Path) -> LabelledUtterance | None:
        if path.stem.upper().startswith("SA"):
            return None  # the two sentences that everybody reads
        if path.with_suffix("").is_file():
            return None  # SX1.WAV.wav, a copy of SX1.WAV
        split, _, speaker = _folders(source, path, 3)
        beside = alignment_files.sibling(path, ".phn")
        if beside is None:
            lacking = {"": f"{path}: no {path.stem}.PHN beside it; add it"}
            aligned = Alignment(path.stem, {}, None, str(path), lacking)
        else:
            aligned = alignment_files.read_timit(beside, path.stem)
        said = (item.label for item in aligned.tiers.get(alignments.PHONES, ()))
        phones = tuple(label for label in said if label not in alignments.SILENCE)
        return LabelledUtterance(
            id=path.relative_to(source).with_suffix("").as_posix(),
            path=path,
            samples=0,
            split=split_of(split, str(path)),
            speaker=speaker,
            gender=speaker[0].lower(),
            phones=phones or None,
            alignment=aligned,
        )

    return _files(source, make)


def _librispeech(source: Path) -> list[LabelledUtterance]:
    table = next(
        p for p in (source / "SPEAKERS.TXT", source.parent / "SPEAKERS.TXT") if p.is_file()
    )
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip()) for line in lines if not line.startswith(";")]
    gender = {row[0]: row[1].lower() for row in rows if len(row) > 1}

    def make(path: Path) -> LabelledUtterance:
        speaker = _folders(source, path, 2)[0]
        id = path.relative_to(source).with_suffix("").as_posix()
        split = split_of(path.parts[-4], str(path))
        return LabelledUtterance(id, path, 0, split, speaker, gender.get(speaker))

    return _files(source, make)


def _speech_commands(source: Path) -> list[LabelledUtterance]:
    tests = set((source / "testing_list.txt").read_text(encoding="utf-8").split())

    def make(path: Path) -> LabelledUtterance | None:
        id = path.relative_to(source).as_posix()
        if path.parent.name.startswith("_"):
            return None
        split = TEST if id in tests else TRAIN
        return LabelledUtterance(
            id, path, 0, split, path.name.partition("_")[0], keyword=path.parent.name
        )

    return _files(source, make)


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[LabelledUtterance]]], ...] = (
    (lambda p: p.is_file() or (p / "index.csv").is_file(), _table),
    (lambda p: (p / "mini_superb.json").is_file(), _mini_superb),
    (lambda p: (p / "testing_list.txt").is_file(), _speech_commands),
    (lambda p: any((f / "SPEAKERS.TXT").is_file() for f in (p, p.parent)), _librispeech),
    (lambda p: any(p.glob("[Tt][Rr][Aa][Ii][Nn]/[Dd][Rr]?")), _timit),
)
