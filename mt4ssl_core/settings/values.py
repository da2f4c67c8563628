"""Values of settings out of YAML and off the command line: the type of the field decides.

In a YAML file a plain ``1e3``, ``yes``, ``007`` or ``2024-01-01`` is what its field makes of it, so
that a path is never read as a number and 5e-4 never as a text. Only ``null`` and ``~`` alone mean
nothing, as everywhere in YAML.
"""

import ast
import math
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml

LIMIT = 1 << 20  # bytes of a YAML file of settings
SHOWN = 60  # characters of a wrong value in a message
_WORDS = {"true": True, "false": False, "null": None}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class _Loader(yaml.SafeLoader):
    """YAML whose plain values stay text, but for null; a key may be there once."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the first letters of null and of merges
        letter: [(tag, pattern) for tag, pattern in found if tag.endswith((":null", ":merge"))]
        for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """Return the nested lists, mappings, texts and Nones of a YAML text.

    Raises:
        ValueError: not YAML; says where.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def of_word(text: str) -> Any:
    """Return a value that no field's type decides: a Python literal, true, false or null, a list or
    mapping in brackets as YAML has it, else the text itself.

    So 010 and 1:30, which YAML takes for 8 and 90, stay what was typed; inside brackets that are
    no Python literal YAML's rules hold.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if not text.startswith(("[", "{")):
        return text
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def read(path: Path) -> Any:
    """Return what a YAML file of settings holds (see `parse`).

    Raises:
        ValueError: naming it: not YAML, not UTF-8, or too large.
    """
    size = path.stat().st_size
    if size > LIMIT:
        raise ValueError(f"{path}: {size:,} bytes are no file of settings; give another")
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid YAML: {error}; mend that line") from None


def convert(value: Any, hint: Any) -> Any:
    """Return ``value``, a text or a Python value, as the type ``hint``: str, int, float, bool, a
    list of these, or one of them or None.

    Raises:
        ValueError: it is none; "'many'; expected a whole number".
    """
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None or (isinstance(value, str) and value in ("null", "None")):
        if types.NoneType in options:
            return None
        if value is None:
            raise ValueError("cannot be null; remove the line")
    (kind,) = (option for option in options if option is not types.NoneType)
    try:
        if typing.get_origin(kind) is list:
            return _list(value, typing.get_args(kind)[0])
        return _READERS[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{shown(value)}; expected {_what(kind)}") from None


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, whatever it is."""
    if not isinstance(value, str | int | float | bool | list | tuple | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, list | tuple | dict) and len(value) > SHOWN:
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python prints
        return f"a huge {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _what(kind: Any) -> str:
    if typing.get_origin(kind) is list:
        inner = typing.get_args(kind)[0]
        nested = typing.get_origin(inner) is list
        if inner is str:
            return "a list of words, as in [one, two]"
        return "a list of lists, as in [[512, 10, 5], ...]" if nested else "a list of numbers"
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]


def _list(value: Any, kind: Any) -> list[Any]:
    if isinstance(value, str):
        value = parse(value)
    if not isinstance(value, list | tuple):
        raise ValueError
    return [convert(item, kind) for item in value]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _whole(value: Any) -> int:
    """12, "12", 4e5 and "4e5", but not 8.5 or True."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9][0-9_]*\s*", value):
        return int(value)
    if isinstance(value, int):
        return value
    number = float(value)
    if not number.is_integer() or abs(number) >= 2**53:
        raise ValueError
    return int(number)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    try:
        return float(value)
    except OverflowError:  # a whole number beyond
        return math.inf


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE + _FALSE:
        raise ValueError
    return word in _TRUE


_READERS = {str: _text, int: _whole, float: _real, bool: _truth}
