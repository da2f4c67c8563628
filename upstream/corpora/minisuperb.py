"""What MiniSUPERB (arXiv 2305.19011) trains on: a part of LibriSpeech and of VoxCeleb1.

Its lists are made by ``subsample.py`` of github.com/Comet0322/MiniSUPERB. dev and test are whole.

- ASR: the ten hours of Libri-light (``librispeech_finetuning`` beside LibriSpeech's splits), which
  its config names. Where they are not, ten hours are drawn from train-clean-100; MiniSUPERB's
  script draws a tenth of its files, which is the same size.
- SID: one training utterance of every speaker, the same ones that its script draws.
"""

import csv
import hashlib
import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mt4ssl_core.files import write_text
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import asr, librispeech, prepared, sid, voxceleb
from upstream.corpora.survey import base
from upstream.corpora.texts import read_text

HOURS, TEN_HOURS = 10.0, "ten-hours"  # the list's name is that of a split in the YAML
LIBRI_LIGHT = "librispeech_finetuning"
SEED = 42  # of both scripts


@dataclass(frozen=True)
class Part:
    """``paths``: keys of the config to set; ``about``: what a record says of the part."""

    paths: Mapping[str, str]
    about: Mapping[str, Any]


def part(code: str, root: str | Path) -> Part:
    """Return what is trained on of a task's prepared corpus, drawn now or before.

    Raises:
        ValueError: it cannot be drawn or written.
    """
    return PARTS[code](base(root, code))


def ten_hours(root: Path) -> Part:
    """Return ten hours of speech with transcripts, or all of train-clean-100 where that is less.

    Raises:
        ValueError: the lengths of LibriSpeech's files were not prepared, or an audio file of
            Libri-light cannot be read.
    """
    lengths, folder = root / prepared.FOLDER / "asr" / asr.BUCKETS, _folder(root, "asr")
    files = [lengths / f"{split}.csv" for split in librispeech.SPLITS]
    light = sorted((librispeech.folder(root) / LIBRI_LIGHT).rglob("*.flac"))

    def make() -> None:
        rows = asr.measured(root, TEN_HOURS, light) if light else _drawn(files[0])
        write_text(folder / f"{TEN_HOURS}.csv", asr.table(rows))
        for file in files:
            write_text(folder / file.name, read_text(file))

    prepared.remake(folder, prepared.stamp_of([*files, *light]) | {"seed": SEED}, make)
    chosen = _rows(folder / f"{TEN_HOURS}.csv")
    about = {
        "list": LIBRI_LIGHT if light else f"{HOURS:g} hours of train-clean-100",
        "utterances": len(chosen),
        "hours": round(sum(samples for _, samples in chosen) / SAMPLE_RATE / 3600, 4),
    }
    paths = {"downstream_expert.datarc.bucket_file": str(folder)}
    return Part(paths, about | _told(folder / f"{TEN_HOURS}.csv"))


def _drawn(table: Path) -> list[tuple[str, int]]:
    rows = sorted(_rows(table))
    random.Random(SEED).shuffle(rows)  # draws the same in every version of Python
    samples, taken = 0, 0
    while taken < len(rows) and samples < HOURS * 3600 * SAMPLE_RATE:
        samples += rows[taken][1]
        taken += 1
    return rows[:taken]


def _rows(table: Path) -> list[tuple[str, int]]:
    found = csv.DictReader(io.StringIO(read_text(table)))
    return [(row["file_path"], int(row["length"])) for row in found]


def one_per_speaker(root: Path) -> Part:
    """Return one training utterance of every speaker, with all of dev and test.

    Raises:
        ValueError: the identification split is not there.
    """
    file, absent = voxceleb.list_file(root, "sid", "meta_data")
    if file is None:
        raise ValueError("; ".join(absent))
    folder = _folder(root, "sid")
    made = folder / "one_per_speaker.txt"
    stamp = prepared.stamp_of([file]) | {"seed": SEED}
    prepared.remake(folder, stamp, lambda: write_text(made, _one_each(read_text(file))))
    counts = [line.split()[0] for line in read_text(made).splitlines()]
    about = {"list": "one utterance per speaker", "utterances": counts.count(sid.TRAIN)}
    return Part({"downstream_expert.datarc.meta_data": str(made)}, about | _told(made))


def _one_each(lines: str) -> str:
    """Return a split with one line of training per speaker, as pandas' ``sample`` draws it."""
    fields = [words for line in lines.splitlines() if (words := line.split())]
    by_speaker: dict[str, list[str]] = {}
    for split, path in fields:
        if split == sid.TRAIN:
            by_speaker.setdefault(path.split("/")[0], []).append(path)
    chosen = []
    for _, paths in sorted(by_speaker.items()):
        [place] = np.random.RandomState(SEED).choice(len(paths), size=1, replace=False)
        chosen.append([sid.TRAIN, paths[place]])
    rest = [line for split in ("2", "3") for line in fields if line[0] == split]
    return "".join(f"{split} {path}\n" for split, path in [*chosen, *rest])


def _folder(root: Path, code: str) -> Path:
    return root / prepared.FOLDER / "minisuperb" / code


def _told(file: Path) -> dict[str, Any]:
    """Return what tells one list from another."""
    return {"seed": SEED, "fingerprint": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}


PARTS = {"asr": ten_hours, "sid": one_per_speaker}
