"""Configurations that ship with the package; `path` finds them in a wheel too."""

from pathlib import Path


def path(name: str) -> Path:
    """The path of a shipped configuration, e.g. ``path("tiny")``.

    Raises:
        ValueError: no configuration of that name.
    """
    folder = Path(__file__).parent
    file = folder / f"{name}.yaml"
    if not file.is_file():
        names = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
        raise ValueError(f"{name!r}: no such configuration; choose one of {names}")
    return file
