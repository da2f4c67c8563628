"""Docstrings that explain fields in lines `name: meaning` are shown as lists."""

import re
from typing import Any

import griffe

START = re.compile(r"[a-z_]\w*(?:, [a-z_]\w*)*: ")


def listed(text: str) -> str:
    """Return a docstring with every paragraph of field lines as a Markdown list."""
    blocks = re.split(r"\n\s*\n", text)
    return "\n\n".join(_as_list(b) if START.match(b.strip()) else b for b in blocks)


def _as_list(block: str) -> str:
    lines = " ".join(line.strip() for line in block.splitlines())
    items = re.split(r"(?<=[.)]) (?=[a-z_]\w*(?:, [a-z_]\w*)*: )", lines)
    named = (item.partition(": ") for item in items)
    return "\n".join(f"- `{name}`: {meaning}" for name, _, meaning in named)


class FieldLists(griffe.Extension):
    """Rewrites the docstrings of classes and functions."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring and (obj.is_class or obj.is_function):
            obj.docstring.value = listed(obj.docstring.value)
