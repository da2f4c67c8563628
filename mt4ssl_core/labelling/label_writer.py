"""Writing labels so that an interruption loses none and nobody meets half a file."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mt4ssl_core.data.audio import num_samples
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.label_lines import line_offsets
from mt4ssl_core.data.labels import write_dict
from mt4ssl_core.data.mfcc import HOP, SAMPLE_RATE
from mt4ssl_core.data.tsv import format_row, id_problem, read_tsv
from mt4ssl_core.files import temporary_beside, writing

LONGEST_NAME = 240  # bytes of NAME, so that no file made of it has a name of more than 255


class GrowingLabels:
    """The ``.km`` and ``.tsv`` while they grow; they survive an interruption, not bad input."""

    def __init__(
        self,
        out: Path,
        name: str,
        job: dict[str, Any],
        root: Path,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Take up the files of an interrupted run of the same job, or begin new ones.

        ``part``: the number of this process, and how many share the job; `joined` puts their rows
        together.
        """
        out.mkdir(parents=True, exist_ok=True)
        of = f".{part[0]}of{part[1]}" if part[1] > 1 else ""
        self._out, self._stats = out, out / f"{name}.stats.json"
        self._final = {kind: out / f"{name}.{kind}" for kind in ("tsv", "km")}
        self._files = {kind: out / f".{name}{of}.{kind}.partial" for kind in ("tsv", "km")}
        self._job = out / f".{name}{of}.job.json"
        self.done: dict[str, int] = {}  # id -> samples of the rows from the run before
        self.rows = 0
        if self._job.is_file() and self._job.read_text() == json.dumps(job):
            self.done = self._cut_to_whole_rows()
            self.rows = len(self.done)
        if not self.done:
            with writing(self._final["km"]):
                self._files["tsv"].write_text(f"{root}\n", encoding="utf-8")
                self._files["km"].write_bytes(b"")
                self._job.write_text(json.dumps(job))

    def _cut_to_whole_rows(self) -> dict[str, int]:
        """Cut both files to the rows that both hold to the end of the line, and return those."""
        if not all(path.is_file() for path in self._files.values()):
            return {}
        ends = {kind: _line_ends(path) for kind, path in self._files.items()}
        rows = min(len(ends["km"]), len(ends["tsv"]) - 1)
        if rows < 1:
            return {}
        os.truncate(self._files["km"], ends["km"][rows - 1])
        os.truncate(self._files["tsv"], ends["tsv"][rows])
        return {row.id: row.num_samples for row in read_tsv(self._files["tsv"])}

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, int, list[int]], None]]:
        """Give a function that appends an utterance: id, samples at 16 kHz, labels.

        Raises OSError naming the ``.km`` when the disk is full; what was written stays, to go on.
        """
        try:
            with (
                writing(self._final["km"]),
                open(self._files["tsv"], "a", encoding="utf-8") as tsv,
                open(self._files["km"], "a", encoding="utf-8") as km,
            ):

                def write(id: str, num_samples: int, labels: list[int]) -> None:
                    row = format_row(id, num_samples)
                    km.write(" ".join(map(str, labels)) + "\n")
                    tsv.write(row)
                    self.rows += 1

                yield write
                for file in (tsv, km):
                    file.flush()
                    os.fsync(file.fileno())
        except ValueError:
            self.forget()
            raise

    def forget(self) -> None:
        """Remove the files that grew."""
        for path in (self._job, *self._files.values()):
            path.unlink(missing_ok=True)

    def labels(self) -> Callable[[int], list[int]]:
        """Return a function that reads the labels of a row that is there."""
        path, starts = self._files["km"], line_offsets(self._files["km"])

        def read(row: int) -> list[int]:
            with open(path, "rb") as file:
                file.seek(int(starts[row]))
                return list(map(int, file.readline().split()))

        return read

    def remaining(self, cuts: Iterable, bar: AudioBar) -> Iterator:
        """Iterate over the cuts that have no row yet; those that no row can hold are skipped.

        A file that could not be read before an interruption is tried again.

        Raises ValueError: a row is of an utterance that is no longer there, or of another length.
        """
        cuts = list(cuts)
        lengths = {cut.id: num_samples(cut) for cut in cuts}
        for id, samples in self.done.items():
            if abs(lengths.get(id, -HOP) - samples) > HOP:
                what = "has another length" if id in lengths else "is no longer in the corpus"
                raise ValueError(f"{self._files['tsv']}: {id} {what}; start again")
            bar.advance(samples / SAMPLE_RATE)
        for cut in cuts:
            if problem := id_problem(cut.id):
                bar.skip(repr(cut.id), problem)
            elif cut.id not in self.done:
                yield cut

    def finish(self, num_classes: int) -> None:
        """Write the dictionary and give the files their names, the labels last.

        Former labels go first: whoever looks in between misses the ``.km`` and cannot meet an old
        one with a new list or dictionary. The dictionary is written before, under another name, so
        that a full disk leaves everything as it was.
        """
        dictionary = temporary_beside(self._out / "dict.km.txt")
        try:
            write_dict(dictionary, num_classes)
            self._final["km"].unlink(missing_ok=True)
            self._stats.unlink(missing_ok=True)
            os.replace(dictionary, self._out / "dict.km.txt")
        finally:
            dictionary.unlink(missing_ok=True)
        for kind, path in self._files.items():
            os.replace(path, self._final[kind])
        self._job.unlink()


def joined(
    out: Path, name: str, job: dict[str, Any], root: Path, processes: int, ids: Iterable[str]
) -> GrowingLabels:
    """Put the rows that several processes have written together, in the order of ``ids``.

    Returns the labels as of one process, to be finished.
    """
    parts = [GrowingLabels(out, name, job, root, (rank, processes)) for rank in range(processes)]
    GrowingLabels(out, name, job, root).forget()  # of an attempt that was interrupted
    whole = GrowingLabels(out, name, job, root)
    places = {id: (part, row) for part, of in enumerate(parts) for row, id in enumerate(of.done)}
    labels = [part.labels() for part in parts]
    with whole.writing() as write:
        for id in filter(places.__contains__, ids):
            part, row = places[id]
            write(id, parts[part].done[id], labels[part](row))
    for each in parts:
        each.forget()
    return whole


def _line_ends(path: Path) -> np.ndarray:
    """Return the bytes at which the finished lines of a file end."""
    ends = line_offsets(path)[1:]
    with open(path, "rb") as file:
        file.seek(max(0, int(ends[-1]) - 1) if len(ends) else 0)
        return ends if file.read(1) in (b"\n", b"") else ends[:-1]
