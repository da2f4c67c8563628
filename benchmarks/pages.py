"""Where the tables go that the benchmarks write: docs/results.md, between markers."""

from pathlib import Path

from analysis.tables import results_page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results.md"


def show(name: str, text: str) -> None:
    """Put a table between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: docs/results.md has no such markers.
    """
    results_page.between_markers(RESULTS, name, text)
