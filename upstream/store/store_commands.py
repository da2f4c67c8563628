"""Looking after a feature store: `mt4ssl store ls|verify|prune|rm`."""

import time
from collections.abc import Sequence
from pathlib import Path

from mt4ssl_core.bars import MB, Bar
from mt4ssl_core.command_line import aligned
from mt4ssl_core.lines import say
from mt4ssl_core.store import upkeep
from mt4ssl_core.store.store import GB
from mt4ssl_core.store.upkeep import SpaceInfo
from upstream.store.options import StoreOptions

HEAD = ["features", "upstream", "fingerprint", "kind", "layers", "precision", "utterances", "GB"]


def ls(folder: str | None) -> None:
    """Print what a store holds, most recently used first."""
    place = _place(folder)
    found = upkeep.spaces(place)
    print(spaces_table(found))
    print(f"\n{_sum(found)} in {place}")


def verify(folder: str | None) -> int:
    """Read everything in a store; returns 1 if something was spoiled.

    Raises:
        ValueError: there is no store.
    """
    place = _place(folder)
    size = sum(info.bytes for info in upkeep.spaces(place))
    with Bar("verify", size / MB, unit=" MB") as bar:
        report = upkeep.verify(place, say, lambda read: bar.advance(read / MB))
        bar.total = bar.done
    print(
        f"{place}: {report.good} records are good, {report.spoiled} are spoiled and not used any "
        f"more, {gigabytes(report.lost_bytes)} belong to none"
    )
    return 1 if report.spoiled or report.unreadable else 0


def prune(folder: str | None, gigabytes: float | None, days: float | None) -> None:
    """Remove what was not used for longest, and what killed processes left behind."""
    _say_removed(upkeep.prune(_place(folder), gigabytes, days))


def rm(folder: str | None, which: str) -> None:
    """Remove features by how their name or the fingerprint of their upstream begins.

    Raises:
        ValueError: there are none.
    """
    place = _place(folder)
    removed = upkeep.remove(place, which)
    if not removed:
        raise ValueError(f"{which}: no such features in {place}; see `mt4ssl store ls`")
    _say_removed(removed)


def spaces_table(found: Sequence[SpaceInfo]) -> str:
    """Return a line for each kind of features."""
    return aligned([[*HEAD, "last used"], *map(_row, found)])


def _row(info: SpaceInfo) -> list[str]:
    kind, used = info.kind, time.strftime("%Y-%m-%d %H:%M", time.localtime(info.used))
    size = [str(info.utterances), gigabytes(info.bytes).removesuffix(" GB"), used]
    if kind is None:
        return [info.folder.name, "not readable", *[""] * 4, *size]
    layers = "all" if kind.layers is None else ",".join(map(str, kind.layers))
    what = f"{kind.kind}, normalized" if kind.normalized else kind.kind
    told = [kind.upstream, kind.fingerprint[:12], what, layers, kind.precision]
    return [info.folder.name, *told, *size]


def _say_removed(removed: Sequence[SpaceInfo]) -> None:
    if removed:
        print(spaces_table(removed))
    for info in removed:
        if info.folder.exists():
            print(f"{info.folder}: holds files that are not of the store; they stay")
    print(f"{_sum(removed)} removed")


def gigabytes(size: float) -> str:
    """Return a number of bytes as it is shown."""
    return f"{size / GB:.3g} GB" if size >= GB / 1000 or not size else "< 0.001 GB"


def _sum(found: Sequence[SpaceInfo]) -> str:
    return gigabytes(sum(info.bytes for info in found))


def _place(folder: str | None) -> Path:
    return StoreOptions(folder=folder).place
