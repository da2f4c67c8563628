"""What a task's module hands over: the clips to record, the text files beside them, and where s3prl finds them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mini_superb.clip import Clip

SIZES = ("tiny", "default", "large")

Paths = dict[str, Path | list[Path]]


@dataclass(frozen=True)
class Plan:
    """Everything a task puts on disk; all paths are relative to the corpus root and begin with the task's name."""

    clips: list[Clip]
    texts: dict[str, str]  # path -> content


@dataclass(frozen=True)
class Task:
    """One corpus layout: ``plan(seed, size)`` depends on nothing else, ``paths(root)`` names what configs ask for."""

    name: str
    plan: Callable[[int, str], Plan]
    paths: Callable[[Path], Paths]
