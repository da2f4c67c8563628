"""VoxCeleb1 with its verification trials; trials of dev people are made, to choose a rate on."""

import random
from collections import defaultdict
from pathlib import Path

from mt4ssl_core.files import write_text
from upstream.corpora import voxceleb
from upstream.corpora.audio_checks import name_some
from upstream.corpora.prepared import FOLDER, remake, stamp_of
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_text

PEOPLE, UTTERANCES, TRIALS = 40, 10, 50  # of the dev trials; the last two per person
SEED = 1337


def survey(root: Path) -> Survey:
    """Count utterances and trials; see that every one of them is there and not trained on."""
    audio, problems, hours = voxceleb.inspect(root)
    counts = {part: len(names) for part, names in audio.items()} | {"trials": 0}
    file, absent = voxceleb.list_file(root, "asv", "test_meta_data")
    both = {path.name for path in voxceleb.speakers(root, "dev")}
    both &= {path.name for path in voxceleb.speakers(root, "test")}
    if both:
        problems.append(
            f"{voxceleb.folder(root)}: {name_some(sorted(both))} are in dev and in test, so that a "
            "head would be trained on people it is tested on; leave each archive in its own folder"
        )
    if file is None:
        return Survey(counts, problems + absent, hours)
    trials, wrong = _read(file)
    counts["trials"] = len(trials)
    problems += wrong
    problems += voxceleb.missing_utterances(
        file, {name for _, *pair in trials for name in pair}, set(audio["test"])
    )
    if len({label for label, *_ in trials}) == 1:
        problems.append(f"{file}: all trials are of one kind; download it again")
    return Survey(counts, problems, hours)


def _read(file: Path) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the trials of a list and what is wrong with it."""
    trials: list[tuple[str, ...]] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        fields = tuple(line.split())
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            return trials, [
                f"{file}, line {number}: expected '0|1 SPEAKER/VIDEO/UTT.wav SPEAKER/VIDEO/UTT.wav'"
                f", found {line!r}; download it again"
            ]
        trials.append(fields)
    return trials, [] if trials else [f"{file}: empty; download it again"]


def prepare(root: Path) -> None:
    """Write ``prepared/asv/dev_trials.txt``: pairs of utterances of people of the dev folder.

    Up to 40 people, drawn with a fixed seed; for each up to 50 pairs of their own utterances, of
    two videos where they have two, and as many of theirs with somebody else's.

    Raises:
        ValueError: there are fewer than two people with two utterances each.
    """
    people = voxceleb.speakers(root, "dev")
    place = root / FOLDER / "asv"

    def make() -> None:
        trials = dev_trials(people)
        if not trials:
            raise ValueError(
                f"{voxceleb.folder(root)}/dev/wav: not two people with two utterances each; "
                f"get VoxCeleb1 from {voxceleb.SOURCE} and unpack its dev parts there"
            )
        write_text(place / "dev_trials.txt", "".join(f"{trial}\n" for trial in trials))

    remake(place, stamp_of(people), make)


def dev_trials(people: list[Path]) -> list[str]:
    """Return ``0|1 UTTERANCE UTTERANCE`` lines, as many of either kind."""
    draw = random.Random(SEED)
    said: dict[str, list[str]] = {}
    for person in draw.sample(people, len(people)):
        found = voxceleb.utterances(person)
        if len(found) > 1:
            said[person.name] = draw.sample(found, min(UTTERANCES, len(found)))
        if len(said) == PEOPLE:
            break
    if len(said) < 2:
        return []
    trials = []
    for name, own in said.items():
        pairs = _pairs(own)
        others = [other for other in said if other != name]
        for one, two in draw.sample(pairs, min(TRIALS, len(pairs))):
            trials.append(f"1 {one} {two}")
            trials.append(f"0 {one} {draw.choice(said[draw.choice(others)])}")
    return list(dict.fromkeys(trials))


def _pairs(utterances: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of two videos, or all pairs where there is one video only."""
    videos = defaultdict(list)
    for name in utterances:
        videos[name.rsplit("/", 1)[0]].append(name)
    ordered = sorted(utterances)
    pairs = [(a, b) for k, a in enumerate(ordered) for b in ordered[k + 1 :]]
    if len(videos) == 1:
        return pairs
    return [pair for pair in pairs if len({name.rsplit("/", 1)[0] for name in pair}) == 2]
