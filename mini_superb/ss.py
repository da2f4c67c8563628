"""Speech separation: laid out as Libri2Mix at 16 kHz, mode min, with all its conditions.

Every utterance is one of the two sources of a mixture, twice in training. A mixture ends with the
shorter of its sources.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import Clip, Speaker, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.librispeech import chapter, readers
from mini_superb.plan import Counts, Paths, Plan, Task
from mini_superb.sound import NOISES
from mini_superb.voices import cast, mood, scene

CORPUS = "ss/Libri2Mix/wav16k/min"
SPLITS = {"train": "train-100", "valid": "dev", "test": "test"}
_SOURCES = "ss/sources"  # removed when the mixtures are there


COUNTS = {
    "tiny": Counts((3, 2), (2, 1), (2, 1)),
    "default": Counts((16, 14), (4, 6), (6, 6)),
    "large": Counts((80, 20), (16, 12), (16, 12)),
}
_USES = {"train": 2, "valid": 1, "test": 1}


@dataclass(frozen=True)
class Mixture:
    """Two source clips and where their mixture goes."""

    split: str
    seed: int
    sources: tuple[Clip, Clip]

    @property
    def name(self) -> str:
        """As in LibriMix: the names of both utterances."""
        return "_".join(Path(clip.path).stem for clip in self.sources)


def plan(seed: int, size: str) -> Plan:
    """Utterances of 1-6 s, to be mixed by pairs."""
    rng, counts = random_of(seed, "ss"), COUNTS[size]
    clips, mixtures = [], []
    for split, speakers in cast(rng, readers(rng, counts)).items():
        count = counts.utterances(split)
        said = [_utterances(rng, seed, split, speaker, count) for speaker in speakers]
        clips += [clip for clips_of_one in said for clip in clips_of_one]
        for _ in range(_USES[split]):
            for pair in _pairs(rng, said):
                name = "_".join(clip.path for clip in pair)
                mixtures.append(Mixture(split, seed_of(seed, name), pair))
    return Plan(clips, texts={}, finish=partial(_mix_all, mixtures))


def _utterances(
    rng: np.random.Generator, seed: int, split: str, speaker: Speaker, count: int
) -> list[Clip]:
    book, clips = chapter(rng), []
    for index in range(count):
        path = f"{_SOURCES}/{speaker.name}-{book}-{index:04d}.wav"
        here, person = scene(rng, snr_db=(30.0, 45.0)), mood(rng, speaker)
        clips.append(Clip(path, split, seed_of(seed, path), _text(rng), person, here))
    return clips


def _text(rng: np.random.Generator) -> str:
    while len((text := sentence(EVERYDAY, rng)).split()) < 7:
        pass
    return text


def _pairs(rng: np.random.Generator, said: list[list[Clip]]) -> list[tuple[Clip, Clip]]:
    """Pair the utterances of different speakers, each at most once."""
    left = [[clips[k] for k in rng.permutation(len(clips))] for clips in said]
    pairs = []
    while sum(map(bool, left)) > 1:
        order = sorted(rng.permutation(len(left)), key=lambda speaker: -len(left[speaker]))
        pairs.append((left[order[0]].pop(), left[order[1]].pop()))
    return pairs


def _mix_all(mixtures: list[Mixture], root: Path) -> None:
    rows: dict[str, list[str]] = {split: [] for split in SPLITS}
    for mixture in mixtures:
        rows[mixture.split].append(_mix(mixture, root))
    for split, folder in SPLITS.items():
        path = root / CORPUS / "metadata" / f"mixture_{folder}_mix_clean.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = "mixture_ID,mixture_path,source_1_path,source_2_path,length\n"
        path.write_text(header + "".join(rows[split]), encoding="utf-8")
    for path in {root / clip.path for mixture in mixtures for clip in mixture.sources}:
        path.unlink()
    (root / _SOURCES).rmdir()


def _mix(mixture: Mixture, root: Path) -> str:
    """Write the six files of a mixture; return its line of metadata."""
    rng = np.random.default_rng(mixture.seed)
    first, second = (mixing.read(root / clip.path) for clip in mixture.sources)
    size = min(len(first), len(second))
    first, second = (
        wave[:size] / mixing.rms(wave[:size]) * 10 ** (rng.uniform(-30, -25) / 20)
        for wave in (first, second)
    )
    kind = str(rng.choice(sorted(NOISES)))
    noise = mixing.noise_at(first + second, rng.uniform(5, 15), kind, rng)
    first, second, noise, *mixed = mixing.quieter(
        first, second, noise, first + second, first + second + noise, first + noise
    )
    conditions = ("s1", "s2", "noise", "mix_clean", "mix_both", "mix_single")
    folder, name = root / CORPUS / SPLITS[mixture.split], f"{mixture.name}.wav"
    for condition, wave in zip(conditions, (first, second, noise, *mixed), strict=True):
        mixing.write(folder / condition / name, wave)
    found = ",".join(str(folder / condition / name) for condition in ("mix_clean", "s1", "s2"))
    return f"{mixture.name},{found},{size}\n"


def paths(root: Path) -> Paths:
    """The folder of the corpus; what s3prl asks for is prepared from it."""
    return {"root": root / "ss"}


TASK = Task("ss", plan, paths)
