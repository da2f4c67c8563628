"""Every setting of a run with its value and meaning: `mt4ssl config`."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from mt4ssl_core import config
from mt4ssl_core.settings import bounds, finetuning

WIDTH = 80
DIFFERS = "<-- default: "


def listed(name: str | None = None) -> str:
    """Return the defaults, or what a config has with what differs marked, as a config's YAML.

    The settings of a target that is off are comments.

    Raises:
        ValueError: no such config, unknown keys or wrong types.
    """
    kinds = finetuning.SECTIONS if name and finetuning.is_one(name) else config.sections()
    found, on = config.values(name, kinds), config.values(None, kinds)
    lines = [f"# {name}: what differs from the defaults has {DIFFERS}..."] if name else []
    for section, kind in kinds.items():
        defaults = dataclasses.asdict(kind())
        inner = list(_settings(kind, found[section] or defaults, defaults))
        off = found[section] is None
        head = f"{section}: null" if off else f"{section}:"
        if off != (on[section] is None):
            head += f"  # {DIFFERS}{'on' if off else 'off'}"
        title = (kind.__doc__ or "").splitlines()[0]
        lines += ["", f"# {title}", head, *(f"# {line}" if off else f"  {line}" for line in inner)]
    return "\n".join(lines).strip("\n")


def items(text: str) -> list[tuple[str, str]]:
    """Return (names, meaning) of what a docstring says in lines ``name, name: meaning``."""
    said = " ".join(text.split())
    parts = re.split(r"(?<=[.)]) (?=[a-z_]\w*(?:, [a-z_]\w*)*: )", said)
    return [(names, meaning) for names, _, meaning in (part.partition(": ") for part in parts)]


def _settings(kind: type, values: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """The lines of a section, a setting's meaning above it."""
    meanings: dict[str, str] = {}
    for owner in reversed(kind.__mro__):  # what a dataclass inherits is said there
        _, _, rest = inspect.cleandoc(owner.__doc__ or "").partition("\n\n")
        meanings |= {name: said for names, said in items(rest) for name in names.split(", ")}
    for field in dataclasses.fields(kind):
        name, rule = field.name, bounds.rule(field)
        said = f"{meanings.get(name, '')}{f' ({rule.bounds})' if rule.bounds else ''}"
        yield from (f"# {line}" for line in textwrap.wrap(said, WIDTH - 4))
        differs = values[name] != defaults[name]
        yield f"{name}: {_plain(values[name])}" + (
            f"  # {DIFFERS}{_plain(defaults[name])}" if differs else ""
        )


def _plain(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=2**31, allow_unicode=True)
    return text.strip().removesuffix("\n...")
