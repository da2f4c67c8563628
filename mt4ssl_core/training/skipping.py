"""Utterances that could not be used: counted, named once in RUN/skipped.txt, and when to stop."""

import os
from collections.abc import Iterable
from pathlib import Path

from mt4ssl_core.data.batch import Batch, Skipped
from mt4ssl_core.distributed import World
from mt4ssl_core.files import writing
from mt4ssl_core.training.progress import Progress

NAME = "skipped.txt"
BATCHES = 10  # of one process in a row of which nothing could be used: the run stops


class SkipList:
    """RUN/skipped.txt: ``path<TAB>reason<TAB>update`` of each file, when it is first met.

    Update 0: left out before the run began. The file is appended to, so a kill loses nothing.
    """

    def __init__(self, folder: Path, active: bool):
        self.path, self.active = folder / NAME, active
        self.names: set[str] = set()
        self.first: list[str] = []  # how the first few of this process's life read
        if active and self.path.is_file():
            lines = self.path.read_text("utf-8", "surrogateescape").split("\n")
            self.names = {line.split("\t")[0] for line in lines[:-1]}

    def add(self, files: Iterable[tuple[str, str]], update: int) -> None:
        """Write down (path, reason) of those that are not in it yet.

        Raises:
            OSError: it cannot be written; names it.
        """
        lines = []
        for name, reason in files:
            name = _plain(name)
            if len(self.first) < 2:
                self.first.append(f"{name}: {reason}")
            if self.active and name not in self.names:
                self.names.add(name)
                lines.append(f"{name}\t{_plain(reason)}\t{update}\n")
        if lines:
            with writing(self.path):
                self._append("".join(lines))

    def _append(self, text: str) -> None:
        with open(self.path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a power cut in the middle of a line
                    file.write(b"\n")
            file.write(text.encode("utf-8", "surrogateescape"))


class Skips:
    """Counts what a run could not use, alike on all processes; see `too_much`."""

    def __init__(self, files: SkipList, world: World, most: float, seconds: float):
        self.files, self.world, self.most, self.seconds = files, world, most, seconds
        self.row = 0  # batches of this process in a row of which nothing could be used
        self.epoch, self.count, self.lost = 0, 0, 0.0
        self.line: dict[str, float] = {"skipped": 0, "lost": 0.0, "read": 0.0}

    def go_on(self, progress: Progress) -> None:
        """Take the counters of a run that is resumed."""
        self.epoch = progress.epoch
        self.count, self.lost = progress.skipped_files, progress.skipped_seconds

    def meet(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Look at this process's batches; returns how many were skipped, and seconds read."""
        skipped, seconds = 0, 0.0
        for batch in batches:
            skipped += len(batch.skipped)
            seconds += batch.seconds
            if batch.ids:
                self.row = 0
            elif batch.skipped:
                self.row += 1
        return float(skipped), seconds

    def count_all(self, batches: Iterable[Batch], read: float, skipped: bool, update: int) -> None:
        """Count what all processes met; ``read`` seconds could be used, ``skipped``: any not."""
        self.line["read"] += read
        if not skipped:
            return
        mine = [(batch.epoch, item) for batch in batches for item in batch.skipped]
        met = [pair for part in self.world.gather(mine) for pair in part]
        for epoch, item in met:
            if epoch != self.epoch:
                self.epoch, self.count, self.lost = epoch, 0, 0.0
            self.count += 1
            self.lost += item.seconds
            self.line["skipped"] += 1
            self.line["lost"] += item.seconds
        self.files.add(named(item for _, item in met), update)

    def keep(self, progress: Progress) -> None:
        """Put the counters of its epoch into ``progress``."""
        same = self.epoch == progress.epoch
        progress.skipped_files = self.count if same else 0
        progress.skipped_seconds = self.lost if same else 0.0

    def too_much(self, in_a_row: bool) -> str | None:
        """What to say when the run must stop: too much of this epoch's audio, or ``in_a_row``
        nothing but unusable batches (of any process); else None.
        """
        many = self.count > 1 or self.most == 0  # one file alone never stops a run
        share = self.lost / self.seconds
        if not in_a_row and not (many and share > self.most):
            return None
        what = (
            f"nothing could be used of {BATCHES} batches in a row"
            if in_a_row
            else f"more than data.max_skipped = {self.most:g} of an epoch's audio is unusable"
        )
        first = "; ".join(self.files.first)
        return (
            f"{what}: {self.count} file(s) of epoch {self.epoch} so far, {share:.1%} of its audio. "
            f"First: {first}. All are named in {self.files.path}. Mend them, or the folder they "
            "are in, and run the same command again"
            + ("" if in_a_row else "; or allow more with data.max_skipped")
        )

    def logged(self) -> dict[str, float]:
        """What a line of the log says of the time since the line before: utterances skipped, and
        their share of the audio.
        """
        line = self.line
        total = line["lost"] + line["read"]
        values = {
            "skipped": int(line["skipped"]),
            "skipped_share": line["lost"] / total if total else 0.0,
        }
        self.line = dict.fromkeys(line, 0.0)
        return values

    def summary(self) -> str | None:
        """The last words of a run about what it could not use."""
        known = len(self.files.names)
        if not known:
            return None
        first = self.files.first[0] if self.files.first else min(self.files.names)
        return f"{known} file(s) could not be used, e.g. {first}; all are in {self.files.path}"


def named(items: Iterable[Skipped]) -> list[tuple[str, str]]:
    """(name, reason) of each."""
    return [(item.name, item.reason) for item in items]


def _plain(text: str) -> str:
    """``text`` without what would break the lines and columns of the file."""
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
