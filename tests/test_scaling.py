"""What is predicted of many GPUs follows from what was counted, and the page shows it."""

import pytest

from benchmarks import scaling
from mt4ssl_core.files import read_json


def test_the_page_shows_what_follows_from_the_counts():
    written = read_json(scaling.JSON)
    models = [scaling.Model(**values) for values in written["models"]]
    rows = [scaling.asdict(row) for row in scaling.rows(models)]
    for row, known in zip(rows, written["rows"], strict=True):
        assert row == pytest.approx(known)
    assert scaling.table(written["rows"]) in scaling.PAGE.read_text()


def test_what_is_sent():
    model = scaling.Model("toy", 100, 50, compute=1.0, optimiser=0.0, kept=0.0)
    assert scaling.sent(model, "ddp", 2, 3) == 2 * 0.5 * 400
    assert scaling.sent(model, "fsdp", 2, 3) == 0.5 * (3 * (800 + 200) + 400)
    row = scaling.row(model, "ddp", 8, 2 * scaling.MOST)
    assert row.accumulate == 2 and row.efficiency == 1 and row.memory == 2200
