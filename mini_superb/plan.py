"""What a task's module hands over: clips to record, text files, and where s3prl finds them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mini_superb.clip import Clip

SIZES = ("tiny", "default", "large")
SPLITS = ("train", "valid", "test")

Paths = dict[str, Any]  # values: Path or list[Path]


@dataclass(frozen=True)
class Counts:
    """(speakers, utterances of each) for every split."""

    train: tuple[int, int]
    valid: tuple[int, int]
    test: tuple[int, int]

    def speakers(self, split: str) -> int:
        """How many people speak in a split."""
        return int(getattr(self, split)[0])

    def utterances(self, split: str) -> int:
        """How much each of them says."""
        return int(getattr(self, split)[1])


@dataclass(frozen=True)
class Plan:
    """All that a task puts on disk; its paths are relative to the root and begin with its name.

    ``finish(root)`` is called once the clips are there, for what is made of them: mixtures, copies
    at another sample rate. It may remove clips that are not part of the corpus.
    """

    clips: list[Clip]
    texts: dict[str, str]  # path -> content
    finish: Callable[[Path], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Task:
    """A corpus layout: ``plan(seed, size)``, and ``paths(root)`` by the keys of s3prl's config."""

    name: str
    plan: Callable[[int, str], Plan]
    paths: Callable[[Path], Paths]
