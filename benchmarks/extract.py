#!/usr/bin/env python
"""How fast features are extracted: ours beside transformers' Data2VecAudioModel, the same work.

    python benchmarks/extract.py [--rounds 5] [--threads 2] [--machine NAME] [--tables-only]

BASE with random weights, noise, all layers, fp32, attention over padding masked on both sides. A
round lets each side encode the same batch in turn, in one process, so the ratio holds even where
other programs are running. Unequal lengths: ours as `mt4ssl extract` batches them (by length);
transformers' as one padded batch, and one by one, which is the faster way on some machines.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core import config, configs  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.labelling.hidden_states import batches, hidden_states  # noqa: E402
from mt4ssl_core.memory import keep_memory  # noqa: E402
from mt4ssl_core.model.encoder import Encoder  # noqa: E402

RATE = 16_000
LENGTHS = {"equal": [6.0] * 4, "unequal": [10.0, 6.0, 3.0, 1.5]}  # seconds
BATCH_SECONDS = 24.0
SIDES = ("ours", "transformers, padded", "transformers, one by one")


def sides() -> dict[str, Callable[[list[np.ndarray]], Any]]:
    """Each side as a function of waveforms (N,)."""
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    cfg = config.load(configs.path("base"), ["data.train=none", "data.labels=none"])
    encoder = Encoder(cfg.encoder).eval()
    layers = list(range(encoder.layers))
    peer = Data2VecAudioModel(Data2VecAudioConfig()).eval()

    def ours(waves: list[np.ndarray]) -> None:
        for places in batches([len(wave) for wave in waves], encoder.isolated, BATCH_SECONDS):
            hidden_states(encoder, [waves[place] for place in places], layers)

    def encoded(waves: list[np.ndarray]) -> None:
        longest = max(map(len, waves))
        values, mask = torch.zeros(len(waves), longest), torch.zeros(len(waves), longest).long()
        for row, wave in enumerate(waves):
            values[row, : len(wave)] = torch.from_numpy((wave - wave.mean()) / wave.std())
            mask[row, : len(wave)] = 1
        with torch.no_grad():
            peer(values, attention_mask=mask, output_hidden_states=True)

    def alone(waves: list[np.ndarray]) -> None:
        for wave in waves:
            encoded([wave])

    return dict(zip(SIDES, (ours, encoded, alone), strict=True))


def measure(rounds: int, threads: int, seconds: float) -> dict[str, Any]:
    """Return x real time of each side, and the ratio of each peer's time to ours, by round.

    ``seconds`` scales the lengths of the utterances.
    """
    torch.set_num_threads(threads)
    keep_memory()  # for all sides
    random, found = np.random.default_rng(0), {}
    run = sides()
    for name, lengths in LENGTHS.items():
        sizes = [int(RATE * seconds * length) for length in lengths]
        waves = [random.standard_normal(size).astype(np.float32) * 0.1 for size in sizes]
        times: dict[str, list[float]] = {side: [] for side in run}
        for _ in range(rounds + 1):
            for side, encode in run.items():
                began = time.perf_counter()
                encode(waves)
                times[side].append(time.perf_counter() - began)
        found[name] = {side: each[1:] for side, each in times.items()}  # the first one warms up
        print(name, {side: round(statistics.median(each), 2) for side, each in times.items()})
    return found


def table_of(record: dict[str, Any]) -> str:
    """A row for each side and kind of batch."""
    lines = ["| utterances | side | s | s / ours |", "| --- | --- | ---: | ---: |"]
    for name, times in record["seconds"].items():
        for side, each in times.items():
            ratios = [a / b for a, b in zip(each, times["ours"], strict=True)]
            cells = [name, side, f"{statistics.median(each):.2f}"]
            lines.append(f"| {' | '.join(cells)} | {statistics.median(ratios):.2f} |")
    about = record["setting"]
    seconds = {
        name: " + ".join(f"{about['scale'] * length:g}" for length in lengths)
        for name, lengths in LENGTHS.items()
    }
    batch = "; ".join(f"{name}: {lengths} s" for name, lengths in seconds.items())
    return "\n".join(lines) + (
        f"\n\nBASE, all layers, fp32, {about['threads']} thread(s) of {record['machine']}, load "
        f"{record['load']:.1f}: medians of {about['rounds']} alternated rounds; {batch}. "
        f"transformers {record['transformers']}. `python benchmarks/extract.py` repeats it."
    )


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("extract")
    return table_of(kept[0]) if kept else pages.NOT_RUN


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--out", type=Path, help="of the JSON")
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    args = parser.parse_args()
    if not args.tables_only:
        import transformers

        setting = {"rounds": args.rounds, "threads": args.threads, "scale": args.scale}
        record = {
            "machine": args.machine,
            "load": os.getloadavg()[0],
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "setting": setting,
            "seconds": measure(args.rounds, args.threads, args.scale),
        }
        write_json(args.out or pages.record_path("extract", args.machine), record)
        print(table_of(record))
    if args.out is None:
        pages.show("extract", table())


if __name__ == "__main__":
    main()
