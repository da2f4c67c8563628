"""Do the lists of a Kaldi data folder for diarization fit together, and is the audio there."""

from pathlib import Path

from upstream.corpora import kaldi
from upstream.corpora.audio_checks import name_some
from upstream.corpora.texts import read_text

TABLES = ("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur")
SPEAKERS = 2  # s3prl's head has two outputs

Tables = dict[str, dict[str, list[str]]]


def read(folder: Path, remedy: str) -> tuple[Tables | None, list[str]]:
    """Return the tables of a data folder, or None and what is missing."""
    lacking = [name for name in (*TABLES, "rttm") if not (folder / name).is_file()]
    if lacking:
        return None, kaldi.missing_files(lacking, folder, remedy)
    return {name: kaldi.read_scp(folder / name) for name in TABLES}, []


def paths_of(tables: Tables) -> list[Path]:
    """Return the audio files that are there; entries that are commands are left out."""
    return [path for path in _listed(tables) if path.is_file()]


def _listed(tables: Tables) -> list[Path]:
    entries = (" ".join(row) for row in tables["wav.scp"].values())
    return [Path(entry) for entry in entries if not entry.endswith("|")]


def check(folder: Path, tables: Tables, remedy: str) -> list[str]:
    """Return what is wrong with the tables of a data folder, each ending with ``remedy``."""
    recordings = tables["wav.scp"]
    broken = [row for row in tables["segments"].values() if len(row) != 3]
    if broken:
        lines = name_some([" ".join(row) for row in broken])
        return [f"{folder / 'segments'}: lines must be 'utt rec start end', not {lines}; {remedy}"]
    speakers: dict[str, set[str]] = {}
    for utterance, (recording, *_) in tables["segments"].items():
        speakers.setdefault(recording, set()).update(tables["utt2spk"].get(utterance, []))
    turns = {
        fields[1]
        for line in read_text(folder / "rttm").splitlines()
        if len(fields := line.split()) > 1
    }
    gone = [str(path) for path in _listed(tables) if not path.is_file()]
    wrong = {
        "wav.scp": ("lists audio that is not there:", gone),
        "segments": ("has nothing on", recordings.keys() - speakers.keys()),
        "utt2spk": ("has nothing on", tables["segments"].keys() - tables["utt2spk"].keys()),
        "reco2dur": ("has nothing on", recordings.keys() - tables["reco2dur"].keys()),
        "rttm": ("has nothing on", recordings.keys() - turns),
    }
    problems = [
        f"{folder / name}: {what} {name_some(sorted(items))}; {remedy}"
        for name, (what, items) in wrong.items()
        if items
    ]
    if many := sorted(name for name, found in speakers.items() if len(found) > SPEAKERS):
        problems.append(
            f"{folder}: more than {SPEAKERS} speakers in {name_some(many)}; this is not Libri2Mix, "
            f"{remedy}"
        )
    if unknown := sorted(speakers.keys() - recordings.keys()):
        problems.append(f"{folder / 'segments'}: {name_some(unknown)} not in wav.scp; {remedy}")
    return problems
