"""How fast audio is decoded into batches: x real time for WAV, FLAC and Opus by loader processes.

``python benchmarks/loader.py AUDIO`` takes up to ``--minutes`` of the audio in a folder, writes it
in each format, and loads epochs of it in turn. It writes benchmarks/results/loader_<machine>.json
and the table in docs/results.md.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core.config import DataConfig, MaskingConfig  # noqa: E402
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave  # noqa: E402
from mt4ssl_core.data.loader import PretrainLoader  # noqa: E402
from mt4ssl_core.data.manifest import open_manifest  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402

FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
WORKERS = (0, 1, 2)
NEEDED = 7_000  # seconds of audio per second that a GPU learns from


def write_formats(audio: Path, folder: Path, minutes: float) -> float:
    """Write some of the audio once per format; returns its seconds."""
    seconds = 0.0
    for number, cut in enumerate(open_manifest(audio, min_seconds=1).cuts):
        wave = load_wave(cut)
        for name, (kind, coding) in FORMATS.items():
            (folder / name).mkdir(exist_ok=True)
            path = folder / name / f"{number}.{name}"
            soundfile.write(path, wave, SAMPLE_RATE, format=kind, subtype=coding)
        seconds += len(wave) / SAMPLE_RATE
        if seconds > 60 * minutes:
            break
    return seconds


class Epochs:
    """A loader of one format with so many processes; `speed` loads an epoch."""

    def __init__(self, folder: Path, workers: int):
        cfg = DataConfig(train="-", workers=workers, min_seconds=1, batch_seconds=60)
        manifest = open_manifest(folder, min_seconds=1)
        self.loader = PretrainLoader(
            manifest, None, cfg, normalize=True, seed=1, masking=MaskingConfig()
        )

    def speed(self, epoch: int) -> float:
        """Return seconds of audio per second, from the first batch (then processes run) on."""
        batches = self.loader.batches(epoch)
        next(batches)
        started, seconds = time.perf_counter(), 0.0
        for batch in batches:
            assert not batch.skipped
            seconds += batch.seconds
        return seconds / (time.perf_counter() - started)


def measure(audio: Path, minutes: float, rounds: int) -> dict[str, Any]:
    """Return x real time by format and number of processes, medians of alternated rounds."""
    with tempfile.TemporaryDirectory() as place:
        seconds = write_formats(audio, Path(place), minutes)
        runs = {(f, w): Epochs(Path(place, f), w) for f in FORMATS for w in WORKERS}
        speeds: dict[tuple[str, int], list[float]] = {run: [] for run in runs}
        for number in range(rounds):
            for run, epochs in runs.items():
                speeds[run].append(epochs.speed(number))
    found = {
        name: {str(count): statistics.median(speeds[name, count]) for count in WORKERS}
        for name in FORMATS
    }
    return {"seconds": seconds, "rounds": rounds, "x_real_time": found}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("loader")
    if not kept:
        return pages.NOT_RUN
    record = kept[0]
    lines = [
        f"| x real time | no process of its own | 1 process | 2 processes | cores for {NEEDED:,} |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, speeds in record["x_real_time"].items():
        cells = [f"{speeds[str(count)]:,.0f}" for count in WORKERS]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.ceil(NEEDED / speeds['1']):.0f} |")
    lines += [
        "",
        f"Mono, 16 kHz, {record['seconds'] / 60:.0f} minutes of speech from a warm page cache, "
        f"normalised, cropped, masked and padded to batches of 60 s; {record['cores']} cores of "
        f"{record['machine']}, load {record['load']:.1f}; medians of {record['rounds']} alternated "
        "rounds. The last column is at the speed of one process. "
        "`python benchmarks/loader.py AUDIO` repeats it.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("audio", nargs="?", help="a folder or list of speech")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args()
    if not args.tables_only:
        if not args.audio:
            parser.error("give a folder of audio")
        about = {"machine": args.machine, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        found = measure(Path(args.audio), args.minutes, args.rounds)
        write_json(pages.record_path("loader", args.machine), about | found)
    pages.show("loader", table())


if __name__ == "__main__":
    main()
