"""Libri2Mix for diarization: Kaldi data folders that are there, or built from a LibriMix tree.

s3prl's fork of LibriMix makes the folders ``{train,dev,test}``; they are taken as they are. Without
them they are made of ``Libri2Mix/wav16k/max`` and the turns of LibriSpeech's utterances, which come
with that fork as ``metadata/LibriSpeech/*.rttm``.
"""

import math
from pathlib import Path

from mt4ssl_core.files import write_text
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import kaldi
from upstream.corpora.audio_checks import sample_headers
from upstream.corpora.kaldi_check import check, paths_of, read
from upstream.corpora.prepared import FOLDER, remake, stamp_of
from upstream.corpora.rttm import Turn, read_rttm, rttm_lines
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_rows

SPLITS = {
    "train": ("train-100", "train_clean_100"),
    "dev": ("dev", "dev_clean"),
    "test": ("test", "test_clean"),
}  # s3prl's split -> LibriMix's part, LibriSpeech's
TREE = "Libri2Mix/wav16k/max"
TURNS = "metadata/LibriSpeech"
_SOURCE = "https://github.com/s3prl/LibriMix"


def survey(root: Path) -> Survey:
    """Count the recordings of every split and check that lists, audio and turns fit together."""
    ready = _ready(root)
    return _survey_folders(ready) if ready else _survey_tree(root)


def prepare(root: Path) -> None:
    """Make ``prepared/sd/{train,dev,test}``, unless the corpus brings these folders.

    Raises:
        ValueError: the corpus is incomplete; names everything that is wrong.
    """
    kaldi.refuse_corpus("Libri2Mix (diarization)", survey(root).problems)
    if _ready(root):
        return
    folder = root / FOLDER / "sd"
    sources = [_metadata(root, split) for split in SPLITS]
    sources += [_turns(root) / f"{part}.rttm" for _, part in SPLITS.values()]
    stamp = {"root": str(_tree(root)), **stamp_of(sources)}
    remake(folder, stamp, lambda: _make(root, folder))


def _ready(root: Path) -> Path | None:
    """The folder that holds Kaldi data folders, if the corpus brings them."""
    for folder in (root, root / "data"):
        if any((folder / split / "wav.scp").is_file() for split in SPLITS):
            return folder
    return None


def _survey_folders(folder: Path) -> Survey:
    problems, counts, seconds = [], dict.fromkeys(SPLITS, 0), 0.0
    for split in SPLITS:
        remedy = f"make it with generate_librimix_sd.sh and prepare_diarization.py of {_SOURCE}"
        tables, missing = read(folder / split, remedy)
        problems += missing
        if tables is None:
            continue
        counts[split] = len(tables["wav.scp"])
        seconds += sum(float(row[0]) for row in tables["reco2dur"].values() if row)
        wrong, _ = sample_headers(
            paths_of(tables), SAMPLE_RATE, f"make the 16 kHz version with {_SOURCE}"
        )
        problems += check(folder / split, tables, remedy) + wrong
    return Survey(counts, problems, seconds / 3600)


def _survey_tree(root: Path) -> Survey:
    problems, counts, seconds = [], dict.fromkeys(SPLITS, 0), 0.0
    for split, (part, _) in SPLITS.items():
        path = _metadata(root, split)
        if not path.is_file():
            problems.append(f"{path}: no such file; {_remedy(root)}")
            continue
        mixtures = _mixtures(path)
        counts[split] = len(mixtures)
        seconds += sum(samples for _, samples in mixtures.values()) / SAMPLE_RATE
        remedy = f"make {part} again with {_SOURCE}"
        folder = _tree(root) / part / "mix_both"
        names = (f"{m}.wav" for m in mixtures if not _audio(root, split, m).is_file())
        problems += kaldi.missing_files(names, folder, remedy)
        there = [path for m in mixtures if (path := _audio(root, split, m)).is_file()]
        problems += sample_headers(there, SAMPLE_RATE, f"make the 16 kHz version with {_SOURCE}")[0]
    problems += _wrong_turns(root)
    return Survey(counts, problems, seconds / 3600)


def _wrong_turns(root: Path) -> list[str]:
    problems = []
    for split, (_, part) in SPLITS.items():
        path = _turns(root) / f"{part}.rttm"
        if not path.is_file():
            problems.append(
                f"{path}: no such file; it has the turns of LibriSpeech's utterances, take it from "
                f"{_SOURCE}/tree/main/{TURNS}"
            )
        elif _metadata(root, split).is_file():
            known, mixtures = read_rttm(path), _mixtures(_metadata(root, split))
            sources = {source for mixture in mixtures for source in mixture.split("_")}
            lacking = (source for source in sources if not _of_source(known, source))
            remedy = f"take the file of {_SOURCE}/tree/main/{TURNS}"
            problems += kaldi.missing_files(
                (f"turns of {source}" for source in lacking), path, remedy
            )
    return problems


def _make(root: Path, folder: Path) -> None:
    for split, (_, part) in SPLITS.items():
        known = read_rttm(_turns(root) / f"{part}.rttm")
        mixtures = _mixtures(_metadata(root, split))
        segments, rttm = [], []
        for name in mixtures:
            turns = [turn for source in name.split("_") for turn in _of_source(known, source)]
            rttm += rttm_lines(name, turns)
            for speaker, start, end in turns:
                when = f"{round(start * 1000):06d}_{round(end * 1000):06d}"
                segment = f"{speaker}-{name}_{when}"
                segments.append((segment, name, f"{start:.3f}", f"{end:.3f}", speaker))
        spoken: dict[str, list[str]] = {}
        for segment, *_, speaker in sorted(segments):
            spoken.setdefault(speaker, []).append(segment)
        target = folder / split
        kaldi.write_table(target / "wav.scp", ((m, _audio(root, split, m)) for m in mixtures))
        kaldi.write_table(
            target / "reco2dur", ((m, s / SAMPLE_RATE) for m, (_, s) in mixtures.items())
        )
        kaldi.write_table(target / "segments", (segment[:4] for segment in segments))
        kaldi.write_table(target / "utt2spk", ((s[0], s[4]) for s in segments))
        kaldi.write_table(target / "spk2utt", ((s, *found) for s, found in spoken.items()))
        write_text(target / "rttm", "".join(rttm))


def _mixtures(metadata: Path) -> dict[str, tuple[str, int]]:
    """The mixtures of LibriMix's table: name -> (path, samples)."""
    rows = read_rows(metadata, f"make it again with {_SOURCE}")
    try:
        return {
            row["mixture_ID"]: (row["mixture_path"], math.floor(float(row["length"])))
            for row in rows
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{metadata}: expected the columns mixture_ID, mixture_path and length of LibriMix's "
            f"tables ({error!r}); make it again with {_SOURCE}"
        ) from error


def _of_source(known: dict[str, list[Turn]], source: str) -> list[Turn]:
    """The turns of a source SPEAKER-CHAPTER-NUMBER; the RTTM file leaves the speaker out."""
    speaker, recording = source.split("-", 1)
    return [turn for turn in known.get(recording, []) if turn[0] == speaker]


def _audio(root: Path, split: str, mixture: str) -> Path:
    return _tree(root) / SPLITS[split][0] / "mix_both" / f"{mixture}.wav"


def _metadata(root: Path, split: str) -> Path:
    return _tree(root) / "metadata" / f"mixture_{SPLITS[split][0]}_mix_both.csv"


def _tree(root: Path) -> Path:
    there = kaldi.possible_places(root, TREE)
    return next((path for path in there if any(path.glob("metadata/mixture_*.csv"))), there[0])


def _turns(root: Path) -> Path:
    places = [root / TURNS, root / "LibriMix" / TURNS, root / "Libri2Mix" / TURNS]
    return next((path for path in places if path.is_dir()), places[0])


def _remedy(root: Path) -> str:
    tree = _tree(root)
    if tree.with_name("min").is_dir() and not tree.is_dir():
        return f"this is the min version, for separation; run generate_librimix_sd.sh of {_SOURCE}"
    return f"run generate_librimix_sd.sh of {_SOURCE}, or give a folder with train, dev and test"
