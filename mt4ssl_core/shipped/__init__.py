"""Models that come with the package: each a folder here that `mt4ssl export --to compact` wrote.

`path` finds them in a wheel too. A model's folder has its card, README.md, beside its weights.
"""

import difflib
from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = "model.safetensors"
DEFAULT = "mt4ssl-small"  # what -u mt4ssl means without a checkpoint
MOST_BYTES = 10_000_000  # of one model


def names() -> list[str]:
    """The names of all models that are there; a copy of the package may have none."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{WEIGHTS}"))


def path(name: str | Path) -> Path | None:
    """The folder of the model of this name; None where the package has none."""
    return FOLDER / str(name) if str(name) in names() else None


def name_of(folder: str | Path) -> str | None:
    """The name of the model in this folder; None where that is not one of the package's."""
    found = path(Path(folder).name)
    return found.name if found is not None and found == Path(folder) else None


def check_spelling(name: str | Path) -> None:
    """Refuse what is no file here, but the name of a model that this copy lacks, or nearly a name.

    A path with folders in it is left to whoever reads files.

    Raises:
        ValueError: says which are there.
    """
    there, word = names(), str(name)
    near = difflib.get_close_matches(word.lower(), {*there, DEFAULT}, 1, 0.8)
    if not near or Path(word).name != word:
        return
    if near[0] in there:
        raise ValueError(
            f"{name}: no such file or folder, nor a model that comes with mt4ssl; did you mean "
            f"{near[0]}? (all: {', '.join(there)})"
        )
    what = "this copy of mt4ssl comes without it"
    if word != near[0]:
        what = f"no such file or folder, and this copy of mt4ssl comes without {near[0]}"
    raise ValueError(
        f"{name}: {what}; give a checkpoint of `mt4ssl pretrain`, or install a release that has "
        f"{near[0]}"
    )
