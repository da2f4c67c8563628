"""Text files of a corpus, whose every fault names the file."""

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mt4ssl_core.files import reading

REMEDY = "copy it again, or correct it"


def read_text(path: Path, remedy: str = REMEDY) -> str:
    """Return a text in UTF-8.

    Raises:
        ValueError: it cannot be read, or is none; names the file.
    """
    with reading(path, remedy):
        return path.read_text(encoding="utf-8")


def read_rows(path: Path, remedy: str = REMEDY, **form: Any) -> list[dict[str, str]]:
    """Return the rows of a table whose first line names the columns; ``form`` goes to csv.

    Raises:
        ValueError: it cannot be read, or is none; names the file.
    """
    with reading(path, remedy), open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, **form))


def read_xml(path: Path, remedy: str = REMEDY) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        ValueError: it cannot be read, or is none; names the file.
    """
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise ValueError(f"{path}: not readable as XML ({error}); {remedy}") from error
