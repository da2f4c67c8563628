"""Audio SNIPS for slot filling: ``SNIPS/{train,valid,test}/SPEAKER-snips-SPLIT-NUMBER.wav``.

``all.iob.snips.txt`` has a line per utterance: its name, ``BOS``, the words, ``EOS``; after a tab
the slot of each of these (``O``: none) with the intent in the place of ``EOS``. ``slots.txt`` has
one slot per line after a first line ``O``. Nothing has to be made from these.
"""

from pathlib import Path

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_text
from upstream.door import tasks

SPLITS = ("train", "valid", "test")
TRANSCRIPTS, SLOTS = "all.iob.snips.txt", "slots.txt"
NO_SLOT = "O"


def folder(root: Path) -> Path:
    """Return the folder of the corpus: ``root/SNIPS`` or ``root``."""
    return inner(root, "SNIPS")


def survey(root: Path) -> Survey:
    """Count the utterances of the task's speakers; check the transcripts, the slots, the audio."""
    base, remedy = folder(root), f"get Audio SNIPS from {_source()}"
    spoken, problems = _transcripts(base / TRANSCRIPTS, remedy)
    problems += _slots(base / SLOTS, spoken, remedy)
    counts, hours = {}, 0.0
    for split in SPLITS:
        files = sorted((base / split).rglob("*.wav"))
        speakers = tuple(
            tasks.read(tasks.path_of("sf"))["downstream_expert"]["corpus"][f"{split}_speakers"]
        )
        ours = [path for path in files if path.stem.startswith(speakers)]
        counts[split] = len(ours)
        if not ours:
            problems.append(
                f"{base / split}: no .wav of the speakers {', '.join(speakers)}; {remedy}"
            )
            continue
        if unknown := [path.name for path in ours if path.stem not in spoken]:
            problems.append(
                f"{base / TRANSCRIPTS}: no line for {len(unknown)} files of {base / split} "
                f"({name_some(unknown)}); {remedy}"
            )
        problems += _gaps(base / split, {path.stem for path in ours}, spoken, speakers, remedy)
        wrong, length = sample_headers(ours, SAMPLE_RATE, remedy)
        problems += wrong
        hours += length
    return Survey(counts, problems, hours)


def _source() -> str:
    return " or ".join(tasks.header("sf")["corpus"]["source"])


def _transcripts(path: Path, remedy: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the slots of every utterance by its name, and what is wrong with the file."""
    if not path.is_file():
        return {}, [f"{path}: no such file; {remedy}"]
    slots, bad = {}, []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text, _, tags = line.strip().partition("\t")
        (name, *words), marks = text.split(" ") or [""], tags.split(" ")
        if len(words) != len(marks) or len(words) < 3 or words[0] != "BOS" or words[-1] != "EOS":
            bad.append(number)
        slots[name] = marks[1:-1]
    problem = (
        f"{path}: in {len(bad)} lines ({name_some(bad)}) the words between BOS and EOS and the "
        f"slots after the tab do not match; {remedy}"
    )
    return slots, [problem] if bad else []


def _slots(path: Path, spoken: dict[str, list[str]], remedy: str) -> list[str]:
    """Return what is wrong with the list of slots."""
    if not path.is_file():
        return [f"{path}: no such file; {remedy}"]
    first, *slots = read_text(path).split("\n")
    problems = []
    if first.strip() != NO_SLOT:
        problems.append(
            f"{path}: the first line is {first!r}, expected {NO_SLOT} (s3prl leaves it out); add it"
        )
    used = {slot for marks in spoken.values() for slot in marks} - {NO_SLOT}
    if unknown := sorted(used - {slot.strip() for slot in slots}):
        problems.append(f"{path}: lacks the slots {name_some(unknown)} of {TRANSCRIPTS}; {remedy}")
    return problems


def _gaps(
    split: Path,
    there: set[str],
    spoken: dict[str, list[str]],
    speakers: tuple[str, ...],
    remedy: str,
) -> list[str]:
    """Return the utterances of a split that have a line but no audio."""
    mark = f"-snips-{split.name}-"
    named = (name for name in spoken if mark in name and name.startswith(speakers))
    lost = sorted(set(named) - there)
    what = f"{split}: no audio for {len(lost)} lines of {TRANSCRIPTS} ({name_some(lost)})"
    return [f"{what}; {remedy}"] if lost else []
