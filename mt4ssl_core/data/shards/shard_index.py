"""The index of shards: where each utterance lies in its tar, how long it is, what it is called.

One column per fact, memory-mapped, so that processes share it and only what is used is read. Each
tar has its own index beside it (``shard-000000.index``); the folder has one of all of them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio import MAX_HOURS, MIN_SAMPLES
from mt4ssl_core.data.cuts import as_bytes, id_hash
from mt4ssl_core.data.shards.tar_members import BLOCK, REMEDY, members, read_member
from mt4ssl_core.files import atomic_path, reading

FORMAT = "mt4ssl shard index 1"
COLUMNS = {  # of each utterance
    "audio": np.int64,  # byte of the tar where its audio begins
    "audio_bytes": np.int64,
    "samples": np.int64,  # at 16 kHz
    "labels": np.int64,  # byte where its labels begin; 0: it has none
    "label_bytes": np.int64,
    "hash": np.int64,  # the bits of id_hash, which decides what is held out
    "id_end": np.int64,  # where its id ends among the bytes of all ids
}
IDS = "ids"  # the bytes of all ids, each with a NUL behind it
INDEX = ".index"  # beside a tar
META, LABELS = "json", "km"  # suffixes of members; any other is audio
_FACTS = "index"  # of the metadata
_LONGEST = MAX_HOURS * 3600 * SAMPLE_RATE  # samples of an utterance
_LONGEST_META = 1 << 16  # bytes of an utterance's JSON


@dataclass
class Rows:
    """The utterances of a shard as they are written or found, one after the other."""

    numbers: list[tuple[int, ...]] = field(default_factory=list)
    ids: bytearray = field(default_factory=bytearray)

    def add(self, id: str, samples: int, audio: tuple[int, int], labels: tuple[int, int]) -> None:
        """Append an utterance; ``audio`` and ``labels`` are (byte of the tar, bytes)."""
        self.ids += as_bytes(id) + b"\0"
        bits = int(np.uint64(id_hash(id)).view(np.int64))
        self.numbers.append((*audio, samples, *labels, bits, len(self.ids)))

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns of an index."""
        table = np.array(self.numbers, dtype=np.int64).reshape(len(self.numbers), len(COLUMNS))
        columns = {name: table[:, i].copy() for i, name in enumerate(COLUMNS)}
        return columns | {IDS: np.frombuffer(bytes(self.ids), dtype=np.uint8)}


@dataclass
class ShardIndex:
    """What is known of the utterances in some tars.

    tars: the files. sizes: their bytes. starts: (tars + 1,), the first utterance of each, and how
    many there are. columns: see `COLUMNS`. about: what else was kept with them.
    """

    tars: list[Path]
    sizes: list[int]
    starts: np.ndarray
    columns: dict[str, np.ndarray]
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many utterances there are."""
        return int(self.starts[-1])

    def id_bytes(self, row: int) -> bytes:
        """Return the id of an utterance as it stands in lists."""
        ends = self.columns["id_end"]
        return self.columns[IDS][int(ends[row - 1]) if row else 0 : int(ends[row]) - 1].tobytes()

    def tar_of(self, row: int) -> Path:
        """Return the tar in which an utterance lies."""
        return self.tars[int(np.searchsorted(self.starts, row, "right")) - 1]

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        facts = {
            "format": FORMAT,
            "tars": [[tar.name, n] for tar, n in zip(self.tars, self.sizes, strict=True)],
            "starts": self.starts.tolist(),
            "about": self.about,
        }
        with atomic_path(path) as temporary:
            save_file(self.columns, temporary, metadata={_FACTS: json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> "ShardIndex":
        """Map an index; nothing in it is believed before it was compared with itself.

        Raises:
            ValueError: naming it: not an index, damaged, or with places outside of the tars.
        """
        with reading(path, REMEDY), safe_open(path, framework="pt") as file:  # numpy would copy
            facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            if facts.get("format") != FORMAT:
                raise ValueError(f"{path}: no index of shards; {REMEDY}")
            columns = {name: file.get_tensor(name).numpy() for name in (*COLUMNS, IDS)}
            tars = facts["tars"]
            found = cls(
                [path.parent / Path(str(name)).name for name, _ in tars],
                [int(size) for _, size in tars],
                np.array(facts["starts"], dtype=np.int64),
                columns,
                facts["about"],
            )
            found.check(path)
        return found

    def whole(self) -> bool:
        """Whether its tars are there, with the sizes that they had."""
        return all(
            tar.is_file() and tar.stat().st_size == size
            for tar, size in zip(self.tars, self.sizes, strict=True)
        )

    def check(self, path: Path) -> None:
        """Raise ValueError, which names ``path``, unless all fits each other and the tars."""
        count, starts = len(self.columns["id_end"]), self.starts
        fits = starts.shape == (len(self.tars) + 1,) and starts[0] == 0 and starts[-1] == count
        fits = fits and bool((np.diff(starts) >= 0).all()) and isinstance(self.about, dict)
        for name, kind in COLUMNS.items():
            column = self.columns[name]
            fits = fits and column.shape == (count,) and column.dtype == kind
        fits = fits and self.columns[IDS].dtype == np.uint8
        for first, stop, size in zip(starts, starts[1:], self.sizes, strict=False):
            fits = fits and self._within(slice(int(first), int(stop)), size)
        if not fits or (count and self.columns["id_end"][-1] != len(self.columns[IDS])):
            raise ValueError(f"{path}: damaged: its columns do not fit each other; {REMEDY}")

    def _within(self, rows: slice, size: int) -> bool:
        """Whether the utterances of one tar lie in it, and are of a length that they can have."""
        part = {name: self.columns[name][rows] for name in COLUMNS}
        audio = (part["audio"] >= BLOCK) & (part["audio_bytes"] > 0)
        audio &= (part["audio_bytes"] <= size) & (part["audio"] <= size - part["audio_bytes"])
        labels = (part["labels"] >= 0) & (part["label_bytes"] >= 0)
        labels &= (part["label_bytes"] <= size) & (part["labels"] <= size - part["label_bytes"])
        length = (part["samples"] >= MIN_SAMPLES) & (part["samples"] <= _LONGEST)
        ordered = np.diff(part["id_end"], prepend=self._ids_before(rows.start)) > 1
        return bool((audio & labels & length & ordered).all())

    def _ids_before(self, row: int) -> int:
        return int(self.columns["id_end"][row - 1]) if row else 0


def merged(parts: Sequence[ShardIndex]) -> ShardIndex:
    """Return one index of all.

    Raises ValueError: an utterance is there twice; names the tars.
    """
    counts = [len(part) for part in parts]
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in (*COLUMNS, IDS)
    }
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    shift = np.cumsum([0, *(len(part.columns[IDS]) for part in parts)])
    for first, stop, by in zip(starts, starts[1:], shift, strict=False):
        columns["id_end"][first:stop] += by
    tars = [tar for part in parts for tar in part.tars]
    index = ShardIndex(tars, [n for part in parts for n in part.sizes], starts, columns)
    _check_twice(index)
    return index


def _check_twice(index: ShardIndex) -> None:
    hashes = index.columns["hash"]
    order = np.argsort(hashes, kind="stable")
    for place in np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]]).tolist():
        rows = [int(row) for row in order[place : place + 2]]
        id, other = (index.id_bytes(row) for row in rows)
        if id == other:
            tars = [index.tar_of(row) for row in rows]
            raise ValueError(
                f"{tars[1]}: {id.decode(errors='replace')!r:.200} is in {tars[0].name} already; "
                + REMEDY
            )


def scanned(tar: Path) -> ShardIndex:
    """Make the index of a tar from its members alone: each utterance has its JSON first.

    Raises:
        ValueError: naming the tar: damaged, foreign, or with an utterance that says not who it is.
    """
    rows, key, about, labels = Rows(), "", None, (0, 0)
    for name, start, size in members(tar):
        stem, suffix = name.split(".")
        if suffix == META and about is not None:
            raise ValueError(f"{tar}: no audio of {key} before {name}; {REMEDY}")
        if suffix == META:
            key, about, labels = stem, _meta(tar, name, start, size), (0, 0)
        elif about is None or stem != key:
            raise ValueError(f"{tar}: no {stem}.{META} before {name}; {REMEDY}")
        elif suffix == LABELS and labels != (0, 0):
            raise ValueError(f"{tar}: {name} is there twice; {REMEDY}")
        elif suffix == LABELS:
            labels = (start, size)
        else:
            rows.add(about[0], about[1], (start, size), labels)
            about = None
    if about is not None:
        raise ValueError(f"{tar}: no audio of {key}; {REMEDY}")
    starts = np.array([0, len(rows.numbers)], dtype=np.int64)
    index = ShardIndex([tar], [tar.stat().st_size], starts, rows.columns())
    index.check(tar)
    return index


def _meta(tar: Path, name: str, start: int, size: int) -> tuple[str, int]:
    """Return id and length that an utterance's JSON says."""
    try:
        if size > _LONGEST_META:
            raise ValueError(f"{size:,} bytes")
        found = json.loads(read_member(tar, start, size))
        id, samples = found["id"], found["samples"]
        named = isinstance(id, str) and id and b"\0" not in as_bytes(id)
        if not named or type(samples) is not int or not MIN_SAMPLES <= samples <= _LONGEST:
            raise ValueError(f"id {id!r:.40}, samples {samples!r:.40}")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{tar}: {name} should say the id and the samples of an utterance ({error!s:.100}); "
            + REMEDY
        ) from None
    return id, samples
