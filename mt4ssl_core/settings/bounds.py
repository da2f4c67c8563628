"""What a setting may be, said beside its field, and one checker that reads it.

A dataclass that holds settings writes its fields as ``lr: float = number(5e-4, above=0,
at_most=100)``; `problems` then names every value that is not finite, outside its bounds, not one of
the known words, or not a device. `whole` and `real` read the same bounds off a command line.
"""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt4ssl_core import shipped
from mt4ssl_core.settings import hub_names, values

SEEDS: dict[str, Any] = {"at_least": 0, "below": 2**63}
NUMPY_SEEDS: dict[str, Any] = {
    "at_least": 0,
    "below": 2**32,
}  # of numpy's old generator, which s3prl uses
MISSING = "???"  # the default of a setting that has none
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,4})?")
_KEY = "mt4ssl"  # of a field's metadata


@dataclass(frozen=True)
class Bounds:
    """An interval; every number in it is finite."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def problem(self, value: float) -> str | None:
        """Return what is wrong with a number: "nan; must be above 0 and at most 1"."""
        inside = self.at_least <= value <= self.at_most and self.above < value < self.below
        return None if inside and math.isfinite(value) else f"{value}; must be {self}"

    def __str__(self) -> str:
        """Return it in words."""
        words = (("at least", self.at_least), ("above", self.above),
                 ("at most", self.at_most), ("below", self.below))  # fmt: skip
        said = [f"{word} {_plain(bound)}" for word, bound in words if math.isfinite(bound)]
        return " and ".join(said) or "finite"


def _plain(bound: float) -> str:
    """A bound as people write it; 9223372036854775808 is 2**63."""
    if bound >= 2**31 and math.log2(bound).is_integer():
        return f"2**{int(math.log2(bound))}"
    return f"{int(bound):,}" if float(bound).is_integer() and bound >= 10_000 else f"{bound:g}"


@dataclass(frozen=True)
class Rule:
    """What `problems` checks of a field."""

    bounds: Bounds | None = None  # of a number, or of each in (nested) lists
    count: int | None = None  # of a list
    words: tuple[str, ...] = ()
    device: bool = False
    path: bool = False  # ``~`` is the home folder
    exists: bool = False  # a path of something that is read
    hub: bool = False  # or the name of a model, on Hugging Face's hub or one that comes with us
    text: Callable[[str], Any] | None = None  # reads a text; its ValueError says what is wrong
    shape: bool = False  # no checkpoint that was written with another value can go on


def number(default: float | None, shape: bool = False, **bounds: float) -> Any:
    """Return a field for a number (or None) within ``bounds``, the fields of `Bounds`.

    ``shape``: it decides the form of what is learned, so that a run cannot go on with another.
    """
    return field(default=default, metadata={_KEY: Rule(Bounds(**bounds), shape=shape)})


def numbers(default: Sequence[Any], count: int | None = None, **bounds: float) -> Any:
    """Return a field for a list, or list of lists, of numbers within ``bounds``."""

    def fresh() -> list[Any]:
        return [list(item) if isinstance(item, list) else item for item in default]

    return field(default_factory=fresh, metadata={_KEY: Rule(Bounds(**bounds), count)})


def choice(default: str | None, *words: str) -> Any:
    """Return a field for one of some words."""
    return field(default=default, metadata={_KEY: Rule(words=words)})


def choices(default: Sequence[str], *words: str) -> Any:
    """Return a field for a list of some words, each one of ``words``."""
    return field(default_factory=lambda: list(default), metadata={_KEY: Rule(words=words)})


def text(default: str | None, read: Callable[[str], Any]) -> Any:
    """Return a field for a text that ``read`` understands."""
    return field(default=default, metadata={_KEY: Rule(text=read)})


def device(default: str | None) -> Any:
    """Return a field for the name of a device: auto, cpu, cuda or cuda:N."""
    return field(default=default, metadata={_KEY: Rule(device=True)})


def path(default: str | None, exists: bool = False, hub: bool = False) -> Any:
    """Return a field for a path; ``exists``: of what is read; ``hub``: or a name there."""
    return field(default=default, metadata={_KEY: Rule(path=True, exists=exists, hub=hub)})


def rule(found: dataclasses.Field) -> Rule:
    """Return what a field says of itself."""
    return found.metadata.get(_KEY) or Rule()


Name = str | Callable[[str], str]  # of a field for the user: a prefix, or a function of the field's


def problems(settings: Any, name: Name) -> list[str]:
    """Return what is wrong with the fields of a dataclass, each line beginning with its name."""
    return [
        f"{_named(name, item.name)}: {problem}"
        for item in dataclasses.fields(settings)
        if (problem := _problem(rule(item), getattr(settings, item.name))) is not None
    ]


def check(settings: Any, name: Name) -> None:
    """Raise ValueError with all `problems`."""
    if found := problems(settings, name):
        raise ValueError("\n  ".join(found))


def unfound(settings: Any, name: Name) -> list[str]:
    """Return the paths of things to be read that are not there."""
    out = []
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if not rule(item).exists or value in (None, MISSING) or _exists(value):
            continue
        if not (rule(item).hub and (hub_names.is_name(value) or shipped.path(value))):
            said = f"{_named(name, item.name)}: {value or repr(value)}"
            out.append(f"{said}: no such file or folder; correct the path")
    return out


def _named(name: Name, field: str) -> str:
    return f"{name}{field}" if isinstance(name, str) else name(field)


def _exists(value: str) -> bool:
    try:
        return bool(value) and Path(value).exists()
    except OSError:  # such as a name too long
        return False


def _problem(rule: Rule, value: Any) -> str | None:
    if value is None:
        return None
    if rule.bounds is not None:
        if rule.count is not None and len(value) != rule.count:
            return f"{value}; expected {rule.count} numbers"
        return next(filter(None, map(rule.bounds.problem, _leaves(value))), None)
    if rule.words and (wrong := [word for word in _leaves(value) if word not in rule.words]):
        return f"{wrong[0]!r}; use {_either(rule.words)}"
    if rule.device and DEVICE.fullmatch(value) is None:
        return f"{value!r}; use auto, cpu, cuda or cuda:N"
    if rule.text is not None:
        try:
            rule.text(value)
        except ValueError as error:
            return str(error)
    if rule.path and ("\0" in value or not (value or rule.exists)):
        return f"{value!r}; expected a path"
    return None


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


# ---- Of a command line


def whole(**bounds: float) -> Callable[[str], int]:
    """Return argparse's ``type`` of a whole number within ``bounds``."""
    return _reader(int, Bounds(**bounds))


def real(**bounds: float) -> Callable[[str], float]:
    """Return argparse's ``type`` of a number within ``bounds``."""
    return _reader(float, Bounds(**bounds))


def reader(found: dataclasses.Field) -> Callable[[str], Any]:
    """Return argparse's ``type`` of a field made by `number`."""
    limits = rule(found).bounds
    assert limits is not None and isinstance(found.type, type)
    return _reader(found.type, limits)


def _reader(kind: type, bounds: Bounds) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = values.convert(text, kind)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if problem := bounds.problem(value):
            raise argparse.ArgumentTypeError(problem)
        return value

    return read


def device_name(text: str) -> str:
    """Be argparse's ``type`` of a device."""
    if DEVICE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}; use auto, cpu, cuda or cuda:N")
    return text
