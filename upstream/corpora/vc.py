"""VCC2020 for voice conversion: ``vcc2020/SPEAKER/E*.wav`` at 24 kHz, and lists of its sentences.

E1* are sentences that sources and targets read, E2* only the targets, E3* is the test, of which the
targets' recordings are the ground truth. The database comes in parts (training, evaluation, ground
truth); all files of a speaker belong in one folder. ``prepared/lists`` has what the official recipe
trains on (E10001-E10060, E20001-E20050), develops on (E10061-E10070) and tests on (E30001-E30025),
as far as it is there.
"""

from collections.abc import Iterable
from pathlib import Path

from mt4ssl_core.files import write_text
from upstream.corpora import prepared
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.door import tasks

SOURCES = ("SEF1", "SEF2", "SEM1", "SEM2")
TARGETS = ("TEF1", "TEF2", "TEM1", "TEM2")  # of the English task, the one in SUPERB-SG
LISTS = "lists"
# under these names s3prl looks for them (E: the targets' language)
LIST_FILES = {"train": "E_train_list.txt", "dev": "E_dev_list.txt", "test": "eval_list.txt"}
RATE = 24000


def _numbers(kind: int, first: int, last: int) -> list[str]:
    return [f"E{kind}{number:04d}" for number in range(first, last + 1)]


# by split; a target speaker has only some of the E1*
SPLITS = {
    "train": _numbers(1, 1, 60) + _numbers(2, 1, 50),
    "dev": _numbers(1, 61, 70),
    "test": _numbers(3, 1, 25),
}


def folder(root: Path) -> Path:
    """Return the folder of the corpus: ``root/vcc2020`` or ``root``."""
    return inner(root, "vcc2020")


def survey(root: Path) -> Survey:
    """Count the targets' recordings for train and dev, the sources' for test, and their pairs."""
    base, problems = folder(root), []
    speakers = {name: _recorded(base / name) for name in (*SOURCES, *TARGETS)}
    if absent := [name for name, numbers in speakers.items() if not numbers]:
        problems.append(f"{base}: no recordings of {', '.join(absent)}; {_remedy(base)}")
    counts = {
        split: sum(len(_of(split, speakers[name])) for name in TARGETS)
        for split in ("train", "dev")
    }
    counts["test"] = sum(len(_of("test", speakers[name])) for name in SOURCES)
    there = {name: set(_of("test", numbers)) for name, numbers in speakers.items() if numbers}
    known = set().union(*there.values())
    for name, numbers in there.items():
        if lost := sorted(known - numbers):
            problems.append(
                f"{base / name}: lacks the test sentences {name_some(lost)}, which other speakers "
                f"have; {_remedy(base)}"
            )
    for split in ("train", "dev"):
        problems += [
            f"{base / name}: none of the sentences for {split} ({SPLITS[split][0]} ...); "
            f"{_remedy(base)}"
            for name in TARGETS
            if speakers[name] and not _of(split, speakers[name])
        ]
    hours = 0.0
    for name, numbers in speakers.items():
        files = [base / name / f"{number}.wav" for number in sorted(numbers)]
        wrong, length = sample_headers(files, RATE, "use the database's own files")
        problems += wrong
        hours += length
    return Survey(counts, problems, hours)


def prepare(root: Path) -> None:
    """Write ``prepared/lists``: which sentences to train, develop and test on.

    Raises:
        ValueError: there are none; names what is missing.
    """
    base, lists = folder(root), root / prepared.FOLDER / LISTS
    speakers = {name: _recorded(base / name) for name in (*SOURCES, *TARGETS)}
    everywhere = set.intersection(*speakers.values())
    some = set().union(*(speakers[name] for name in TARGETS))
    found = {split: _of(split, some) for split in ("train", "dev")}
    found["test"] = _of("test", everywhere)
    if empty := [split for split, numbers in found.items() if not numbers]:
        raise ValueError(
            f"{base}: no sentences for {', '.join(empty)} that the speakers have; {_remedy(base)}"
        )

    def make() -> None:
        for split, numbers in found.items():
            write_text(lists / LIST_FILES[split], "".join(f"{number}\n" for number in numbers))

    stamp = {split: len(numbers) for split, numbers in found.items()}
    prepared.remake(lists, stamp, make)


def _of(split: str, numbers: Iterable[str]) -> list[str]:
    there = set(numbers)
    return [number for number in SPLITS[split] if number in there]


def _recorded(speaker: Path) -> set[str]:
    return {path.stem for path in speaker.glob("E*.wav")}


def _remedy(base: Path) -> str:
    if parts := sorted(path.name for path in base.glob("vcc2020_database_*") if path.is_dir()):
        return (
            f"move the speakers' folders out of {', '.join(parts)} (and source, target_task1) so "
            "that all files of a speaker, from training, evaluation and ground truth, are in one"
        )
    return f"get {tasks.header('vc')['corpus']['source'][0]} and unpack all of its zip files"
