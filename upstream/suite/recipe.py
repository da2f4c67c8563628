"""Another protocol than SUPERB's: what it changes of a task, as ``protocols:`` of its YAML says.

``mini`` is MiniSUPERB's recipe (arXiv 2305.19011): fewer steps, one learning rate, part of the
training split, layers that are normalised, and features that are computed once (see `stored`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upstream.store.options import FRAMES, StoreOptions

SUPERB, MINI = NAMES = ("superb", "mini")


@dataclass(frozen=True)
class Recipe:
    """What a protocol changes of a task.

    ``rates``: learning rates to choose from; ``changes``: of the config, by dotted key; ``paths``:
    keys of the config that say where the part of the corpus is that is trained on, and ``part``
    what a record says of it; ``normalize``: whether each layer is (s3prl's
    ``--upstream_feature_normalize``).
    """

    name: str
    rates: tuple[float, ...]
    changes: Mapping[str, Any]
    paths: Mapping[str, str]
    part: Mapping[str, Any]
    normalize: bool

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a result another one; where files lie does not."""
        changes = dict(self.changes)
        return {"protocol": {"name": self.name, "normalize": self.normalize, **changes}}


def has(header: Mapping[str, Any], name: str) -> bool:
    """Whether a task can be done by a protocol."""
    return name == SUPERB or name in header.get("protocols", {})


def of(header: Mapping[str, Any], name: str, root: Path) -> Recipe | None:
    """Return what a protocol changes of a task; None for SUPERB's own.

    The part of the corpus under ``root`` that is trained on is drawn, or found as it was drawn.

    Raises:
        ValueError: it cannot be drawn.
    """
    if name == SUPERB:
        return None
    from upstream.corpora import minisuperb  # numpy and soundfile, which no command line needs

    entry = header["protocols"][name]
    drawn = minisuperb.part(header["code"], root)
    rates = tuple(float(rate) for rate in entry["learning_rates"])
    return Recipe(name, rates, entry["changes"], drawn.paths, drawn.about, entry["normalize"])


def stored(name: str, options: StoreOptions) -> StoreOptions:
    """Return what a protocol asks of the store.

    MiniSUPERB extracts each utterance's features once and alone, of a random crop where the task
    crops at random.

    Raises:
        ValueError: features that are not stored are asked for.
    """
    if name == SUPERB:
        return options
    if options.mode not in (FRAMES, StoreOptions.mode):
        raise ValueError(
            f"--protocol {name} and --store {options.mode}: its features are computed once; leave "
            "--store out"
        )
    return replace(options, mode=FRAMES, crops=options.crops or 1, alone=True)
