"""Voice conversion: how close the converted recordings are to the target speaker's own.

s3prl's expert writes, for every utterance of dev and test, a log mel spectrogram (``hdf5``) and
what Griffin-Lim makes of it (``wav``) into ``EXPDIR/0/SPLIT`` (0: evaluation outside training). The
published numbers are taken after a neural vocoder, so those of Griffin-Lim (``mcd_griffinlim``)
compare our own runs only. Who has the vocoder turns the spectrograms into ``EXPDIR/0/test/
vocoder_wav`` under the same names and evaluates the stage ``vocoder``; transcripts of these from a
recogniser, one ``NAME WORDS`` a line in ``EXPDIR/0/test/vocoder_text.txt``, give the stage ``wer``.
Not computed: the acceptance rate of a speaker verification system.
"""

import string
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mt4ssl_core.bars import Bar
from mt4ssl_core.files import write_json
from upstream.corpora.texts import read_text
from upstream.corpora.vc import LIST_FILES, SOURCES
from upstream.scores import world

SPLITS = ("dev", "test")
REPORT = "objective.json"  # beside the wavs: every utterance's distance
# Hz, where the official evaluation looks for a target speaker's F0
F0_RANGES = {
    "TEF1": (127, 405),
    "TEF2": (108, 361),
    "TEM1": (71, 227),
    "TEM2": (57, 182),
}
ANY_F0 = (71, 800)  # WORLD's own


def score(
    expdir: Path, config: dict[str, Any], split: str, values: dict[str, float]
) -> dict[str, float]:
    """Return ``mcd_griffinlim`` (dB) and ``f0_rmse_griffinlim`` (Hz), means over utterances.

    With ``downstream_expert.vocoder`` (a folder beside ``wav``), also the same ``_vocoder``; with
    ``downstream_expert.transcripts`` (a file there), also ``wer`` in percent.

    Raises:
        ValueError: the vocoder's or the recogniser's output is not there or not complete.
    """
    if split not in SPLITS:
        return {}
    expert, folder = config["downstream_expert"], expdir / "0" / split
    data, target = Path(expert["datarc"]["data_root"]), expert["trgspk"]
    names = [name for name in _names(expert, split) if (folder / "wav" / name).is_file()]
    found: dict[str, float] = {}
    wanted = {"griffinlim": "wav"} | ({"vocoder": v} if (v := expert.get("vocoder")) else {})
    for maker, place in wanted.items():
        if lacking := [name for name in names if not (folder / place / name).is_file()]:
            raise ValueError(
                f"{folder / place}: {len(lacking)} of {len(names)} files are missing, such as "
                f"{lacking[0]}; make them with your vocoder from {folder / 'hdf5'}"
            )
        pairs = {folder / place / name: data / target / _number(name) for name in names}
        mcd, f0_rmse = mcd_and_f0(pairs, target, folder / place / REPORT)
        found |= {f"mcd_{maker}": mcd, f"f0_rmse_{maker}": f0_rmse}
    if file := expert.get("transcripts"):
        found["wer"] = word_errors(folder / file, data, names)
    return found


def unconverted(config: dict[str, Any]) -> dict[str, float]:
    """Return what `score` gives when the test utterances are left as the sources spoke them.

    A conversion is of use only below this. The keys are ``mcd`` (dB) and ``f0_rmse`` (Hz).
    """
    expert = config["downstream_expert"]
    data, target = Path(expert["datarc"]["data_root"]), expert["trgspk"]
    names = [name.split("_") for name in _names(expert, "test")]
    pairs = {data / speaker / number: data / target / number for speaker, number in names}
    mcd, f0_rmse = mcd_and_f0(pairs, target)
    return {"mcd": mcd, "f0_rmse": f0_rmse}


def mcd_and_f0(
    pairs: dict[Path, Path], target: str, report: Path | None = None
) -> tuple[float, float]:
    """Return mean MCD (dB) and mean F0 RMSE (Hz) of recordings and the target's own ones.

    Utterances without a voiced frame on either side are left out of the second mean (NaN when all
    are). ``report`` gets the numbers of each.

    Raises:
        ValueError: a file cannot be read, or the two have different sample rates.
    """
    f0_range = F0_RANGES.get(target, ANY_F0)
    analyse = cache(lambda path: _analyse(path, f0_range))  # four sources, one target
    distances = {}
    for path, truth in Bar("MCD", len(pairs)).over(pairs.items()):
        (ours, rate), (theirs, true_rate) = _analyse(path, f0_range), analyse(truth)
        if rate != true_rate:
            raise ValueError(f"{path}: {rate} Hz, {truth} has {true_rate} Hz; resample the first")
        distances[path.stem if report else str(path)] = world.distance(ours, theirs)
    assert distances, "no utterances"
    if report:
        lines = {k: {"mcd": d.mcd, "f0_rmse": _finite(d.f0_rmse)} for k, d in distances.items()}
        write_json(report, lines)
    voiced = [d.f0_rmse for d in distances.values() if np.isfinite(d.f0_rmse)]
    f0_rmse = float(np.mean(voiced)) if voiced else float("nan")
    return float(np.mean([d.mcd for d in distances.values()])), f0_rmse


def word_errors(file: Path, data: Path, names: Iterable[str]) -> float:
    """Return the word error rate in percent of transcripts ``NAME WORDS`` of converted files.

    Raises:
        ValueError: the file or a line is missing, or the corpus's transcripts are.
    """
    import editdistance

    said, heard = _texts(data / "prompts" / "Eng_transcriptions.txt"), _texts(file)
    errors = total = 0
    for name in names:
        stem, number = Path(name).stem, _number(name)[1:].removesuffix(".wav")
        for known, key, where in ((heard, stem, file), (said, number, data / "prompts")):
            if key not in known:
                raise ValueError(f"{where}: no line for {key}; add it")
        errors += editdistance.eval(said[number], heard[stem])
        total += len(said[number])
    return 100 * errors / total


def _texts(file: Path) -> dict[str, list[str]]:
    """Return the words of every line by its first: upper case, no punctuation."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file; expected lines 'NAME WORDS', put it there")
    table = {ord(mark): None for mark in string.punctuation}
    lines = (line.split() for line in read_text(file).splitlines() if line.strip())
    return {name: " ".join(words).upper().translate(table).split() for name, *words in lines}


def _names(expert: dict[str, Any], split: str) -> list[str]:
    """Return what s3prl calls the converted utterances of a split: SPEAKER_NUMBER.wav."""
    numbers = Path(expert["datarc"]["lists_root"], LIST_FILES[split]).read_text().split()
    speakers = SOURCES if split == "test" else (expert["trgspk"],)
    return [f"{speaker}_{number}.wav" for number in numbers for speaker in speakers]


def _number(name: str) -> str:
    """Return ``E30001.wav`` for ``SEF1_E30001.wav``."""
    return name.rsplit("_", 1)[-1]


def _analyse(path: Path, f0_range: tuple[float, float]) -> tuple[world.Features, int]:
    try:
        wave, rate = soundfile.read(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path}: not readable as audio ({error}); make it again") from error
    return world.features(wave, rate, f0_range), rate


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
