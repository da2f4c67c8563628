"""VoxCeleb1, for speaker identification and verification: PART/wav/SPEAKER/VIDEO/UTT.wav."""

import os
import re
from pathlib import Path

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.door import tasks

SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html"
PARTS = ("dev", "test")
FIRST_ID, LAST_ID = 10001, 11251  # VoxCeleb1's people
_REMEDY = f"unpack all parts of VoxCeleb1 again ({SOURCE})"


def folder(base: Path) -> Path:
    """Return the folder that holds dev and test: ``base/VoxCeleb1`` or ``base``."""
    return inner(base, "VoxCeleb1")


def speakers(base: Path, part: str) -> list[Path]:
    """Return the folders of the people in a part, sorted."""
    return sorted(path for path in (folder(base) / part / "wav").glob("id*") if path.is_dir())


def utterances(speaker: Path) -> list[str]:
    """Return a person's utterances as ``SPEAKER/VIDEO/UTT.wav``, sorted."""
    found = []
    for video in sorted(entry.path for entry in os.scandir(speaker) if entry.is_dir()):
        names = sorted(name for name in os.listdir(video) if name.endswith(".wav"))
        found += [f"{speaker.name}/{os.path.basename(video)}/{name}" for name in names]
    return found


def inspect(base: Path) -> tuple[dict[str, list[str]], list[str], float]:
    """Return the utterances of each part, what is wrong with them, and an estimate of the hours."""
    found: dict[str, list[str]] = {}
    problems: list[str] = []
    hours = 0.0
    for part in PARTS:
        people = speakers(base, part)
        found[part] = [name for speaker in people for name in utterances(speaker)]
        place = folder(base) / part / "wav"
        if not found[part]:
            problems.append(_nothing(place))
            continue
        if odd := [person.name for person in people if not _is_voxceleb1(person.name)]:
            problems.append(
                f"{place}: {name_some(odd)} are not people of VoxCeleb1 (id{FIRST_ID} to "
                f"id{LAST_ID}); this looks like VoxCeleb2: get {SOURCE}"
            )
        wrong, length = sample_headers([place / name for name in found[part]], SAMPLE_RATE, _REMEDY)
        problems += wrong
        hours += length
    return found, problems, hours


def _is_voxceleb1(name: str) -> bool:
    return bool(re.fullmatch(r"id\d{5}", name)) and FIRST_ID <= int(name[2:]) <= LAST_ID


def _nothing(place: Path) -> str:
    if not place.is_dir():
        return f"{place}: no such folder; download it from {SOURCE} and unpack it there"
    if any(place.glob("*/*/*.m4a")):
        return f"{place}: m4a files, s3prl needs wav; get VoxCeleb1's wav archives ({SOURCE})"
    return f"{place}: no SPEAKER/VIDEO/*.wav in it; {_REMEDY}"


def list_file(base: Path, code: str, key: str) -> tuple[Path | None, list[str]]:
    """Find the list that a config key of a task names, beside dev and test or a folder up.

    Returns it, or None and what is missing.
    """
    header = tasks.header(code)
    tried = header["root_keys"][f"downstream_expert.datarc.{key}"]["try"]
    names = [name for name in tried if "/" not in name]
    places = [place / name for place in (base, folder(base)) for name in names]
    if file := next((path for path in places if path.is_file()), None):
        return file, []
    source = header["corpus"]["source"][-1]
    return None, [f"{base}: no {' or '.join(names)}; download {source} and put it there"]


def missing_utterances(file: Path, wanted: set[str], there: set[str]) -> list[str]:
    """Say which of the utterances that a list file names are not there."""
    lost = sorted(wanted - there)
    if not lost:
        return []
    return [f"{file} names {len(lost)} utterances that are missing ({name_some(lost)}); {_REMEDY}"]
