"""What a run says of itself: log.jsonl (the record of truth), loggers, a progress bar."""

import json
import math
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core.bars import Bar
from mt4ssl_core.distributed import World
from mt4ssl_core.files import write_text, writing
from mt4ssl_core.lines import say
from mt4ssl_core.model.targets import Target, TargetLoss
from mt4ssl_core.training.loggers import open_loggers
from mt4ssl_core.training.progress import Progress

LOG = "log.jsonl"
_MOST = 1 << 53  # updates


class Meter:
    """Sums what happens between two lines of the log, over all processes.

    Numbers are summed where they are: those of a device are not asked for before a line is due.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.reset()

    def reset(self) -> None:
        """Forget everything and restart the clock."""
        self.sums: dict[str, float | Tensor] = defaultdict(float)
        self.usage: dict[str, Tensor] = {}
        self.start = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time spent inside out of the clock."""
        begun = time.perf_counter()
        yield
        self.start += time.perf_counter() - begun

    def add(self, name: str, value: float | Tensor, weight: float = 1.0) -> None:
        """Add ``value`` with ``weight`` to the mean called ``name``; a NaN is left out."""
        if isinstance(value, Tensor):
            value = value.detach().float()
            known = ~value.isnan()
            self.sums[name] += torch.where(known, value, 0.0) * weight
            self.sums[f"{name} weight"] += known * weight
        elif not math.isnan(value):
            self.sums[name] += value * weight
            self.sums[f"{name} weight"] += weight

    def total(self, name: str) -> float:
        """The sum called ``name`` of this process, or 0."""
        return float(self.sums[name])

    def add_losses(self, losses: list[TargetLoss]) -> None:
        """Add what the targets report of one batch."""
        for loss in losses:
            if loss.count == 0:
                continue
            for key, total in loss.sums.items():
                self.add(f"{loss.name}/{key}", total / loss.count, loss.count)
            for key, mean in loss.means.items():
                self.add(f"{loss.name}/{key}", mean)
            for key, counts in (("code", loss.usage), ("label", loss.wanted)):
                if counts is not None:
                    name = f"{loss.name}/{key}_perplexity"
                    known = self.usage.get(name)
                    self.usage[name] = counts if known is None else known + counts

    def read(
        self, world: World, targets: Sequence[Target], more: Sequence[str]
    ) -> dict[str, float]:
        """Means over all processes of what targets report and of ``more``; perplexities of codes
        and, where they were counted, of the labels.
        """
        names = [f"{target.name}/{metric}" for target in targets for metric in target.metrics]
        names += more
        pairs = [self.sums[key] for name in names for key in (name, f"{name} weight")]
        totals = world.sum(_on_host(pairs)).tolist()
        means = {
            name: totals[2 * i] / totals[2 * i + 1]
            for i, name in enumerate(names)
            if totals[2 * i + 1]
        }
        for target in targets:
            if target.num_classes is None:
                continue
            none = torch.zeros(target.num_classes, dtype=torch.int64, device=self.device)
            names = [f"{target.name}/{key}_perplexity" for key in ("code", "label")]
            counts = world.sum(torch.stack([self.usage.get(n, none) for n in names]).double().cpu())
            means |= {
                name: _perplexity(row)
                for name, row in zip(names, counts, strict=True)
                if row.any() or name == names[0]
            }
        return means


def _perplexity(counts: Tensor) -> float:
    """Exp of the entropy of (K,) counts; 1 where there are none."""
    shares = counts / counts.sum().clamp(min=1)
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


def _on_host(values: Sequence[float | Tensor]) -> Tensor:
    """(N,) float64 on the CPU of numbers and of scalars of a device, which are read at once."""
    out = torch.tensor([0.0 if isinstance(v, Tensor) else v for v in values], dtype=torch.float64)
    if scalars := [(i, v) for i, v in enumerate(values) if isinstance(v, Tensor)]:
        places, there = zip(*scalars, strict=True)
        out[list(places)] = torch.stack(there).double().cpu()
    return out


class Journal:
    """Writes the log of one run; on processes other than the first it does nothing.

    loggers: names of `loggers.LOGGERS`. settings: of the run, as plain values, for these.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        progress: Progress,
        total: int,
        loggers: Sequence[str] = ("tensorboard",),
        settings: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.active = world.is_main
        if not self.active:
            return
        self.path, resumed_at = folder / LOG, progress.update
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            _forget_after(self.path, progress)
            self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115, see close()
            self.place = os.fstat(self.file.fileno())
        self.loggers = open_loggers(loggers, folder, resumed_at + 1, settings)
        self.bar = Bar("update", total, done=resumed_at, timed=False)

    def line(self, values: dict[str, Any], more: bool = False) -> None:
        """Append one record; ``values`` holds at least ``update``. ``more``: another record of this
        update comes, so that one line where there is no terminal has both.
        """
        if not self.active:
            return
        self.check()
        rounded = {
            k: float(f"{v:.7g}") if isinstance(v, float) and math.isfinite(v) else v
            for k, v in values.items()
        }
        bad = {k for k, v in rounded.items() if isinstance(v, float) and not math.isfinite(v)}
        rounded |= dict.fromkeys(bad)  # JSON has no NaN and no infinity
        with writing(self.path):
            self.file.write(json.dumps(rounded) + "\n")
            self.file.flush()
        numbers = {
            name: value
            for name, value in values.items()
            if isinstance(value, int | float) and name not in ("update", "epoch")
        }
        for logger in self.loggers:
            logger.add(numbers, values["update"])
        self.bar.speed = values.get("audio_seconds_per_s", self.bar.speed)
        if shown := _shown(values):
            self.bar.show(now=not more, **shown)

    def check(self) -> None:
        """See that what is written still goes to the run's folder.

        Raises:
            OSError: its folder was unmounted, moved or emptied, or another run has begun in it.
        """
        if not self.active:
            return
        with writing(self.path), suppress(FileNotFoundError):
            if os.path.samestat(self.place, os.stat(self.path)):
                return
        raise OSError(
            f"{self.path}: no longer the file that this run writes: its folder was unmounted, "
            "moved or emptied, or another run has begun in it; nothing more is written. Bring the "
            "folder back and run the same command again: it goes on from the last checkpoint there"
        )

    def advance(self) -> None:
        """One update is done."""
        if self.active:
            self.bar.advance()

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        if self.active:
            say(text)

    def close(self) -> None:
        """Flush and close everything."""
        if not self.active:
            return
        parts: list[Any] = [self.bar, self.file, *self.loggers]
        for part in parts:
            with suppress(OSError):  # what matters was written in `line`
                part.close()


def _shown(values: Mapping[str, Any]) -> dict[str, str]:
    """What the progress bar shows of a record: each a few characters wide."""
    found = {"loss": values.get("loss"), "lr": values.get("lr"), "valid": values.get("valid/loss")}
    found["wer"] = values.get("valid/wer")
    accuracies = [v for k, v in values.items() if re.fullmatch(r"[^/]+/accuracy", k)]
    found["acc"] = accuracies[0] if accuracies else None
    kinds = {"lr": ".1e"}
    order = ("loss", "acc", "lr", "valid", "wer")
    return {k: format(found[k], kinds.get(k, ".3f")) for k in order if found[k] is not None}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file; a half-written last line is left out, and said.

    Raises:
        ValueError: another line that is no record of an update, or one of an earlier update than
            the line before.
    """
    records: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # also of too many digits
            if number == len(lines):
                say(f"{path}:{number}: a half-written line at the end is left out", sys.stderr)
                break
            raise ValueError(f"{path}:{number}: not JSON ({error}); remove the line") from error
        update = record.get("update") if isinstance(record, dict) else None
        if type(update) is not int or not 0 <= update < _MOST:
            raise ValueError(f"{path}:{number}: a line without its update; remove the line")
        if records and update < records[-1]["update"]:
            raise ValueError(
                f"{path}:{number}: update {update} after {records[-1]['update']}: this "
                "line or the one before is damaged or of another run; remove it"
            )
        records.append(record)
    return records


def _forget_after(path: Path, progress: Progress) -> None:
    """Drop records later than ``progress``: the resumed run makes them again."""

    def stays(record: dict[str, Any]) -> bool:
        again = record["update"] == progress.update != progress.validated
        measured = any(key.startswith("valid/") for key in record)
        return record["update"] <= progress.update and not (again and measured)

    if path.exists():
        kept = [record for record in read_jsonl(path) if stays(record)]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
