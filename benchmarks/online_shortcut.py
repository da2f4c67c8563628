#!/usr/bin/env python
"""What makes a teacher's answer easy to guess? The variance of online targets, taken apart.

    python benchmarks/online_shortcut.py measure LIST.tsv RUN ... [--out FILE]
    python benchmarks/online_shortcut.py table

Every checkpoint of runs of `mt4ssl pretrain` is asked about the first two seconds of some
utterances of LIST.tsv, so that no frame is padding and a frame's place means the same in all.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.records import training_runs  # noqa: E402
from benchmarks import pages  # noqa: E402
from mt4ssl_core import config  # noqa: E402
from mt4ssl_core.checkpoints import checkpoint  # noqa: E402
from mt4ssl_core.command_line import guarded  # noqa: E402
from mt4ssl_core.config import MaskingConfig  # noqa: E402
from mt4ssl_core.data import tsv  # noqa: E402
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave  # noqa: E402
from mt4ssl_core.data.masking import span_mask  # noqa: E402
from mt4ssl_core.files import read_json, write_json  # noqa: E402
from mt4ssl_core.model.geometry import effective_rank  # noqa: E402
from mt4ssl_core.model.mt4ssl import MT4SSL  # noqa: E402
from mt4ssl_core.model.targets.online import OnlineTarget  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "online_shortcut.json"
SECONDS, UTTERANCES, BINS = 2, 64, 20
SETTINGS = (  # that tell the runs apart
    "offline.weight", "online.weight", "masking.prob", "masking.length", "optim.lr", "online.top_k",
    "online.ema_start", "online.ema_end", "online.ema_anneal_updates", "data.batch_seconds",
    "encoder.pos_conv_kernel",
)  # fmt: skip
SHOWN = ("place", "guessed", "guessed blindly", "spread", "rank")


def share_of_place(targets: Tensor) -> float:
    """The share of the variance of (B, T, D) that all utterances have in common, frame by frame.

    1: a target is a function of the frame's number alone; about 0: there is nothing in common. What
    a mean over B has by chance is taken off.
    """
    count = len(targets)
    within = targets.var(0).mean()
    between = targets.mean(0).var(0, unbiased=False).mean() - within / count
    return float(between / (between + within))


def share_of_loudness(targets: Tensor, loudness: Tensor) -> float:
    """The share of the variance of (B, T, D) that lies between BINS classes of (B, T) loudness."""
    x = targets.flatten(0, 1)
    bins = loudness.flatten().argsort().argsort() * BINS // loudness.numel()  # (B * T,)
    means = torch.stack([x[bins == number].mean(0) for number in range(BINS)])
    return float(1 - (x - means[bins]).square().sum() / (x - x.mean(0)).square().sum())


def explained(targets: Tensor, guesses: Tensor, mask: Tensor) -> float:
    """R2 of guesses (B, T, D) at the hidden frames."""
    wanted, found = targets[mask], guesses[mask]
    return float(1 - (wanted - found).square().sum() / (wanted - wanted.mean(0)).square().sum())


@torch.no_grad()
def measure(model: MT4SSL, masking: MaskingConfig, waves: Tensor) -> dict[str, float]:
    """What there is to say of a model's online targets for (B, N) waveforms."""
    encoder, target = model.eval().encoder, model.targets["online"]
    assert isinstance(target, OnlineTarget)
    prepared = torch.stack([encoder.prepare(wave) for wave in waves])
    lengths = torch.full((len(waves),), waves.shape[1])
    plain = encoder(prepared, lengths)
    frames, targets = plain.frames, target.answer(plain.frames, plain.lengths)
    names, size = [str(number) for number in range(len(waves))], frames.shape[1]
    mask = span_mask([size] * len(waves), names, masking, seed=0, epoch=0)

    def guessed(hidden: Tensor) -> Tensor:
        return target.head(encoder(prepared, lengths, hidden).output)

    loudness = waves.unfold(1, 400, 320)[:, :size].square().mean(-1).add(1e-8).log()
    everywhere, rows = torch.ones_like(mask), targets.flatten(0, 1)
    found = {
        "guessed": explained(targets, guessed(mask), mask),
        "guessed blindly": explained(targets, guessed(everywhere), everywhere),
        "place": share_of_place(targets),
        "loudness": share_of_loudness(targets, loudness),
        "spread": float(rows.std(0).mean()),
        "rank": effective_rank(rows[::5]),
        "rank, output": effective_rank(plain.output.flatten(0, 1)[::5]),
    }
    return {key: round(value, 4) for key, value in found.items()}


def speech(path: Path) -> Tensor:
    """The first seconds of UTTERANCES or a few more, evenly spread over a list, (B, N)."""
    least = SECONDS * SAMPLE_RATE
    rows = [row for row in tsv.read_tsv(path) if row.num_samples >= least]
    if len(rows) < UTTERANCES:
        raise ValueError(
            f"{path}: {len(rows)} utterances of {SECONDS} s, expected {UTTERANCES}; give more"
        )
    few = islice(rows, 0, None, len(rows) // UTTERANCES)
    return torch.stack([torch.from_numpy(load_wave(row.path)[:least]) for row in few])


def rows_of(run: Path, waves: Tensor) -> list[dict[str, Any]]:
    """A row for each checkpoint of a run and for its untrained model, with its settings.

    Raises:
        ValueError: a run without online targets.
    """
    found, rows = training_runs.open_run(run), []
    if found.settings.get("online.weight") is None:
        raise ValueError(f"{run}: it has no online targets, which are measured; leave it out")
    about = {key: found.settings.get(key) for key in SETTINGS}
    places: dict[int, Path | None] = {0: None, **found.checkpoints}
    for update, path in places.items():
        state = checkpoint.load(path or run / training_runs.LAST)
        cfg = config.from_dict(state["config"])
        torch.manual_seed(cfg.run.seed)
        model = MT4SSL(cfg)
        if path is not None:
            checkpoint.load_into(model.encoder, state["encoder"], path)
            for name, target in model.targets.items():
                checkpoint.load_into(target, state["targets"][name], path)
        rows.append({**about, "update": update, **measure(model, cfg.masking, waves)})
    return rows


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    heads = ["targets", "kernel", "rate", "top_k", "decay", "updates", *SHOWN]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in read_json(RESULTS)["rows"]:
        both = "both" if row["offline.weight"] else "online only"
        decay = f"{row['online.ema_start']:g} to {row['online.ema_end']:g}"
        rate, top, kernel = row["optim.lr"], row["online.top_k"], row["encoder.pos_conv_kernel"]
        cells = [both, str(kernel), f"{rate:g}", str(top), decay, str(row["update"])]
        lines.append(f"| {' | '.join([*cells, *(f'{row[name]:.3g}' for name in SHOWN)])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("measure")
    first.add_argument("list", type=Path)
    first.add_argument("runs", type=Path, nargs="+")
    first.add_argument("--out", type=Path, default=RESULTS)
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "measure":
        waves = speech(args.list)
        rows = [row for run in args.runs for row in rows_of(run, waves)]
        write_json(args.out, {"seconds": SECONDS, "utterances": len(waves), "rows": rows})
    else:
        pages.show("online-shortcut", table())


if __name__ == "__main__":
    sys.exit(guarded("online_shortcut", main))
