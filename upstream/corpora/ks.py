"""Speech Commands v0.01 with its test set. Nothing has to be made from them."""

from pathlib import Path

import soundfile

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora.audio_checks import name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.door import tasks

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NOISE, UNKNOWN, SILENCE = "_background_noise_", "_unknown_", "_silence_"
ONLY_IN_V2 = ("backward", "follow", "forward", "learn", "visual")


def survey(root: Path) -> Survey:
    """Count words, background noises and test files; see that all classes are there."""
    header = tasks.header("ks")
    keys, sources = header["root_keys"], header["corpus"]["source"]
    counts = {"words": 0, "noises": 0, "test": 0}
    problems: list[str] = []
    lacking: list[str] = []
    hours = 0.0
    places = [_folder(root, entry["try"]) for entry in keys.values()]
    for place, entry, source in zip(places, keys.values(), sources, strict=True):
        if place is None:
            wanted = " or ".join(entry["try"])
            problems.append(f"{root}: no {wanted} ({entry['what']}); unpack {source} there")
    train, test = places
    if train is not None:
        remedy = f"unpack {sources[0]} again"
        words = _wavs(train, [path.name for path in train.glob("[!_]*") if path.is_dir()])
        noises = sorted((train / NOISE).glob("*.wav"))
        counts |= {"words": len(words), "noises": len(noises)}
        lacking += _classes(train, KEYWORDS, remedy)
        problems += _version(train, remedy)
        problems += _noises(train, noises, remedy)
        wrong, length = sample_headers(words, SAMPLE_RATE, remedy)
        problems += wrong
        hours += length
    if test is not None:
        remedy = f"unpack {sources[1]} again"
        files = _wavs(test, [*KEYWORDS, UNKNOWN, SILENCE])
        counts["test"] = len(files)
        lacking += _classes(test, (*KEYWORDS, UNKNOWN, SILENCE), remedy)
        wrong, length = sample_headers(files, SAMPLE_RATE, remedy)
        problems += wrong
        hours += length
    return Survey(counts, problems, hours, lacking)


def _folder(root: Path, names: list[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _wavs(place: Path, classes: list[str]) -> list[Path]:
    return [path for name in sorted(classes) for path in sorted((place / name).glob("*.wav"))]


def _classes(place: Path, classes: tuple[str, ...], remedy: str) -> list[str]:
    empty = [name for name in classes if next((place / name).glob("*.wav"), None) is None]
    return [f"{place}: no wav files in {name_some(empty)}; {remedy}"] if empty else []


def _version(place: Path, remedy: str) -> list[str]:
    found = [name for name in ONLY_IN_V2 if (place / name).is_dir()]
    if not found:
        return []
    return [
        f"{place}: {name_some(found)} are words of Speech Commands v0.02, SUPERB has v0.01; "
        f"remove the folder and {remedy}"
    ]


def _noises(place: Path, noises: list[Path], remedy: str) -> list[str]:
    """Silence is trained on one second of a noise."""
    if not noises:
        return [f"{place / NOISE}: no background noises; {remedy}"]
    problems = sample_headers(noises, SAMPLE_RATE, remedy)[0]
    if not problems and (short := [p for p in noises if soundfile.info(p).duration <= 1]):
        problems.append(f"{name_some(short)}: not longer than a second; {remedy}")
    return problems
