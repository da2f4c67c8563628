"""VoiceBank-DEMAND (28 speakers), which s3prl's enhancement task reads from Kaldi data folders.

The corpus as published has 48 kHz in ``{clean,noisy}_{trainset_28spk,testset}_wav``; a copy at
16 kHz has ``_16k`` after these names and is taken where it is.
"""

from pathlib import Path

from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import kaldi
from upstream.corpora.audio_checks import evenly, inner, sample_headers
from upstream.corpora.prepared import FOLDER, remake, stamp_of
from upstream.corpora.survey import Survey

PARTS = {"train": "trainset_28spk", "test": "testset"}
KINDS = ("clean", "noisy")
DEV_SPEAKERS = ("p226", "p287")  # held out from training, as in SUPERB
SPLITS = {"train": "train", "dev": "train", "test": "test"}  # and the part it is taken from
PUBLISHED_RATE = 48000
_SOURCE = "https://datashare.ed.ac.uk/handle/10283/2791"


def survey(root: Path) -> Survey:
    """Count the noisy files of both parts and check them against the clean ones."""
    base = _base(root)
    problems, counts, hours = kaldi.blanks(root), dict.fromkeys(PARTS, 0), 0.0
    for part, name in PARTS.items():
        found: dict[str, dict[str, Path]] = {}
        for kind in KINDS:
            folder, rate = _folder(base, kind, name)
            if not folder.is_dir():
                problems.append(f"{folder}: no such folder; {_remedy(base, kind, name)}")
                continue
            found[kind] = kaldi.wavs_of(folder)
            remedy = f"take the files of {_SOURCE}, unchanged or resampled to 16 kHz"
            wrong, length = sample_headers(list(found[kind].values()), rate, remedy)
            problems += wrong
        if len(found) == len(KINDS):
            problems += _unpaired(base, name, found)
            hours += length
        counts[part] = len(found.get("noisy", ()))
        splits = {_split(part, stem) for stem in found.get("noisy", ())}
        if part == "train" and len(splits) == 1:
            problems.append(
                f"{_folder(base, 'noisy', name)[0]}: has only files for the split {splits.pop()}; "
                f"unpack the training set of {_SOURCE} completely, with the speakers "
                f"{' and '.join(DEV_SPEAKERS)}, whom SUPERB keeps for validation"
            )
    return Survey(counts, problems, hours)


def prepare(root: Path) -> None:
    """Make ``prepared/se/{train,dev,test}/{noisy,clean}/{wav.scp,utt2spk,spk2utt}``.

    48 kHz audio is resampled into ``prepared/se/wav16k``.

    Raises:
        ValueError: the corpus is incomplete; names everything that is wrong.
    """
    base, folder = _base(root), root / FOLDER / "se"
    kaldi.refuse_corpus("VoiceBank-DEMAND", survey(root).problems)
    sources = [_folder(base, kind, name)[0] for name in PARTS.values() for kind in KINDS]
    remake(folder, {"root": str(base), **stamp_of(sources)}, lambda: _make(base, folder))


def _make(base: Path, folder: Path) -> None:
    for kind in KINDS:
        for split, part in SPLITS.items():
            source, rate = _folder(base, kind, PARTS[part])
            wavs = {
                stem: path
                for stem, path in kaldi.wavs_of(source).items()
                if _split(part, stem) == split
            }
            if rate != SAMPLE_RATE:
                wavs = kaldi.resampled(wavs, folder / "wav16k" / f"{source.name}_16k", SAMPLE_RATE)
            kaldi.write_utterances(folder / split / kind, wavs)


def _base(root: Path) -> Path:
    """The corpus, or the folder of that name that the usual 16 kHz archive unpacks to."""
    return inner(root, "noisy-vctk-16k")


def _folder(base: Path, kind: str, name: str) -> tuple[Path, int]:
    """The folder of a part and the sample rate that its name promises."""
    published = base / f"{kind}_{name}_wav"
    ready = published.with_name(f"{published.name}_16k")
    if published.is_dir() and not ready.is_dir():
        return published, PUBLISHED_RATE
    return ready, SAMPLE_RATE


def _split(part: str, stem: str) -> str:
    return "dev" if part == "train" and stem.startswith(DEV_SPEAKERS) else part


def _unpaired(base: Path, name: str, found: dict[str, dict[str, Path]]) -> list[str]:
    clean, noisy = found["clean"], found["noisy"]
    problems = []
    for kind, others, lacking in (("clean", noisy, clean), ("noisy", clean, noisy)):
        names = (f"{stem}.wav" for stem in others.keys() - lacking.keys())
        remedy = f"every file has a clean and a noisy version, unpack {kind}_{name}_wav.zip again"
        problems += kaldi.missing_files(names, _folder(base, kind, name)[0], remedy)
    pairs = [[clean[stem], noisy[stem]] for stem in evenly(sorted(clean.keys() & noisy.keys()))]
    return problems + kaldi.unequal_lengths(pairs, f"download both again from {_SOURCE}")


def _remedy(base: Path, kind: str, name: str) -> str:
    if name == PARTS["train"] and list(base.glob(f"{kind}_trainset_56spk_wav*")):
        return f"this is the 56-speaker version, get {kind}_{name}_wav.zip from {_SOURCE}"
    return f"unpack {kind}_{name}_wav.zip from {_SOURCE} there"
