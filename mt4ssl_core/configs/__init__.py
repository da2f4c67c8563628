"""Configurations that ship with the package; `path` finds them in a wheel too."""

import difflib
from pathlib import Path


def names() -> list[str]:
    """The names of all shipped configurations."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.yaml"))


def has(name: str) -> bool:
    """Whether a configuration of this name is shipped."""
    return name in names()


def path(name: str) -> Path:
    """The path of a shipped configuration, e.g. ``path("tiny")``.

    Raises:
        ValueError: no configuration of that name.
    """
    if not has(name):
        near = difflib.get_close_matches(name, names(), 1, 0.6)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(
            f"{name!r}: no such configuration{hint}; choose one of {', '.join(names())}, or give "
            "the path of a YAML file"
        )
    return Path(__file__).parent / f"{name}.yaml"
