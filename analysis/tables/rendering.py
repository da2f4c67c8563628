"""Pages of HTML that need nothing else, from the templates that lie in the rooms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent / "templates"  # what all pages have in common: tables


def render(name: str, values: Mapping[str, Any], folder: Path = FOLDER) -> str:
    """Return a template of a folder with some values; all text in them is escaped."""
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(values) + "\n"
