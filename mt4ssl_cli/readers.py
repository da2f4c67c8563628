"""Readers of single words: paths, numbers with bounds, devices, one of some words."""

import argparse
import dataclasses
import difflib
from collections.abc import Callable, Sequence
from typing import Any

import typer

from mt4ssl_core.files import user_path
from mt4ssl_core.settings import bounds

Reader = Callable[[Any], Any]


def checked(read: Callable[[str], Any]) -> Reader:
    """Return a reader whose complaint names the option; a default passes."""

    def reader(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return read(value)
        except argparse.ArgumentTypeError as error:
            raise typer.BadParameter(str(error)) from None

    return reader


def whole(**limits: float) -> Reader:
    """Return a reader of a whole number within bounds."""
    return checked(bounds.whole(**limits))


def real(**limits: float) -> Reader:
    """Return a reader of a number within bounds."""
    return checked(bounds.real(**limits))


def field_of(owner: type, name: str) -> Reader:
    """Return a reader of a number within the bounds of a dataclass's field."""
    (found,) = [field for field in dataclasses.fields(owner) if field.name == name]
    return checked(bounds.reader(found))


def one_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings of an option that takes one of some words."""

    def read(word: str) -> str:
        if word in words:
            return word
        near = difflib.get_close_matches(word, words, 1)
        remedy = f"did you mean {near[0]}? (all: {', '.join(words)})" if near else (
            f"use {', '.join(words)}"
        )  # fmt: skip
        raise typer.BadParameter(f"{word!r}: unknown; {remedy}")

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return {"parser": checked(read), "autocompletion": complete, "metavar": "|".join(words)}


def path_of(text: str) -> str:
    """Return a path with the home folder in place of ``~``, also where a shell does not.

    An empty word is mostly a shell's unset variable, and would be the current folder.
    """
    if not text:
        raise typer.BadParameter("'': expected a path; the current folder is .")
    kind, path = ("ckpt:", text[5:]) if text.startswith("ckpt:") else ("", text)
    return kind + str(user_path(path)) if path.startswith("~") else text
