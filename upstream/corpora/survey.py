"""What is found in a corpus folder, and whether it is the published corpus."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt4ssl_core.files import read_json, reading

MINI = "mini_superb.json"  # what mini_superb leaves beside its corpora


@dataclass(frozen=True)
class Survey:
    """Files per split, everything that is wrong, and what a part of the corpus may lack.

    Each of ``problems`` and ``lacking`` ends with its remedy.
    """

    counts: dict[str, int]
    problems: list[str] = field(default_factory=list)
    hours: float | None = None
    lacking: list[str] = field(default_factory=list)


def base(root: str | Path, code: str) -> Path:
    """Return the folder of a task's corpus: ``root/code`` if there is one, else ``root``."""
    root = Path(root).absolute()
    return root / code if (root / code).is_dir() else root


def is_mini(root: str | Path) -> dict[str, Any] | None:
    """Return version, seed and size of the mini_superb corpus that ``root`` is in, if it is one."""
    folder = Path(root).absolute()
    for place in (folder, *folder.parents):
        if (place / MINI).is_file():
            remedy = "make the corpora again with mini_superb"
            with reading(place / MINI, remedy):
                found = read_json(place / MINI, remedy=remedy)
                return {key: found[key] for key in ("version", "seed", "size")}
    return None


def kind(root: str | Path, counts: dict[str, int], published: dict[str, int]) -> str:
    """Return "mini", "real" (the published counts) or "partial"."""
    if is_mini(root):
        return "mini"
    return "partial" if compare_counts(counts, published) else "real"


def compare_counts(counts: dict[str, int], published: dict[str, int]) -> list[str]:
    """Say for which splits the counts are not the published ones."""
    return [
        f"{split} has {counts.get(split, 0)} of {number}"
        for split, number in published.items()
        if counts.get(split, 0) != number
    ]
