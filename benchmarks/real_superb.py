#!/usr/bin/env python
"""Real speech laid out as SUPERB's corpora, to try KS, SID, PR and ASR on without a download.

    python benchmarks/real_superb.py DATA OUT    # then mt4ssl superb run with OUT/roots.yaml

DATA holds the folders speechocean762 and speech_commands_12, each with an index.csv (path, speaker,
label, transcript, split). None of the test speakers is one that `real_small.py prepare` lets an
encoder hear. Written are:

- Speech Commands. Its keywords are those of SUPERB's ten that the folder has; every other word is
  _unknown_, and _silence_ is cut from noise that we make. Test clips are those of the testing
  split, which here has no keywords, and of half of the validation speakers; the other half is
  s3prl's dev set.
- VoxCeleb1 with its iden_split.txt: every test speaker's utterances are dealt out to train,
  validation and test.
- LibriSpeech with a lexicon: the training speakers, ten of them held out as dev-clean, and 30 of
  the test speakers as test-clean. PR and ASR share it.
"""

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from mt4ssl_core.bars import Bar  # noqa: E402
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave  # noqa: E402
from mt4ssl_core.files import write_text  # noqa: E402
from upstream.compat import ctc_phones  # noqa: E402

DEV_SPEAKERS, TEST_SPEAKERS = 10, 30
KEYWORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
SILENCE_CLIPS = 64  # in the test set of keywords
FIRST_ID, FIRST_TEST_PART_ID = 10001, 10081  # of VoxCeleb1's numbers; dev/ and test/ folder
LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")


def lay_out_keywords(data: Path, out: Path) -> None:
    """Write the corpus as Speech Commands v0.01 and its test set."""
    train, test = out / "speech_commands_v0.01", out / "speech_commands_test_set_v0.01"
    with open(data / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    unknown = 0
    for row in rows:
        second_half = hashlib.sha1(f"test {row['speaker']}".encode()).digest()[0] < 128
        is_test = row["split"] == "testing" or (row["split"] == "validation" and second_half)
        word = row["label"]
        folder = train / word
        if is_test:
            folder = test / (word if word in KEYWORDS else "_unknown_")
            unknown += word not in KEYWORDS
            if word not in KEYWORDS and unknown % 10:
                continue  # a tenth of the unknown words: classes of similar size
        name = f"{word}_{Path(row['path']).stem}" if is_test else Path(row["path"]).stem
        target = folder / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, load_wave(data / row["path"]), SAMPLE_RATE)
    rng = np.random.default_rng(0)
    for place, seconds, count in (
        (train / "_background_noise_", 60, 4),
        (test / "_silence_", 1, SILENCE_CLIPS),
    ):
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            soundfile.write(place / f"noise_{i:03d}.wav", noise(seconds, rng), SAMPLE_RATE)


def noise(seconds: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose spectrum falls with a random power of the frequency, at a random level."""
    spectrum = np.fft.rfft(rng.standard_normal(seconds * SAMPLE_RATE))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0.0, 1.0)
    wave = np.fft.irfft(spectrum)
    return wave / np.abs(wave).max() * rng.uniform(0.02, 0.5)


def lay_out_speakers(data: Path, out: Path) -> None:
    """Write VoxCeleb1's layout: of a speaker's utterances 1 in 10 is for validation, 2 for test."""
    lines, root = [], out / "VoxCeleb1"
    speakers = [one for one in sorted(_by_speaker(data).items()) if one[1][0]["split"] == "test"]
    shown = Bar("speaker", len(speakers)).over(speakers)
    for number, (_, rows) in enumerate(shown, FIRST_ID):
        part = "dev" if number < FIRST_TEST_PART_ID else "test"
        for index, row in enumerate(rows):
            split = {7: 2, 8: 3, 9: 3}.get(index % 10, 1)
            name = f"id{number}/video{split}/{index:05d}.wav"
            _write(root / part / "wav" / name, data / row["path"])
            lines.append(f"{split} {name}\n")
    write_text(root / "iden_split.txt", "".join(lines))


def lay_out_utterances(data: Path, out: Path) -> None:
    """Write LibriSpeech's layout with two lexicon files (the second one empty of new words)."""
    root = out / "LibriSpeech"
    speakers = _by_speaker(data)
    train = [s for s, rows in sorted(speakers.items()) if rows[0]["split"] == "train"]
    test = [s for s, rows in sorted(speakers.items()) if rows[0]["split"] == "test"]
    splits = {
        "train-clean-100": train[DEV_SPEAKERS:],
        "dev-clean": train[:DEV_SPEAKERS],
        "test-clean": test[:: len(test) // TEST_SPEAKERS][:TEST_SPEAKERS],
    }
    for split, names in splits.items():
        for speaker in Bar(f"{split}: speaker", len(names)).over(names):
            folder, lines = root / split / speaker / "1", []
            for index, row in enumerate(speakers[speaker]):
                name = f"{speaker}-1-{index:04d}"
                _write(folder / f"{name}.flac", data / row["path"])
                lines.append(f"{name} {row['transcript']}\n")
            write_text(folder / f"{speaker}-1.trans.txt", "".join(lines))
    known: dict[str, str] = {}
    for line in (data / "lexicon.txt").read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        # vowels without a stress mark count as unstressed
        marked = [f"{phone}0" if phone in ctc_phones.VOWELS.split() else phone for phone in phones]
        known.setdefault(word, " ".join(marked))
    lines = [f"{word}\t{phones}\n" for word, phones in known.items()]
    write_text(out / LEXICONS[0], "".join(lines))
    write_text(out / LEXICONS[1], lines[0])


def _by_speaker(data: Path) -> dict[str, list[dict[str, str]]]:
    speakers = defaultdict(list)
    with open(data / "index.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            speakers[row["speaker"]].append(row)
    return speakers


def _write(target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, load_wave(source), SAMPLE_RATE)


def lay_out(data: Path, out: Path) -> Path:
    """Lay all corpora out below ``out``; returns the table of their folders."""
    lay_out_keywords(data / "speech_commands_12", out / "ks")
    lay_out_speakers(data / "speechocean762", out / "sid")
    lay_out_utterances(data / "speechocean762", out / "pr")
    folders = {"ks": "ks", "sid": "sid", "pr": "pr", "asr": "pr"}
    lines = [f"{task}: {(out / folder).absolute()}\n" for task, folder in folders.items()]
    write_text(out / "roots.yaml", "".join(lines))
    return out / "roots.yaml"


def main() -> None:
    """Lay all corpora out below OUT."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    print(lay_out(args.data, args.out))


if __name__ == "__main__":
    main()
