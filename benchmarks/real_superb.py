#!/usr/bin/env python
"""Real speech laid out as SUPERB's corpora, to try KS, SID, PR and ASR on without a download.

    python benchmarks/real_superb.py DATA OUT    # then mt4ssl superb run with OUT/roots.yaml

DATA holds the folders speechocean762 and speech_commands_12, each with an index.csv (path, speaker,
label, transcript, split). Written are Speech Commands (see real_keywords.py), VoxCeleb1 with its
iden_split.txt (every speaker's utterances dealt out to train, validation and test) and LibriSpeech
with a lexicon: the corpus's own training speakers, ten of them held out as dev-clean, and 30 of its
test speakers as test-clean. PR and ASR share it.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import real_keywords  # noqa: E402
from mt4ssl_core.bars import Bar  # noqa: E402
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave  # noqa: E402
from mt4ssl_core.files import write_text  # noqa: E402
from upstream.compat import ctc_phones  # noqa: E402

DEV_SPEAKERS, TEST_SPEAKERS = 10, 30
FIRST_ID, FIRST_TEST_PART_ID = 10001, 10161  # of VoxCeleb1's numbers; dev/ and test/ folder
LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")


def lay_out_speakers(data: Path, out: Path) -> None:
    """Write VoxCeleb1's layout: of every speaker's utterances, 1 in 10 dev and 2 in 10 test."""
    lines, root = [], out / "VoxCeleb1"
    speakers = sorted(_by_speaker(data).items())
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


def main() -> None:
    """Lay all corpora out below OUT."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    real_keywords.lay_out(args.data / "speech_commands_12", args.out / "ks")
    lay_out_speakers(args.data / "speechocean762", args.out / "sid")
    lay_out_utterances(args.data / "speechocean762", args.out / "pr")
    roots = {"ks": "ks", "sid": "sid", "pr": "pr", "asr": "pr"}
    lines = [f"{task}: {(args.out / folder).absolute()}\n" for task, folder in roots.items()]
    write_text(args.out / "roots.yaml", "".join(lines))


if __name__ == "__main__":
    main()
