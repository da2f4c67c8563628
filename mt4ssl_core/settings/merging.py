"""Settings of a schema: layers of values over its defaults, and all that does not fit."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.files import user_path
from mt4ssl_core.settings import bounds, synonyms
from mt4ssl_core.settings import values as setting_values
from mt4ssl_core.settings.bounds import MISSING
from mt4ssl_core.settings.config_files import chain, find_config


class Layers:
    """Values of sections, each a dataclass (or off: None), as they are laid over the defaults.

    sections: {name: dataclass}. optional: {name: whether it is on by default} of those that may be
        off. Nothing is raised: ``problems`` and ``missing`` tell what is wrong, each line with its
        key.
    """

    def __init__(self, sections: Mapping[str, type], optional: Mapping[str, bool]) -> None:
        self.sections, self.optional = sections, optional
        self.values: dict[str, dict[str, Any] | None] = {
            name: dataclasses.asdict(part()) if optional.get(name, True) else None
            for name, part in sections.items()
        }
        self.problems: list[str] = []
        self.unknown_sections: set[str] = set()
        self.keys = [
            key
            for section, part in sections.items()
            for key in (section, *(f"{section}.{name}" for name in _types(part)))
        ]

    def apply(self, layer: Any, where: str = "", creates: bool = True) -> None:
        """Lay {section: {name: value}} over what is there; ``where`` begins each problem.

        A section that is off is switched on by a value in it if it ``creates``.
        """
        if not isinstance(layer, dict):
            self.problems.append(f"{where}expected sections, got {setting_values.shown(layer)}")
            return
        for section, values in layer.items():
            said = f"{where}{section}"
            if section not in self.sections:
                self._unknown(section, values, where)
            elif values is None and section in self.optional:
                self.values[section] = None
            elif values is None:
                self.problems.append(f"{said}: cannot be null; remove the line")
            elif not isinstance(values, dict):
                shown = setting_values.shown(values)
                self.problems.append(f"{said}: expected a mapping of keys, got {shown}")
            elif self.values[section] is None and not creates:
                self.problems.append(
                    f"{said}.{next(iter(values))}: {section} is null (off); add {section}={{}} "
                    "before it"
                )
            else:
                self._fill(section, values, where)

    def read(self, path: str | Path) -> "Layers":
        """Lay a file, and before it what it extends, over what is there; returns itself.

        Raises:
            ValueError: no such file, or one that is no mapping of sections.
        """
        for file, layer in chain(find_config(path)):
            self.apply(layer, f"{file}: ")
        return self

    def override_all(self, overrides: Sequence[str] | Mapping[str, Any]) -> None:
        """Apply words ``section.name=text``, or values of Python by such names."""
        if isinstance(overrides, Mapping):
            for key, value in overrides.items():
                self.put(key, value)
        else:
            for word in overrides:
                self.override(word)

    def put(self, key: str, value: Any) -> None:
        """Apply one value of Python to ``section.name``, or to a whole section."""
        section, dot, name = key.partition(".")
        self.apply({section: {name: value} if dot else value}, creates=not dot)

    def override(self, word: str) -> None:
        """Apply one ``section.name=text`` (or ``section=null``, ``section={...}``)."""
        key, equals, text = word.partition("=")
        section, dot, name = key.strip().partition(".")
        if not equals:
            self.problems.append(f"{word!r}: expected key=value, e.g. optim.lr=1e-3")
        elif dot:
            self.apply({section: {name: text}}, creates=False)
        elif section not in self.sections:
            self._unknown(section, text, "")
        else:
            try:
                values = setting_values.parse(text)
            except ValueError as error:
                self.problems.append(f"{word!r}: not a value: {error}")
            else:
                self.apply({section: values}, creates=values == {})

    def build(self) -> dict[str, Any]:
        """Return {section: its object, or None}."""
        return {
            section: None if values is None else self.sections[section](**values)
            for section, values in self.values.items()
        }

    @property
    def missing(self) -> list[str]:
        """What has no value."""
        return [
            f"{key}: missing value; give {key}=... on the command line or in the YAML"
            for section, values in self.values.items()
            for name, value in (values or {}).items()
            if value == MISSING
            for key in [f"{section}.{name}"]
        ]

    def _unknown(self, section: Any, values: Any, where: str) -> None:
        """Say which names are meant; of a whole section, for each of its keys."""
        self.unknown_sections.add(str(section))
        inside = values if isinstance(values, dict) and values else {}
        keys = [f"{section}.{name}" for name in inside] or [str(section)]
        self.problems += [where + synonyms.unknown(key, self.keys) for key in keys]

    def _fill(self, section: str, values: dict[Any, Any], where: str) -> None:
        part = self.sections[section]
        fields, hints = {item.name: item for item in dataclasses.fields(part)}, _types(part)
        there = self.values[section] or dataclasses.asdict(part())
        self.values[section] = there
        for name, value in values.items():
            key = f"{section}.{name}"
            if name not in fields:
                self.problems.append(where + synonyms.unknown(key, self.keys))
                continue
            try:
                there[name] = setting_values.convert(value, hints[name])
                if bounds.rule(fields[name]).path and str(there[name]).startswith("~"):
                    there[name] = str(user_path(there[name]))
            except ValueError as error:
                self.problems.append(f"{where}{key}: {error}")


def refuse(problems: Sequence[str], where: str) -> None:
    """Raise ValueError with all ``problems`` of the settings that ``where`` gives, if there are."""
    if problems:
        listing = "\n  ".join(problems)
        raise ValueError(f"{where}: {len(problems)} problem(s), nothing was started:\n  {listing}")


def _types(schema: type) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {item.name: hints[item.name] for item in dataclasses.fields(schema)}
