"""Corpora of noise in the layouts and with the lengths of SUPERB's, to measure speed on.

Lengths are quantiles of the real corpus's distribution, the same number of utterances from each
part of it, so that also a few dozen utterances have its mean. What is said is drawn at random.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from mini_superb import er, ic, ks, pr, sf, sid
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.files import write_text
from upstream import corpora

# seconds at quantiles 0, 1/4, 1/2, 3/4 and 1
COMMANDS = (0.9, 1.7, 2.1, 2.7, 4.5)  # Fluent Speech Commands, mean 2.3
TURNS = (0.6, 2.2, 3.5, 5.5, 13.0)  # IEMOCAP, mean 4.5
REQUESTS = (1.2, 2.1, 2.7, 3.3, 5.0)  # Audio SNIPS, mean 2.8
READ = (1.5, 12.0, 14.1, 15.4, 17.2)  # LibriSpeech train-clean-100, mean 12.7
MIXTURES = (8.0, 10.0, 12.0, 14.0, 16.0)  # Libri2Mix, mode max
CELEBRITIES = "VoxCeleb1: at least 4 s, mean 8.2 s, long tail"
NOISE_SECONDS = (61.0, 95.2, 67.0, 60.0, 64.0, 93.0)  # Speech Commands' _background_noise_
WORDS_PER_SECOND = 2.7  # in LibriSpeech

Lengths = tuple[float, ...] | str


def lengths(kind: Lengths, count: int, rng: np.random.Generator) -> list[float]:
    """Return ``count`` lengths in seconds, spread over a distribution, in random order."""
    places = (np.arange(count) + 0.5) / count
    if isinstance(kind, str):
        seconds = 4.0 - 4.2 * np.log1p(-places)
    else:
        seconds = np.interp(places, np.linspace(0, 1, len(kind)), kind)
    return [float(value) for value in rng.permutation(seconds)]


def wave(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return bursts of band-limited noise, (N,), loud enough throughout for a voice detector."""
    size = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum[(hertz < 100) | (hertz > rng.uniform(2500, 5000))] = 0
    noise = np.fft.irfft(spectrum, size)
    bursts = rng.uniform(0.3, 1.0, 2 + int(4 * seconds))  # four a second
    envelope = np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(bursts)), bursts)
    quiet = noise * envelope
    return (0.3 * quiet / np.abs(quiet).max()).astype(np.float32)


def write(task: str, folder: Path, count: int, seed: int = 0) -> Path:
    """Write a corpus with ``count`` utterances to train on; return its folder.

    What s3prl needs made from it is made. A folder with a finished corpus is left as it is.
    """
    root = folder / task
    if not (root / "done").exists():
        LAYOUTS[task](root, count, np.random.default_rng(seed))
        corpora.prepare(task, root)
        write_text(root / "done", f"{count} utterances to train on\n")
    return root


def _audio(path: Path, seconds: float, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave(seconds, rng), SAMPLE_RATE)


def _commands(root: Path, count: int, rng: np.random.Generator) -> None:
    intents = list(ic.INTENTS)
    for split, size in (("train", count), ("valid", 4), ("test", 4)):
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(ic.COLUMNS)
        for number, seconds in enumerate(lengths(COMMANDS, size, rng)):
            name = f"wavs/speakers/spk{number % 4}/{split}-{number:05d}.wav"
            _audio(root / ic.CORPUS / name, seconds, rng)
            table.writerow([number, name, f"spk{number % 4}", "-", *intents[number % len(intents)]])
        write_text(root / ic.CORPUS / "data" / f"{split}_data.csv", text.getvalue())


def _turns(root: Path, count: int, rng: np.random.Generator) -> None:
    """s3prl trains on four fifths of four sessions."""
    emotions = ("neu", "hap", "ang", "sad")
    for session in range(1, er.SESSIONS + 1):
        dialog = f"Ses{session:02d}F_impro01"
        folder, judged = root / er.CORPUS / f"Session{session}", []
        for number, seconds in enumerate(lengths(TURNS, -(-count * 5 // 16), rng)):
            turn = f"{dialog}_{'FM'[number % 2]}{number:03d}"
            _audio(folder / "sentences" / "wav" / dialog / f"{turn}.wav", seconds, rng)
            judged.append(f"[0.0000 - 3.0000]\t{turn}\t{emotions[number % 4]}\t[2.5, 2.5, 2.5]\n")
        path = folder / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
        write_text(
            path, "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(judged)
        )


def _keywords(root: Path, count: int, rng: np.random.Generator) -> None:
    """``count`` includes the six noises, as s3prl's list of training samples does."""
    names: dict[str, list[str]] = {"train": [], "valid": []}
    while len(names["train"]) < count or len(names["valid"]) < 4:
        name = f"{rng.integers(2**32):08x}"
        if (split := ks.hash_split(name)) in names:
            names[split].append(name)
    for number, seconds in enumerate(NOISE_SECONDS):
        _audio(root / ks.TRAIN / "_background_noise_" / f"noise_{number}.wav", seconds, rng)
    words = [*ks.KEYWORDS, *ks.OTHER_WORDS[:1]]
    speakers = [*names["train"][: count - len(NOISE_SECONDS)], *names["valid"][:4]]
    for number, speaker in enumerate(speakers):
        word = words[number % len(words)]
        _audio(root / ks.TRAIN / word / f"{speaker}_nohash_0.wav", 1.0, rng)
    for word in (*ks.KEYWORDS, "_unknown_", "_silence_"):
        _audio(root / ks.TEST / word / "00000000_nohash_0.wav", 1.0, rng)


def _identities(root: Path, count: int, rng: np.random.Generator) -> None:
    lines = []
    for number, seconds in enumerate(lengths(CELEBRITIES, count, rng)):
        name = f"id{sid.FIRST_ID + number % 40}/video{number // 40:06d}/{number:05d}.wav"
        _audio(root / "VoxCeleb1" / "dev" / "wav" / name, seconds, rng)
        lines.append(f"1 {name}\n")
    for split in (2, 3):
        name = f"id{sid.FIRST_TEST_PART_ID}/video00000{split}/00001.wav"
        _audio(root / "VoxCeleb1" / "test" / "wav" / name, 4.5, rng)
        lines.append(f"{split} {name}\n")
    write_text(root / "VoxCeleb1" / "iden_split.txt", "".join(lines))


def _verifications(root: Path, count: int, rng: np.random.Generator) -> None:
    for number, seconds in enumerate(lengths(CELEBRITIES, count, rng)):
        name = f"id{sid.FIRST_ID + number % 8}/video{number // 8:06d}/{number:05d}.wav"
        _audio(root / "VoxCeleb1" / "dev" / "wav" / name, seconds, rng)
    names = [f"id{sid.FIRST_TEST_PART_ID + k // 2}/video000000/0000{k % 2}.wav" for k in range(4)]
    for name in names:
        _audio(root / "VoxCeleb1" / "test" / "wav" / name, 4.5, rng)
    trials = f"1 {names[0]} {names[1]}\n0 {names[0]} {names[2]}\n"
    write_text(root / "voxceleb1_test_v2.txt", trials)


def _mixtures(root: Path, count: int, rng: np.random.Generator) -> None:
    for split, size in (("train", count), ("dev", 2), ("test", 2)):
        tables: dict[str, list[str]] = {name: [] for name in _KALDI}
        for number, seconds in enumerate(lengths(MIXTURES, size, rng)):
            name = f"{split}{number:05d}"
            path = root.absolute() / "wav" / split / f"{name}.wav"
            _audio(path, seconds, rng)
            tables["wav.scp"].append(f"{name} {path}")
            tables["reco2dur"].append(f"{name} {seconds:.4f}")
            for speaker, start, end in ((0, 0.2, 0.6 * seconds), (1, 0.4 * seconds, seconds - 0.2)):
                person = f"{name}p{speaker}"
                tables["segments"].append(f"{person}-{name} {name} {start:.3f} {end:.3f}")
                tables["utt2spk"].append(f"{person}-{name} {person}")
                tables["spk2utt"].append(f"{person} {person}-{name}")
                turn = f"{start:.3f} {end - start:.3f} <NA> <NA> {person} <NA> <NA>"
                tables["rttm"].append(f"SPEAKER {name} 1 {turn}")
        for table, lines in tables.items():
            write_text(root / split / table, "".join(f"{line}\n" for line in lines))


_KALDI = ("wav.scp", "reco2dur", "segments", "utt2spk", "spk2utt", "rttm")


def _read(root: Path, count: int, rng: np.random.Generator) -> None:
    splits = (("train-clean-100", count), ("dev-clean", 2), ("test-clean", 2))
    for speaker, (split, size) in enumerate(splits, 100):
        book, lines = f"{speaker}-1", []
        folder = root / "LibriSpeech" / split / str(speaker) / "1"
        for number, seconds in enumerate(lengths(READ, size, rng)):
            name = f"{book}-{number:04d}"
            _audio(folder / f"{name}.flac", seconds, rng)
            words = rng.choice(list(pr.PRONUNCIATIONS), round(WORDS_PER_SECOND * seconds))
            lines.append(f"{name} {' '.join(words).upper()}\n")
        write_text(folder / f"{book}.trans.txt", "".join(lines))
    text = "".join(f"{word.upper()}\t{phones}\n" for word, phones in pr.PRONUNCIATIONS.items())
    for name in pr.LEXICONS:  # PR alone reads them
        write_text(root / Path(name).name, text)


def _requests(root: Path, count: int, rng: np.random.Generator) -> None:
    lines, folder = [], root / "SNIPS"
    for split, size in (("train", count), ("valid", 4), ("test", 4)):
        speakers = sf.SPEAKERS[split]
        for number, seconds in enumerate(lengths(REQUESTS, size, rng)):
            name = f"{speakers[number % len(speakers)]}-snips-{split}-{number}"
            _audio(folder / split / f"{name}.wav", seconds, rng)
            line = "BOS ADD THE SONG OF BOB DYLAN TO MY ROAD TRIP LIST EOS\t"
            slots = "O O O O O artist artist O O playlist playlist O AddToPlaylist"
            lines.append(f"{name} {line}{slots}\n")
    write_text(folder / "all.iob.snips.txt", "".join(lines))
    write_text(folder / "slots.txt", "\n".join(["O", *sorted(sf.SLOTS.values())]))


LAYOUTS: dict[str, Callable[[Path, int, np.random.Generator], None]] = {
    "ic": _commands,
    "er": _turns,
    "ks": _keywords,
    "sid": _identities,
    "asv": _verifications,
    "sd": _mixtures,
    "pr": _read,
    "asr": _read,
    "sf": _requests,
}
