"""What log-mel frames save: training updates with them against those with the convolutions.

``python benchmarks/front_end.py`` writes benchmarks/results/front_end_<machine>.json and the
table in docs/results.md. The front ends take turns in one process with one thread; what counts is
processor time, so the ratio holds even where other programs are running.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core import config  # noqa: E402
from mt4ssl_core.data.masking import span_mask  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.model.mt4ssl import MT4SSL  # noqa: E402
from mt4ssl_core.model.optim import AdamW  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
FRONT_ENDS = {
    "conv": ["encoder.frontend=conv"],
    "mel, 20 ms": ["encoder.frontend=mel"],
    "mel, 40 ms": ["encoder.frontend=mel", "encoder.mel_stack=4"],
}
MODELS = {"tiny": (4, 40_000), "base": (1, 80_000)}  # (utterances, samples of each)


class Updates:
    """A model and random audio; `seconds` makes an update of it."""

    def __init__(self, name: str, front: str):
        self.count, self.samples = MODELS[name]
        given = ["data.train=x", "data.labels=x", "run.device=cpu", "optim.lr=1e-4"]
        self.cfg = config.load(name, [*given, *FRONT_ENDS[front]])
        self.model = MT4SSL(self.cfg).train()
        self.optimizer = AdamW(self.model, self.cfg.optim)

    def seconds(self, number: int) -> float:
        """Return the processor time of one update."""
        lengths = torch.full((self.count,), self.samples)
        waves = torch.randn(self.count, self.samples)
        frames = self.model.encoder.frame_lengths(lengths).tolist()
        ids = [str(i) for i in range(self.count)]
        mask = span_mask(frames, ids, self.cfg.masking, seed=1, epoch=number)
        labels = torch.randint(0, 100, (self.count, self.samples // 320))
        started = time.process_time()
        self.optimizer.prepare(number)
        losses = self.model(waves, lengths, mask, labels, number)
        torch.stack([loss.total for loss in losses]).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.process_time() - started


def measure(rounds: int) -> dict[str, Any]:
    """Return seconds per update of each model and front end, medians of alternated rounds."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, (count, samples) in MODELS.items():
        runs = {front: Updates(name, front) for front in FRONT_ENDS}
        times: dict[str, list[float]] = {front: [] for front in runs}
        for number in range(rounds + 1):
            for front, run in runs.items():
                times[front].append(run.seconds(number))
        found[name] = {
            "setting": {"utterances": count, "seconds of each": samples / 16_000, "rounds": rounds},
            "processor seconds per update": {
                front: statistics.median(each[1:]) for front, each in times.items()
            },
        }
    return found


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    (path,) = RESULTS.glob("front_end_*.json")
    record = json.loads(path.read_text())
    lines = ["| updates per second, conv = 1 | " + " | ".join(FRONT_ENDS) + " |"]
    lines.append("| --- |" + " ---: |" * len(FRONT_ENDS))
    for name, found in record["models"].items():
        times = found["processor seconds per update"]
        cells = [f"{times['conv'] / times[front]:.2f}" for front in FRONT_ENDS]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    setting = "; ".join(
        f"`{name}`: {found['setting']['utterances']} x {found['setting']['seconds of each']:g} s, "
        f"{found['processor seconds per update']['conv']:.3g} s with conv"
        for name, found in record["models"].items()
    )
    lines += ["", f"Both targets, one thread, medians of alternated rounds. {setting}. "
              "`python benchmarks/front_end.py` repeats it."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--tables-only", action="store_true")
    args = parser.parse_args()
    if not args.tables_only:
        about = {"machine": args.machine, "torch": torch.__version__}
        path = RESULTS / f"front_end_{args.machine}.json"
        write_json(path, about | {"models": measure(args.rounds)})
    pages.show("front-end", table())


if __name__ == "__main__":
    main()
