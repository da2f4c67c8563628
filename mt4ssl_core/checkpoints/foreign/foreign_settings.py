"""Settings out of foreign files: of the type and size that they can have, or refused by name."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.config import SAMPLE_RATE

LARGEST = 1 << 20  # of any whole number in an encoder's settings
BLOCKS = 64  # convolutions of a waveform extractor


def shown(value: Any) -> str:
    """``value`` as a message has it: short, whatever it is."""
    if isinstance(value, str | int | float | None):
        text = repr(value[:80] if isinstance(value, str) else value)
    elif isinstance(value, list | tuple | dict):
        text = repr(value) if len(value) <= 8 and all(map(_small, value)) else "..."
        text = text if len(text) <= 80 and text != "..." else f"a {type(value).__name__}"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 90 else f"{text[:80]}..."


def _small(value: Any) -> bool:
    return isinstance(value, bool | float | None) or (
        isinstance(value, int | str) and len(str(value)) < 40
    )


@dataclass(frozen=True)
class ForeignSettings:
    """A foreign mapping of settings, and where it comes from: ``path``, and a ``prefix`` in it."""

    values: Mapping[str, Any]
    path: Path
    prefix: str = ""

    def refuse(self, name: str, expected: str) -> ValueError:
        """The error about a value that cannot be used."""
        return ValueError(
            f"{self.path}: {self.prefix}{name} = {shown(self.values.get(name))}, expected "
            f"{expected}; give another checkpoint"
        )

    def get(self, name: str, default: Any, kind: type) -> Any:
        """The value of ``name``, checked to be of ``kind``: bool, int, float, str or list."""
        value = self.values.get(name, default)
        if kind is bool and isinstance(value, bool):
            return value
        if kind is int and type(value) is int:
            if not 0 <= value <= LARGEST:
                raise self.refuse(name, f"a whole number from 0 to {LARGEST:,}")
            return value
        if kind is float and type(value) in (int, float):
            if not math.isfinite(value):
                raise self.refuse(name, "a finite number")
            return float(value)
        if kind is str and isinstance(value, str):
            return value
        if kind is list and isinstance(value, list | tuple):
            return list(value)
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        raise self.refuse(name, words.get(kind, "a list"))

    def check_fixed(self, fixed: Mapping[str, Any]) -> None:
        """See that what this encoder cannot vary is as ``fixed`` says, or absent."""
        for name, wanted in fixed.items():
            value = self.values.get(name, wanted)
            same = type(value) in (type(wanted), int) if type(wanted) is float else True
            same = same and (isinstance(value, bool) == isinstance(wanted, bool))
            if not same or value != wanted:
                raise self.refuse(name, shown(wanted))

    def check_spelling(self, known: Collection[str]) -> None:
        """See that no name is one of the ``known`` but for one character: a damaged file would
        leave that setting at its default.
        """
        for name in self.values.keys() - known:
            for right in known:
                same = len(right) == len(name)
                if same and sum(a != b for a, b in zip(right, name, strict=True)) == 1:
                    raise ValueError(
                        f"{self.path}: {self.prefix}{shown(name)} is no setting, {right} is: "
                        "damaged or misspelt; correct it, or copy the file again"
                    )

    def check_rate(self, name: str) -> None:
        """See that the model hears audio at 16 kHz, or says nothing of it."""
        if self.values.get(name, SAMPLE_RATE) != SAMPLE_RATE:
            raise ValueError(
                f"{self.path}: {self.prefix}{name} = {shown(self.values[name])}: a model of audio "
                f"at that rate; only models of {SAMPLE_RATE} Hz can be used, give one of these"
            )


def whole_numbers(values: Sequence[Any], most: int = BLOCKS) -> bool:
    """Whether ``values`` are at most ``most`` whole numbers above 0, none of them absurd."""
    return len(values) <= most and all(type(n) is int and 0 < n <= LARGEST for n in values)


def mapping(value: Any) -> dict[str, Any]:
    """``value`` if it is a dict whose keys are text, else an empty one."""
    return value if isinstance(value, dict) and all(isinstance(k, str) for k in value) else {}
