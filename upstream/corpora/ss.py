"""Libri2Mix (16 kHz, mode min), which s3prl's separation task reads from Kaldi data folders."""

import random
from pathlib import Path

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import kaldi
from upstream.corpora.audio_checks import evenly, sample_headers
from upstream.corpora.prepared import FOLDER, remake, stamp_of
from upstream.corpora.survey import Survey

PARTS = ("train-100", "dev", "test")
NEEDED = ("s1", "s2", "mix_clean")
OPTIONAL = ("noise", "mix_both", "mix_single")  # listed too where they are
DEV_SIZE, DEV_SEED = 1000, 7  # SUPERB evaluates on a random part of dev, dev_1000
_SOURCE = "https://github.com/s3prl/LibriMix"


def survey(root: Path) -> Survey:
    """Count the mixtures of every part and check that all conditions have the same files."""
    base = _base(root)
    problems, counts, hours = kaldi.blanks(root), dict.fromkeys(PARTS, 0), 0.0
    for part in PARTS:
        found = {}
        for condition in NEEDED:
            folder = base / part / condition
            if not folder.is_dir():
                problems.append(f"{folder}: no such folder; {_remedy(base)}")
                continue
            found[condition] = kaldi.wavs_of(folder)
            wrong, length = sample_headers(
                list(found[condition].values()),
                SAMPLE_RATE,
                f"make the 16 kHz version with {_SOURCE}",
            )
            problems += wrong
        if len(found) == len(NEEDED):
            problems += _unequal(base / part, found)
            hours += length
        counts[part] = len(found.get("mix_clean", ()))
    return Survey(counts, problems, hours)


def prepare(root: Path) -> None:
    """Make ``prepared/ss/{train-100,dev,dev_1000,test}/CONDITION/{wav.scp,utt2spk,spk2utt}``.

    Raises:
        ValueError: the corpus is incomplete; names everything that is wrong.
    """
    base, folder = _base(root), root / FOLDER / "ss"
    kaldi.refuse_corpus("Libri2Mix", survey(root).problems)
    conditions = [base / part / condition for part in PARTS for condition in NEEDED + OPTIONAL]
    stamp = stamp_of(path for path in conditions if path.is_dir())
    remake(folder, {"root": str(base), **stamp}, lambda: _make(base, folder))


def _make(base: Path, folder: Path) -> None:
    chosen = subset(sorted(kaldi.wavs_of(base / "dev" / "s1")))
    for part in PARTS:
        for condition in NEEDED + OPTIONAL:
            wavs = kaldi.wavs_of(base / part / condition)
            if not wavs:
                continue
            kaldi.write_utterances(folder / part / condition, wavs)
            if part == "dev" and chosen <= wavs.keys():
                some = {name: wavs[name] for name in chosen}
                kaldi.write_utterances(folder / f"dev_{DEV_SIZE}" / condition, some)


def subset(names: list[str]) -> set[str]:
    """Return the names of dev_1000: the first 1000 of the sorted names, shuffled with seed 7.

    As SUPERB's were chosen; Python's ``random.Random`` draws the same numbers in every version.
    """
    shuffled = sorted(names)
    random.Random(DEV_SEED).shuffle(shuffled)
    return set(shuffled[:DEV_SIZE])


def _base(root: Path) -> Path:
    """The folder of the parts, wherever in LibriMix's tree ``root`` is."""
    there = kaldi.possible_places(root, "Libri2Mix/wav16k/min")
    return next((path for path in there if any((path / p).is_dir() for p in PARTS)), there[0])


def _unequal(part: Path, found: dict[str, dict[str, Path]]) -> list[str]:
    every = set().union(*found.values())
    problems = []
    for condition, wavs in found.items():
        names = (f"{stem}.wav" for stem in every - wavs.keys())
        remedy = f"the other conditions have them, make the part again with {_SOURCE}"
        problems += kaldi.missing_files(names, part / condition, remedy)
    groups = [[part / c / f"{stem}.wav" for c in NEEDED] for stem in evenly(sorted(every))]
    return problems + kaldi.unequal_lengths(groups, f"make the min version with {_SOURCE}")


def _remedy(base: Path) -> str:
    """What to do about a missing folder; says so when it is the other version of Libri2Mix."""
    others = {
        "8 kHz version": base.parents[1] / "wav8k" / base.name,
        "max version, made for diarization": base.parent / "max",
    }
    for name, folder in others.items():
        if folder.is_dir() and not base.is_dir():
            return f"{folder} is the {name}, make the 16 kHz min version with {_SOURCE}"
    if (base / "train-360").is_dir() and not (base / "train-100").is_dir():
        return f"this is the train-360 version, make train-100 with {_SOURCE}"
    return f"make it with {_SOURCE} (16 kHz, mode min, train-100, dev and test)"
