"""Frame labels on disk, in fairseq's three files, and the store that training reads them from.

``train.tsv`` lists the audio (see ``tsv.py``). ``train.km`` has one line of space-separated labels
for each of its rows, in the same order. ``dict.km.txt`` names every label once, as ``label count``;
a label's line is its class. Where fairseq turns a bad label silently into ``<unk>``, reading here
names it and stops.

Labels of another rate than 50 per second are brought to the encoder's frames as fairseq's HuBERT
does (``feat2tar_ratio`` in its ``models/hubert/hubert.py``): frame t gets label floor(t * rate /
50). So of labels at 100 Hz frame t gets label 2t, and at 25 Hz every label counts for two frames.
Where fairseq only warns of a row more than 0.1 s longer or shorter than its audio, such a row is an
error here, from more than two frames (40 ms) on: that is as far as the ways to count frames at the
end of an utterance (padded, centred, rounded) differ.
"""

import mmap
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mt4ssl_core.config import HOP, SAMPLE_RATE
from mt4ssl_core.data.tsv import is_count, read_lines, read_tsv
from mt4ssl_core.files import atomic_path, read_json, sha256_of, user_path

FRAME_RATE = SAMPLE_RATE / HOP  # of the encoder, Hz: 50
TOLERANCE = 2  # frames by which a row may be longer or shorter than its audio
_BLOCK = 1 << 22  # bytes of a .km file looked at in one go
_BOM = b"\xef\xbb\xbf"
KM_SHA256 = "km_sha256"  # in NAME.stats.json beside NAME.km
_REMEDY = "label the corpus again with `mt4ssl kmeans label`"


def read_dict(path: str | Path) -> list[str]:
    """Read a fairseq dictionary of ``label count`` lines; a label's position is its class.

    Raises ValueError naming file and line: empty, another form, a label given twice.
    """
    path = Path(path)
    labels: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{number}:"
        label, _, count = line.strip().rpartition(" ")
        if not label or not is_count(count):
            raise ValueError(f"{where} expected `label count`, got {line!r}; correct this line")
        if label in labels:
            raise ValueError(f"{where} {label!r} is already on line {labels[label]}; remove one")
        labels[label] = number
    if not labels:
        raise ValueError(f"{path}: no labels; write one `label count` line for every class")
    return list(labels)


def write_dict(path: str | Path, num_classes: int) -> None:
    """Write the dictionary of classes 0 .. num_classes - 1 (``0 1``, ``1 1``, ...), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{label} 1\n" for label in range(num_classes)))


@dataclass
class LabelStore:
    """Labels of a corpus by utterance id, read from the ``.km`` file when asked for.

    Only ids and line offsets are kept in memory, so a store is cheap to send to loader workers.
    Made by :meth:`open`, which checks every label once.
    """

    path: Path
    num_classes: int
    tsv: Path  # whose rows the lines belong to
    rate: float  # labels per second
    _rows: dict[str, int]  # id -> row; row r stands on line r + 1 of the .km, r + 2 of the .tsv
    _offsets: np.ndarray  # (rows + 1,) int64: byte at which each line starts, then the file's size
    _classes: dict[bytes, int] | None  # label -> class; None when the labels are the classes
    _counts: np.ndarray  # (rows,) int64: labels on each line
    _map: mmap.mmap | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        km_path: str | Path,
        num_classes: int | None = None,
        *,
        label_rate: float = FRAME_RATE,
        audio: str | Path | None = None,
    ) -> "LabelStore":
        """Open a ``.km`` with its ``.tsv`` and any ``dict.<suffix>.txt`` beside it.

        The ``.tsv`` is the one of its name beside it, or else ``audio``, if that is one: labels may
        lie in a folder of their own (fairseq's ``task.label_dir``), and ``km_path`` may be that.
        Labels are class ids 0 .. K-1, or whatever the dictionary lists (a label's class is then its
        line). Without dictionary and ``num_classes``, K is the largest label + 1.

        Raises ValueError naming file and line: fewer or more lines than the ``.tsv``, a label that
        is no integer, not below ``num_classes`` or not in the dictionary; and when ``num_classes``
        and the dictionary disagree; or a file that is not the one whose SHA-256 ``mt4ssl kmeans
        label`` wrote. FileNotFoundError when ``.km`` or ``.tsv`` is missing.
        """
        path, tsv = _label_files(user_path(km_path), audio)
        rows = {row.id: index for index, row in enumerate(read_tsv(tsv))}
        dictionary = path.with_name(f"dict{path.suffix}.txt")
        symbols = read_dict(dictionary) if dictionary.is_file() else None
        if symbols and num_classes not in (None, len(symbols)):
            raise ValueError(
                f"{dictionary}: {len(symbols)} labels, but {num_classes} classes are configured; "
                f"set offline.num_classes={len(symbols)}, or use other labels"
            )
        if symbols:
            num_classes = len(symbols)
        plain = symbols is None or symbols == [str(label) for label in range(len(symbols))]
        classes = None if plain else {s.encode(): i for i, s in enumerate(symbols or [])}
        limit = 1 << 62 if num_classes is None else num_classes
        offsets = line_offsets(path)
        counts = np.zeros(len(offsets) - 1, dtype=np.int64)
        store = cls(path, limit, tsv, label_rate, rows, offsets, classes, counts)
        store._check_line_count(tsv)
        largest = store._check_labels()
        store.num_classes = largest + 1 if num_classes is None else num_classes
        _check_sha256(path)
        return store

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self._rows)

    def __contains__(self, id: str) -> bool:
        """Say whether this utterance has labels."""
        return id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids, in the order of the files."""
        return iter(self._rows)

    def __getitem__(self, id: str) -> np.ndarray:
        """Return its labels as they stand in the file, (n,) int64; ValueError when it has none."""
        row = self._row(id)
        return self._parse(self._line(row), row + 1)

    def frames(self, id: str, num_frames: int) -> np.ndarray:
        """Return the class of each of the first frames of an utterance, (T,) int64.

        -1 at the end where a row within the tolerance has none. ValueError: it has no labels.
        """
        labels = self[id]
        at = np.floor(np.arange(num_frames) * (self.rate / FRAME_RATE) + 1e-9).astype(np.int64)
        return np.append(labels, -1)[np.minimum(at, len(labels))]

    def _row(self, id: str) -> int:
        if id not in self._rows:
            raise ValueError(f"{self.tsv}: no row for {id!r}, so it has no labels; {_REMEDY}")
        return self._rows[id]

    def check(self, id: str, num_frames: int) -> None:
        """Raise ValueError when a row is longer or shorter than its audio: see `check_all`."""
        self.check_all([(id, num_frames)])

    def check_all(
        self, utterances: Iterable[tuple[str, int]], hint: Callable[[str], str] = lambda id: ""
    ) -> None:
        """Compare the number of labels of each (id, frames at 50 Hz) with its audio.

        Raises ValueError naming the first row that is more than `TOLERANCE` frames off, how many
        are, what rate these labels seem to have, and ``hint(id)`` if that says something.
        """
        off, total = [], 0
        for id, frames in utterances:
            total += 1
            row = self._row(id)
            if self._is_off(int(self._counts[row]), frames):
                off.append((row, id, int(self._counts[row]), frames))
        if not off:
            return
        row, id, count, frames = off[0]
        many = (
            f"; {len(off)} of {total} rows are more than {TOLERANCE} frames off" if off[1:] else ""
        )
        remedy = hint(id) or self._advice([(n, t) for _, _, n, t in off], total)
        raise ValueError(
            f"{self.path}:{row + 1}: {count} labels for {id}, whose audio has {frames} frames "
            f"(50 per second), so {self._expected(frames)} were expected{many}; {remedy}"
        )

    def _expected(self, frames: int) -> int:
        return round(frames * self.rate / FRAME_RATE)

    def _is_off(self, count: int, frames: int) -> bool:
        per_label = FRAME_RATE / self.rate  # frames
        most = max(TOLERANCE, per_label)
        return abs(count * per_label - frames) > most or (count == 0 and frames > 0)

    def _advice(self, off: list[tuple[int, int]], total: int) -> str:
        """What to do about rows of (labels, frames)."""
        if total > 1 and 2 * len(off) < total:
            return f"that row is of other audio or incomplete; {_REMEDY}"
        ratio = statistics.median(count / max(frames, 1) for count, frames in off)
        alike = [n for n, frames in off if abs(n - ratio * frames) <= TOLERANCE * ratio]
        rate = ratio * FRAME_RATE
        near = min((12.5, 25.0, 50.0, 100.0, 200.0), key=lambda known: abs(rate / known - 1))
        exact = abs(rate / near - 1) < 0.06
        if not ratio or 5 * len(alike) < 4 * len(off) or (len(off) < 4 and not exact):
            return (
                f"the lines of {self.path} and {self.tsv} are in different orders or of different "
                f"audio; {_REMEDY}"
            )
        rate = near if exact else float(f"{rate:.3g}")
        if rate == self.rate:
            return _REMEDY
        return f"the labels seem to be at {rate:g} per second: set data.label_rate={rate:g}"

    def __getstate__(self) -> dict:
        """Leave the mapped file behind: the other process maps it again."""
        return {**self.__dict__, "_map": None}

    def _line(self, row: int) -> bytes:
        if self._map is None:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if len(self._map) != self._offsets[-1]:
                raise ValueError(f"{self.path}: changed while it was in use; start the run again")
        line = self._map[self._offsets[row] : self._offsets[row + 1]]
        return line.removeprefix(_BOM) if row == 0 else line

    def _parse_fast(self, text: bytes) -> np.ndarray | None:
        """Return the classes in some lines, (T,) int64; None when that needs a closer look."""
        labels = _integers(text) if self._classes is None else None
        if labels is None or (
            labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes
        ):
            return None
        return labels

    def _parse(self, line: bytes, number: int) -> np.ndarray:
        """Return the classes on a line, (T,) int64; ValueError names the first bad label."""
        labels = self._parse_fast(line)
        if labels is not None:
            return labels
        return np.array([self._class_of(label, number) for label in line.split()], dtype=np.int64)

    def _class_of(self, label: bytes, number: int) -> int:
        text = label.decode("utf-8", "replace")
        where = f"{self.path}:{number}: label {text!r}"
        if self._classes is not None:
            if label not in self._classes:
                raise ValueError(f"{where} is not in dict{self.path.suffix}.txt; {_REMEDY}")
            return self._classes[label]
        if not is_count(text):
            raise ValueError(f"{where} is not a class id (an integer from 0); {_REMEDY}")
        if int(text) >= self.num_classes:
            raise ValueError(
                f"{where} is beyond the {self.num_classes} classes (0 .. {self.num_classes - 1}); "
                f"correct the number of classes or {_REMEDY}"
            )
        return int(text)

    def _check_line_count(self, tsv: Path) -> None:
        have, want = len(self._offsets) - 1, len(self._rows)
        if have < want:
            missing = list(self._rows)[have]
            raise ValueError(
                f"{self.path}: {have} lines, but {tsv} lists {want} utterances; {missing} "
                f"({tsv.name}:{have + 2}) is the first without labels; {_REMEDY}"
            )
        if have > want:
            raise ValueError(
                f"{self.path}:{want + 1}: labels without audio: {have} lines, but {tsv} lists only "
                f"{want} utterances; {_REMEDY}"
            )

    def _check_labels(self) -> int:
        """Parse the whole file once, in blocks of lines; return the largest class."""
        largest, first, rows = 0, 0, len(self._offsets) - 1
        while first < rows:
            stop = int(np.searchsorted(self._offsets, self._offsets[first] + _BLOCK, "right")) - 1
            stop = min(max(stop, first + 1), rows)
            block = [self._line(row) for row in range(first, stop)]
            self._counts[first:stop] = [len(line.split()) for line in block]
            labels = self._parse_fast(b"".join(block))
            if labels is None:
                parsed = (self._parse(line, first + i) for i, line in enumerate(block, start=1))
                labels = np.concatenate(list(parsed))
            largest = max(largest, int(labels.max(initial=0)))
            first = stop
        return largest


def _label_files(path: Path, audio: str | Path | None) -> tuple[Path, Path]:
    """Return the ``.km`` and the ``.tsv`` that goes with it."""
    listed = user_path(audio) if audio is not None and Path(audio).suffix == ".tsv" else None
    if path.is_dir():
        if listed is None:
            raise ValueError(f"{path}: a folder; give the .km file in it")
        path = path / f"{listed.stem}.km"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file (labels); {_REMEDY}")
    beside = path.with_suffix(".tsv")
    if beside.is_file():
        return path, beside
    if listed is not None and listed.is_file():
        return path, listed
    raise FileNotFoundError(
        f"{beside}: no such file (the audio list that goes with the labels, a row for each line); "
        "put it there, or give it as data.train"
    )


def _check_sha256(path: Path) -> None:
    stats = path.with_suffix(".stats.json")
    if not stats.is_file():  # labels of somebody else's
        return
    written = read_json(stats)
    expected = written.get(KM_SHA256) if isinstance(written, dict) else None
    if expected is not None and sha256_of(path) != expected:
        raise ValueError(
            f"{path}: damaged, or changed since it was labelled: its SHA-256 is not the one in "
            f"{stats}; {_REMEDY}, or remove {stats.name} if the change was meant"
        )


def _integers(text: bytes) -> np.ndarray | None:
    """Parse integers between white space, (N,) int64; None when anything else is among them."""
    if not text.strip():
        return np.zeros(0, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # older NumPy: a warning, not an error
        try:
            return np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
        except (DeprecationWarning, ValueError):  # UnicodeDecodeError is a ValueError
            return None


def line_offsets(path: Path) -> np.ndarray:
    """Return where each line starts and, last, where the file ends, (lines + 1,) int64."""
    offsets, position = [np.zeros(1, dtype=np.int64)], 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
            offsets.append(ends.astype(np.int64) + position)
            position += len(block)
    starts = np.concatenate(offsets)
    return starts if starts[-1] == position else np.append(starts, position)
