"""Speaker diarization: laid out as Libri2Mix at 16 kHz, mode max, with the turns of its sources.

A source is what one person says in a recording: some phrases with pauses, during which the other
one often speaks. As in Libri2Mix both begin together and the shorter one is padded. The turns come
per source in an RTTM file for each LibriSpeech part, as in s3prl's fork of LibriMix.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mini_superb import mixing
from mini_superb.clip import SAMPLE_RATE, Clip, Speaker, random_of, seed_of
from mini_superb.grammar import EVERYDAY, sentence
from mini_superb.librispeech import chapter, readers
from mini_superb.plan import Counts, Paths, Plan, Task
from mini_superb.sound import NOISES
from mini_superb.voices import cast, mood, scene

CORPUS = "sd/Libri2Mix/wav16k/max"
TURNS = "sd/metadata/LibriSpeech"
SPLITS = {
    "train": ("train-100", "train_clean_100"),
    "valid": ("dev", "dev_clean"),
    "test": ("test", "test_clean"),
}
_PHRASES = "sd/phrases"  # removed when the mixtures are there
_MARGIN = 0.05  # seconds of silence around a phrase


@dataclass(frozen=True)
class Mixtures(Counts):
    """(speakers, mixtures) of every split, and phrases per source."""

    phrases: int = 1


COUNTS = {
    "tiny": Mixtures((3, 4), (2, 1), (2, 2), phrases=1),
    "default": Mixtures((20, 100), (6, 15), (8, 20), phrases=2),
    "large": Mixtures((80, 600), (20, 60), (20, 100), phrases=3),
}


@dataclass(frozen=True)
class Source:
    """What one person says in a mixture, and how long they are silent before each phrase."""

    speaker: str
    utterance: str  # CHAPTER-NUMBER
    phrases: list[Clip]
    pauses: list[float]


@dataclass(frozen=True)
class Mixture:
    """Two sources."""

    split: str
    seed: int
    sources: list[Source]

    @property
    def name(self) -> str:
        """As in LibriMix: the names of both utterances."""
        return "_".join(f"{source.speaker}-{source.utterance}" for source in self.sources)


def plan(seed: int, size: str) -> Plan:
    """Phrases of 1-3 s, to be put together to mixtures of 4-12 s."""
    counts = COUNTS[size]
    rng = random_of(seed, "sd")
    mixtures = []
    for split, speakers in cast(rng, readers(rng, counts)).items():
        for index in range(counts.utterances(split)):
            pair = [speakers[k] for k in rng.permutation(len(speakers))[:2]]
            sources = [
                _source(rng, seed, split, speaker, index, counts.phrases) for speaker in pair
            ]
            name = f"{split}/{index}"
            mixtures.append(Mixture(split, seed_of(seed, name), sources))
    clips = [clip for mixture in mixtures for source in mixture.sources for clip in source.phrases]
    return Plan(clips, texts={}, finish=partial(_mix_all, mixtures))


def _source(
    rng: np.random.Generator, seed: int, split: str, speaker: Speaker, index: int, count: int
) -> Source:
    utterance = f"{chapter(rng)}-{index:04d}"
    here, person = scene(rng, snr_db=(30.0, 45.0)), mood(rng, speaker)
    phrases, pauses = [], []
    for number in range(count):
        path = f"{_PHRASES}/{speaker.name}-{utterance}-{number}.wav"
        text = sentence(EVERYDAY, rng)
        clip = Clip(path, split, seed_of(seed, path), text, person, here, _MARGIN, _MARGIN)
        phrases.append(clip)
        pauses.append(rng.uniform(0.1, 2.5) if number == 0 else rng.uniform(0.5, 3.0))
    return Source(speaker.name, utterance, phrases, pauses)


def _mix_all(mixtures: list[Mixture], root: Path) -> None:
    rows: dict[str, list[str]] = defaultdict(list)
    turns: dict[str, list[str]] = defaultdict(list)
    for mixture in mixtures:
        row, lines = _mix(mixture, root)
        rows[mixture.split].append(row)
        turns[mixture.split] += lines
    for split, (folder, part) in SPLITS.items():
        header = "mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length\n"
        name = f"{CORPUS}/metadata/mixture_{folder}_mix_both.csv"
        _write_text(root / name, header + "".join(rows[split]))
        _write_text(root / TURNS / f"{part}.rttm", "".join(turns[split]))
    for mixture in mixtures:
        for clip in (clip for source in mixture.sources for clip in source.phrases):
            (root / clip.path).unlink()
    (root / _PHRASES).rmdir()


def _mix(mixture: Mixture, root: Path) -> tuple[str, list[str]]:
    """Write a mixture; return its line of metadata and the turns of both sources."""
    rng = np.random.default_rng(mixture.seed)
    waves, lines = [], []
    for source in mixture.sources:
        wave, turns = _put_together(source, root)
        level = 10 ** (rng.uniform(-30, -25) / 20)
        waves.append(wave * level / mixing.rms(wave[np.abs(wave) > 0]))
        lines += [
            f"SPEAKER {source.utterance} 1 {start:.2f} {end - start:.2f} <NA> <NA> "
            f"{source.speaker} <NA> <NA>\n"
            for start, end in turns
        ]
    size = max(map(len, waves))
    both = np.sum([np.pad(wave, (0, size - len(wave))) for wave in waves], axis=0)
    noise = mixing.noise_at(both, rng.uniform(10, 20), str(rng.choice(sorted(NOISES))), rng)
    folder, name = root / CORPUS / SPLITS[mixture.split][0], f"{mixture.name}.wav"
    mixing.write(folder / "mix_both" / name, mixing.quieter(both + noise)[0])
    found = ",".join(str(folder / part / name) for part in ("mix_both", "s1", "s2", "noise"))
    return f"{mixture.name},{found},{size}\n", lines


def _put_together(source: Source, root: Path) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The (N,) wave of a source and the (start, end) seconds of its phrases."""
    parts, turns, now = [], [], 0
    for clip, pause in zip(source.phrases, source.pauses, strict=True):
        phrase = mixing.read(root / clip.path)
        silence = round(pause * SAMPLE_RATE)
        parts += [np.zeros(silence), phrase]
        now += silence
        turns.append((now / SAMPLE_RATE + _MARGIN, (now + len(phrase)) / SAMPLE_RATE - _MARGIN))
        now += len(phrase)
    return np.concatenate(parts), turns


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def paths(root: Path) -> Paths:
    """The folder of the corpus; what s3prl asks for is prepared from it."""
    return {"root": root / "sd"}


TASK = Task("sd", plan, paths)
