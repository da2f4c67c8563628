"""What is asked of the feature store, on every command line that runs s3prl's tasks."""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mt4ssl_core.files import user_path
from mt4ssl_core.settings import bounds
from mt4ssl_core.settings.bounds import choice, number
from mt4ssl_core.settings.precisions import PRECISIONS
from upstream.door import cache

AUTO, FRAMES, OFF = "auto", "frames", "off"
MODES = (AUTO, FRAMES, OFF)
FLAGS = {
    "mode": "--store",
    "folder": "--store-dir",
    "gigabytes": "--store-gb",
    "precision": "--store-precision",
    "crops": "--store-crops",
    "alone": "--store-alone",
}


@dataclass(frozen=True)
class StoreOptions:
    """What is asked of the feature store.

    Raises:
        ValueError: a value that cannot be; says what can.
    """

    mode: str = choice(AUTO, *MODES)
    folder: str | None = None  # None: `default_folder`
    gigabytes: float = number(20.0, at_least=0, at_most=1e9)
    precision: str = choice("fp16", *PRECISIONS)
    crops: int = number(0, at_least=0, at_most=100_000)
    alone: bool = False

    def __post_init__(self) -> None:
        """Check what needs no files."""
        bounds.check(self, FLAGS.__getitem__)

    @property
    def place(self) -> Path:
        """Return the folder of the store."""
        return user_path(self.folder).absolute() if self.folder else default_folder()

    @classmethod
    def of(cls, args: argparse.Namespace) -> "StoreOptions":
        """Return what was given on a command line that `add_arguments` was called for."""
        return cls(**{field.name: getattr(args, f"store_{field.name}") for field in fields(cls)})

    def argv(self) -> list[str]:
        """Return the words of a command line that ask for the same."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words += [FLAGS[field.name], *([] if value is True else [str(value)])]
        return words


def add_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the store's flags; `StoreOptions.of` reads what was given."""
    for field in fields(StoreOptions):
        given: dict[str, Any] = {"dest": f"store_{field.name}", "default": field.default}
        rule = bounds.rule(field)
        if field.type is bool:
            given["action"] = "store_true"
        elif rule.bounds:
            given["type"] = bounds.reader(field)
        elif rule.words:
            given["choices"] = rule.words
        parser.add_argument(FLAGS[field.name], **given)


def default_folder() -> Path:
    """Return the store that is used when none is named."""
    return cache.folder() / "features"
