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

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.config import HOP, SAMPLE_RATE
from mt4ssl_core.data.audio_index import AudioIndex, IndexedCuts
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.label_lines import REMEDY, LabelLines
from mt4ssl_core.data.tsv import is_count, read_lines
from mt4ssl_core.files import atomic_path, read_json, user_path
from mt4ssl_core.settings.frames import num_frames

FRAME_RATE = SAMPLE_RATE / HOP  # of the encoder, Hz: 50
TOLERANCE = 2  # frames by which a row may be longer or shorter than its audio
KM_SHA256 = "km_sha256"  # in NAME.stats.json beside NAME.km


class Unusable(ValueError):
    """An utterance that cannot be used, while others can."""


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


class LabelStore:
    """Labels of a corpus by utterance id, read from the ``.km`` file when asked for.

    What is known of the lines of both files is kept in columns, which processes share. Made by
    :meth:`open`, which sees that every label was checked once.

    path: of the ``.km``. num_classes: K. tsv: whose rows its lines belong to. rate: labels per
    second. note: why what is known could not be kept, or "".
    """

    def __init__(self, index: AudioIndex, lines: LabelLines, rate: float, classes: int) -> None:
        self.path, self.tsv, self.rate, self.num_classes = lines.path, index.path, rate, classes
        self._index, self._lines, self.note = index, lines, lines.note or index.note

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
        index = AudioIndex.open(tsv)
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
        lines = LabelLines.open(path, limit, classes, dictionary)
        _check_line_count(lines, index)
        _check_sha256(lines)
        found = lines.largest + 1 if num_classes is None else num_classes
        return cls(index, lines, label_rate, found)

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self._index)

    def __contains__(self, id: str) -> bool:
        """Say whether this utterance has labels."""
        return self._index.find(id) >= 0

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids, in the order of the files."""
        return map(self._index.id, range(len(self)))

    def __getitem__(self, id: str) -> np.ndarray:
        """Return its labels as they stand in the file, (n,) int64; ValueError when it has none."""
        return self._lines[self._row(id)]

    def frames(self, id: str, num_frames: int) -> np.ndarray:
        """Return the class of each of the first frames of an utterance, (T,) int64.

        -1 at the end where a row within the tolerance has none. ValueError: it has no labels.
        """
        labels = self[id]
        at = np.floor(np.arange(num_frames) * (self.rate / FRAME_RATE) + 1e-9).astype(np.int64)
        return np.append(labels, -1)[np.minimum(at, len(labels))]

    def of_cut(self, cut: Cut, num_frames: int) -> np.ndarray:
        """Return `frames` of a cut."""
        return self.frames(cut.id, num_frames)

    def _row(self, id: str) -> int:
        row = self._index.find(id)
        if row < 0:
            raise ValueError(f"{self.tsv}: no row for {id!r}, so it has no labels; {REMEDY}")
        return row

    def check(self, id: str, num_frames: int) -> None:
        """Raise ValueError when a row is longer or shorter than its audio: see `check_cuts`."""
        self._check_rows(np.array([self._row(id)]), np.array([num_frames]), lambda place: "")

    def check_cuts(self, cuts: Cuts, hint: Callable[[int], str] = lambda place: "") -> None:
        """See that all utterances have labels, as many as their audio has frames.

        Raises ValueError naming the first without any; or the first row that is more than
        `TOLERANCE` frames off, how many are, what rate these labels seem to have, and what ``hint``
        says of the utterance's place, if anything.
        """
        rows = self._rows_of(cuts)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise ValueError(
                f"{self.path}: {len(missing)} utterance(s) have no labels, first "
                f"{cuts.id(int(missing[0]))}; {REMEDY}"
            )
        self._check_rows(rows, num_frames(cuts.samples), hint)

    def _rows_of(self, cuts: Cuts) -> np.ndarray:
        if isinstance(cuts, IndexedCuts) and cuts.index.lists_as(self._index):
            return cuts.rows
        return self._index.find_all(cuts.hashes())

    def _check_rows(self, rows: np.ndarray, frames: np.ndarray, hint: Callable[[int], str]) -> None:
        """Compare the labels on ``rows`` (U,) with the frames at 50 Hz of their audio (U,)."""
        counts, per_label = self._lines.counts[rows], FRAME_RATE / self.rate
        off = np.abs(counts * per_label - frames) > max(TOLERANCE, per_label)
        places = np.flatnonzero(off | ((counts == 0) & (frames > 0)))
        if not len(places):
            return
        first, total = int(places[0]), len(rows)
        row, count, length = int(rows[first]), int(counts[first]), int(frames[first])
        many = f"; {len(places)} of {total} rows are more than {TOLERANCE} frames off"
        pairs = list(zip(counts[places].tolist(), frames[places].tolist(), strict=True))
        raise ValueError(
            f"{self.path}:{row + 1}: {count} labels for {self._index.id(row)}, whose audio has "
            f"{length} frames (50 per second), so {round(length * self.rate / FRAME_RATE)} were "
            f"expected{many if len(places) > 1 else ''}; "
            f"{hint(first) or self._advice(pairs, total)}"
        )

    def _advice(self, off: list[tuple[int, int]], total: int) -> str:
        """What to do about rows of (labels, frames)."""
        if total > 1 and 2 * len(off) < total:
            return f"that row is of other audio or incomplete; {REMEDY}"
        ratio = statistics.median(count / max(frames, 1) for count, frames in off)
        alike = [n for n, frames in off if abs(n - ratio * frames) <= TOLERANCE * ratio]
        rate = ratio * FRAME_RATE
        near = min((12.5, 25.0, 50.0, 100.0, 200.0), key=lambda known: abs(rate / known - 1))
        exact = abs(rate / near - 1) < 0.06
        if not ratio or 5 * len(alike) < 4 * len(off) or (len(off) < 4 and not exact):
            return (
                f"the lines of {self.path} and {self.tsv} are in different orders or of different "
                f"audio; {REMEDY}"
            )
        rate = near if exact else float(f"{rate:.3g}")
        if rate == self.rate:
            return REMEDY
        return f"the labels seem to be at {rate:g} per second: set data.label_rate={rate:g}"


def _check_line_count(lines: LabelLines, index: AudioIndex) -> None:
    path, tsv, have, want = lines.path, index.path, len(lines), len(index)
    if have < want:
        raise ValueError(
            f"{path}: {have} lines, but {tsv} lists {want} utterances; {index.id(have)} "
            f"({tsv.name}:{have + 2}) is the first without labels; {REMEDY}"
        )
    if have > want:
        raise ValueError(
            f"{path}:{want + 1}: labels without audio: {have} lines, but {tsv} lists only "
            f"{want} utterances; {REMEDY}"
        )


def _label_files(path: Path, audio: str | Path | None) -> tuple[Path, Path]:
    """Return the ``.km`` and the ``.tsv`` that goes with it."""
    listed = user_path(audio) if audio is not None and Path(audio).suffix == ".tsv" else None
    if path.is_dir():
        if listed is None:
            raise ValueError(f"{path}: a folder; give the .km file in it")
        path = path / f"{listed.stem}.km"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file (labels); {REMEDY}")
    beside = path.with_suffix(".tsv")
    if beside.is_file():
        return path, beside
    if listed is not None and listed.is_file():
        return path, listed
    raise FileNotFoundError(
        f"{beside}: no such file (the audio list that goes with the labels, a row for each line); "
        "put it there, or give it as data.train"
    )


def _check_sha256(lines: LabelLines) -> None:
    path = lines.path
    stats = path.with_suffix(".stats.json")
    if not stats.is_file():  # labels of somebody else's
        return
    written = read_json(stats)
    expected = written.get(KM_SHA256) if isinstance(written, dict) else None
    if expected is not None and lines.sha256 != expected:
        raise ValueError(
            f"{path}: damaged, or changed since it was labelled: its SHA-256 is not the one in "
            f"{stats}; {REMEDY}, or remove {stats.name} if the change was meant"
        )
