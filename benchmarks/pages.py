"""What the benchmarks write: JSON files, one per machine, and tables in docs/results.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.tables import results_page
from mt4ssl_core.files import read_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results.md"
JSONS = ROOT / "benchmarks" / "results"
NOT_RUN = "Not run yet."  # in the place of a table


def record_path(name: str, machine: str) -> Path:
    """Where the JSON of a benchmark on a machine is kept."""
    return JSONS / f"{name}_{machine}.json"


def records(name: str) -> list[dict[str, Any]]:
    """The committed JSON of a benchmark, of every machine."""
    return [read_json(path) for path in sorted(JSONS.glob(f"{name}_*.json"))]


def line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def show(name: str, text: str) -> None:
    """Put a table between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: docs/results.md has no such markers.
    """
    results_page.between_markers(RESULTS, name, text)
