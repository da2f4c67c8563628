"""Writing labels so that an interruption loses none and nobody meets half a file."""

import json
import os
import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.cuts import Cuts, id_hash
from mt4ssl_core.data.label_lines import line_offsets
from mt4ssl_core.data.labels import write_dict
from mt4ssl_core.data.mfcc import HOP, SAMPLE_RATE
from mt4ssl_core.data.tsv import format_row, id_problem, read_rows
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

        ``part``: the number of this process, and how many share the job; `joined_labels` puts
        their rows together.
        """
        out.mkdir(parents=True, exist_ok=True)
        of = f".{part[0]}of{part[1]}" if part[1] > 1 else ""
        self._out, self._stats = out, out / f"{name}.stats.json"
        self._final = {kind: out / f"{name}.{kind}" for kind in ("tsv", "km")}
        self._files = {kind: out / f".{name}{of}.{kind}.partial" for kind in ("tsv", "km")}
        self._job = out / f".{name}{of}.job.json"
        # of the rows from the run before: `id_hash` (R,) uint64, samples (R,)
        self.done, self.samples = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        if self._job.is_file() and self._job.read_bytes() == json.dumps(job).encode():
            self._cut_to_whole_rows()
        self.rows = len(self.done)
        if not self.rows:
            with writing(self._final["km"]):
                self._files["tsv"].write_text(f"{root}\n", encoding="utf-8")
                self._files["km"].write_bytes(b"")
                self._job.write_text(json.dumps(job))

    def _cut_to_whole_rows(self) -> None:
        """Cut both files to the rows that both hold to the end of the line, and take those up."""
        if not all(path.is_file() for path in self._files.values()):
            return
        ends = {kind: _line_ends(path) for kind, path in self._files.items()}
        rows = min(len(ends["km"]), len(ends["tsv"]) - 1)
        if rows < 1:
            return
        os.truncate(self._files["km"], ends["km"][rows - 1])
        os.truncate(self._files["tsv"], ends["tsv"][rows])
        hashes, samples = array("Q"), array("q")
        for id, length, _ in read_rows(self._files["tsv"]):
            hashes.append(id_hash(id))
            samples.append(length)
        self.done = np.frombuffer(hashes, np.uint64)
        self.samples = np.frombuffer(samples, np.int64)

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

    @contextmanager
    def labels(self) -> Iterator[Callable[[int], list[int]]]:
        """Give a function that reads the labels of a row that is there."""
        starts = line_offsets(self._files["km"])
        with open(self._files["km"], "rb") as file:

            def read(row: int) -> list[int]:
                file.seek(int(starts[row]))
                return list(map(int, file.readline().split()))

            yield read

    def places_in(self, cuts: Cuts) -> np.ndarray:
        """Return the place of each row that is done among ``cuts``, (R,), -1 where it has none."""
        if not len(self.done) or not len(cuts):
            return np.full(len(self.done), -1)
        hashes = cuts.hashes()
        order = np.argsort(hashes)
        found = np.searchsorted(hashes, self.done, sorter=order)
        places = order[np.minimum(found, len(order) - 1)]
        return np.where(hashes[places] == self.done, places, -1)

    def row(self, number: int) -> tuple[str, int]:
        """Return id and samples of a row that is done."""
        id, samples, _ = next(islice(read_rows(self._files["tsv"]), number, None))
        return id, samples

    def remaining(self, cuts: Cuts, bar: AudioBar) -> Iterator[Cut]:
        """Iterate over the cuts that have no row yet; those that no row can hold are skipped.

        A file that could not be read before an interruption is tried again.

        Raises ValueError: a row is of an utterance that is no longer there, or of another length.
        """
        places = self.places_in(cuts)
        lengths = np.where(places < 0, -2 * HOP, cuts.samples[places] if len(cuts) else 0)
        for number in np.flatnonzero(np.abs(lengths - self.samples) > HOP).tolist():
            what = "has another length" if places[number] >= 0 else "is no longer in the corpus"
            raise ValueError(f"{self._files['tsv']}: {self.row(number)[0]} {what}; start again")
        for samples in self.samples:
            bar.advance(samples / SAMPLE_RATE)
        left = np.ones(len(cuts), dtype=bool)
        left[places] = False
        for place in np.flatnonzero(left):
            cut = cuts[int(place)]
            if problem := id_problem(cut.id):
                bar.skip(repr(cut.id), problem)
            else:
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


def joined_labels(
    out: Path, name: str, job: dict[str, Any], root: Path, processes: int, cuts: Cuts
) -> GrowingLabels:
    """Put the rows that several processes have written together, in the order of ``cuts``.

    Returns the labels as of one process, to be finished.
    """
    parts = [GrowingLabels(out, name, job, root, (rank, processes)) for rank in range(processes)]
    GrowingLabels(out, name, job, root).forget()  # of an attempt that was interrupted
    whole = GrowingLabels(out, name, job, root)
    places = [part.places_in(cuts) for part in parts]
    order = np.argsort(np.concatenate(places), kind="stable")
    ends = np.cumsum([len(part) for part in places])
    with ExitStack() as held, whole.writing() as write:
        labels = [held.enter_context(part.labels()) for part in parts]
        for number in map(int, order):  # one by one: a list of millions is large
            part = int(np.searchsorted(ends, number, "right"))
            row = number - int(ends[part]) + len(places[part])
            if (place := int(places[part][row])) >= 0:
                write(cuts.id(place), int(parts[part].samples[row]), labels[part](row))
    for each in parts:
        each.forget()
    return whole


def remove_parts(out: Path, name: str) -> None:
    """Remove what interrupted runs of any number of processes have left of the labels NAME."""
    ours = re.compile(rf"\.{re.escape(name)}(\.\d+of\d+)?\.((tsv|km)\.partial|job\.json)")
    for path in out.glob(".*"):
        if ours.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _line_ends(path: Path) -> np.ndarray:
    """Return the bytes at which the finished lines of a file end."""
    ends = line_offsets(path)[1:]
    with open(path, "rb") as file:
        file.seek(max(0, int(ends[-1]) - 1) if len(ends) else 0)
        return ends if file.read(1) in (b"\n", b"") else ends[:-1]
