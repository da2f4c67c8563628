"""Docstrings that explain fields in lines `name: meaning` are shown as lists."""

import re
from typing import Any

import griffe

from mt4ssl_core.settings.listing import items

START = re.compile(r"[a-z_]\w*(?:, [a-z_]\w*)*: ")


def listed(text: str) -> str:
    """Return a docstring with every paragraph of field lines as a Markdown list."""
    blocks = re.split(r"\n\s*\n", text)
    return "\n\n".join(_as_list(b) if START.match(b.strip()) else b for b in blocks)


def _as_list(block: str) -> str:
    return "\n".join(f"- `{names}`: {meaning}" for names, meaning in items(block))


class FieldLists(griffe.Extension):
    """Rewrites the docstrings of classes and functions."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring and (obj.is_class or obj.is_function):
            obj.docstring.value = listed(obj.docstring.value)
