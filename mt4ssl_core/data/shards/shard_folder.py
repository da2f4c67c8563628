"""A folder of shards: its index, and its utterances as cuts."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from lhotse.cut import Cut

from mt4ssl_core.bars import Bar
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio import SPAN
from mt4ssl_core.data.audio_index import pieces_of
from mt4ssl_core.data.cuts import Cuts, file_cut, id_hash
from mt4ssl_core.data.shards import shard_index
from mt4ssl_core.data.shards.shard_index import IDS, ShardIndex, merged, scanned
from mt4ssl_core.data.shards.tar_members import REMEDY
from mt4ssl_core.files import read_json, user_path
from mt4ssl_core.settings.shards import FACTS, JOB

ALL = "shards.index"  # of all tars of a folder
LABEL_SPAN = "shard_labels"  # custom field of a cut: [start, size] of its labels in the tar
_MANY = 20  # tars whose indexes take long to read


class ShardCuts(Cuts):
    """The utterances of shards; a cut is made when it is asked for.

    rows: their places in the index, None for all in their order.
    """

    def __init__(self, index: ShardIndex, rows: np.ndarray | None = None) -> None:
        self.index, self.rows = index, rows
        self.samples = self._column("samples")

    @property
    def folder(self) -> Path:
        """Where the shards lie."""
        return self.index.tars[0].parent

    def are_in(self, folder: str | Path) -> bool:
        """Whether this is the folder of the shards."""
        return user_path(folder).resolve() == self.folder.resolve()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.samples)

    def __getitem__(self, place: int) -> Cut:
        """Return one."""
        row, columns = self._row(place), self.index.columns
        samples, id = int(columns["samples"][row]), self._id(row)
        cut = file_cut(id, self.index.tar_of(row), SAMPLE_RATE, 1, samples)
        cut.custom = {
            SPAN: [int(columns["audio"][row]), int(columns["audio_bytes"][row])],
            LABEL_SPAN: [int(columns["labels"][row]), int(columns["label_bytes"][row])],
        }
        return cut

    def __iter__(self) -> Iterator[Cut]:
        """Make one after the other."""
        return (self[place] for place in range(len(self)))

    def id(self, place: int) -> str:
        """Return the id of one."""
        return self._id(self._row(place))

    def id_bytes(self) -> Iterator[memoryview]:
        """Yield the ids, each with a NUL behind it."""
        rows = np.arange(len(self)) if self.rows is None else self.rows
        columns = self.index.columns
        return pieces_of(columns[IDS], columns["id_end"], rows)

    def hashes(self, seed: int = 0) -> np.ndarray:
        """Return `id_hash` of each; it is in the index."""
        if seed == 0:
            return self._column("hash").view(np.uint64)
        return np.array([id_hash(self.id(i), seed) for i in range(len(self))], dtype=np.uint64)

    def take(self, chosen: np.ndarray) -> "ShardCuts":
        """Return those at the places ``chosen``."""
        return ShardCuts(self.index, chosen if self.rows is None else self.rows[chosen])

    def labelled(self) -> np.ndarray:
        """Return whether each has labels, (U,) bool."""
        return self._column("label_bytes") > 0

    def _column(self, name: str) -> np.ndarray:
        column = self.index.columns[name]
        return column if self.rows is None else column[self.rows]

    def _row(self, place: int) -> int:
        return range(len(self.index))[place] if self.rows is None else int(self.rows[place])

    def _id(self, row: int) -> str:
        return self.index.id_bytes(row).decode("utf-8", "surrogateescape")


def is_shards(folder: Path) -> bool:
    """Whether this is a folder of shards, or of some that are being written."""
    return (folder / FACTS).is_file() or (folder / JOB).is_file()


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what a folder of shards says of itself.

    Raises:
        ValueError: naming the file: damaged, or of another version.
    """
    path = folder / FACTS
    if not path.is_file():
        job = read_json(folder / JOB)
        source = job.get("source", "the corpus") if isinstance(job, dict) else "the corpus"
        raise ValueError(
            f"{folder}: these shards are not finished; give the same command again, `mt4ssl data "
            f"shard` of {source!s:.200}"
        )
    facts = read_json(path)
    wanted = {"format": (str,), "shards": (int,), "utterances": (int,), "classes": (int, NoneType)}
    if not isinstance(facts, dict) or any(
        key not in facts or type(facts[key]) not in kinds for key, kinds in wanted.items()
    ):
        raise ValueError(f"{path}: should say {', '.join(wanted)}; {REMEDY}")
    if facts["format"] != shard_index.FORMAT:
        raise ValueError(f"{path}: {facts['format']!r:.60}, not {shard_index.FORMAT!r}; {REMEDY}")
    return facts


def open_shards(folder: Path) -> ShardCuts:
    """Return the utterances of a folder of shards; no audio is read.

    An index that is missing or of other tars is made again, from the tars alone.

    Raises:
        ValueError: naming the file: tars that are missing, cut short, damaged or foreign.
    """
    facts = read_facts(folder)
    tars = sorted(folder.glob("shard-*.tar"))
    if len(tars) != facts["shards"]:
        raise ValueError(
            f"{folder}: {len(tars)} tars (shard-*.tar), but {FACTS} counts {facts['shards']}; copy "
            "all of them here, or make the shards again with `mt4ssl data shard`"
        )
    index = _of_all(folder, tars)
    if len(index) != facts["utterances"]:
        raise ValueError(
            f"{folder}: {len(index)} utterances, but {FACTS} counts {facts['utterances']}; {REMEDY}"
        )
    return ShardCuts(index)


def _of_all(folder: Path, tars: list[Path]) -> ShardIndex:
    with suppress(ValueError, OSError):
        index = ShardIndex.load(folder / ALL)
        if index.tars == tars and index.whole():
            return index
    bar = Bar("reading indexes of shards", len(tars), show=len(tars) > _MANY)
    index = merged([_of_one(tar) for tar in bar.over(tars)])
    with suppress(OSError):  # the folder may be read-only
        index.save(folder / ALL)
    return index


def _of_one(tar: Path) -> ShardIndex:
    with suppress(ValueError, OSError):
        index = ShardIndex.load(tar.with_suffix(shard_index.INDEX))
        if index.tars == [tar] and index.whole():
            return index
    return scanned(tar)
