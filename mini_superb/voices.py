"""Speakers and recording scenes: where the variety of the corpora comes from."""

from dataclasses import replace

import numpy as np

from mini_superb.clip import Scene, Speaker
from mini_superb.espeak import variants
from mini_superb.grammar import words
from mini_superb.sound import CHANNEL_HZ, NOISES

# Of the 104 installed variants, robots, whispers, croaks, echoes and near twins are left out.
HIGH_VARIANTS = words("""
    Alicia Andrea Annie anika aunty belinda f1 f2 f3 f4 f5 grandma linda shelby steph
""")
LOW_VARIANTS = words("""
    Alex Andy Denis Diogo Gene Henrique Hugo Jacky Lee Mario Michael Mike Nguyen Reed RicishayMax
    Storm adam antonio boris david ed edward gustave ian iven3 iven4 john klatt3 klatt4 klatt6 m1
    m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 pablo paul pedro quincy rob robert sandro
    travis victor
""")

AMERICAN = tuple(words("en-us en-us en-us en-us-nyc"))
ENGLISH = tuple(
    words("""
    en-us en-us en-us en-us en-us-nyc gmw/en en-gb-scotland en-gb-x-rp en-gb-x-gbclan
    en-gb-x-gbcwmd en-029
""")
)


def cast(
    rng: np.random.Generator, groups: dict[str, list[str]], accents: tuple[str, ...] = ENGLISH
) -> dict[str, list[Speaker]]:
    """A speaker for every name in every group; no variant serves two groups.

    ``groups`` maps a split to the names of its people; two in five of them have a high voice.
    Raises ValueError when the installed espeak-ng lacks a variant.
    """
    missing = sorted({*HIGH_VARIANTS, *LOW_VARIANTS} - variants())
    if missing:
        raise ValueError(
            f"this espeak-ng lacks the voice variants {', '.join(missing)}; "
            'install the tested one: pip install "espeakng-loader>=0.2.4"'
        )
    total = sum(len(names) for names in groups.values())
    shares = {group: len(names) / total for group, names in groups.items()}
    high, low = _divide(rng, HIGH_VARIANTS, shares), _divide(rng, LOW_VARIANTS, shares)
    return {
        group: [
            _speaker(rng, name, (high if index % 5 in (1, 3) else low)[group], index, accents)
            for index, name in enumerate(names)
        ]
        for group, names in groups.items()
    }


def _divide(
    rng: np.random.Generator, items: list[str], shares: dict[str, float]
) -> dict[str, list[str]]:
    """Deal shuffled ``items`` out by ``shares``, at least one to each."""
    dealt: dict[str, list[str]] = {group: [] for group in shares}
    for item in rng.permutation(items):
        group = min(shares, key=lambda g: len(dealt[g]) / shares[g])
        dealt[group].append(str(item))
    return dealt


def _speaker(
    rng: np.random.Generator, name: str, choice: list[str], index: int, accents: tuple[str, ...]
) -> Speaker:
    return Speaker(
        name=name,
        voice=f"{rng.choice(accents)}+{choice[index % len(choice)]}",
        rate=round(rng.uniform(140, 200), 1),
        pitch=round(rng.uniform(25, 75), 1),
        pitch_range=round(rng.uniform(25, 75), 1),
        tract=round(rng.uniform(0.88, 1.12), 3),
    )


def mood(rng: np.random.Generator, speaker: Speaker) -> Speaker:
    """The same person on another occasion: rate, pitch and range move, the vocal tract hardly."""
    return replace(
        speaker,
        rate=speaker.rate * rng.uniform(0.88, 1.14),
        pitch=float(np.clip(speaker.pitch + rng.uniform(-12, 12), 0, 99)),
        pitch_range=float(np.clip(speaker.pitch_range + rng.uniform(-15, 15), 0, 99)),
        tract=speaker.tract * rng.uniform(0.985, 1.015),
    )


def scene(
    rng: np.random.Generator, snr_db: tuple[float, float] = (12.0, 35.0), channel_db: float = 3.0
) -> Scene:
    """A random room, microphone (gains vary by ``channel_db``), distance and background."""
    return Scene(
        level_db=rng.uniform(-32, -20),
        snr_db=rng.uniform(*snr_db),
        noise=str(rng.choice(sorted(NOISES))),
        channel_db=tuple(float(g) for g in rng.normal(0, channel_db, len(CHANNEL_HZ))),
        reverb_seconds=rng.uniform(0.1, 0.4),
        reverb_db=rng.uniform(-25, -8),
    )
