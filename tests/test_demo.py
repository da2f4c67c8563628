"""`make demo` from an empty folder to the table and the report."""

import subprocess

import pandas as pd
import pytest
import toy

from analysis.tables import results_page


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_ends_with_a_table_and_a_report_and_does_nothing_twice(tmp_path):
    command = toy.cli("demo", "--out", "out")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in done.stdout and table.startswith("| system | KS acc % ↑ | SID acc % ↑ | PR")
    assert (tmp_path / "out" / "convergence.png").stat().st_size > 20_000
    report = (tmp_path / "out" / "report.html").read_text()
    assert "What each layer holds" in report and "Clusters and phones" in report
    frame = results_page.load([tmp_path / "out"])
    assert len(frame) == 9 and frame.value.notna().all()
    assert (frame[(frame.task == "pr") & (frame.upstream != "mt4ssl_untrained")].value < 0.95).all()
    ours, control = (
        pd.Series(frame[frame.upstream == name].value.values, frame[frame.upstream == name].task)
        for name in ("mt4ssl", "mt4ssl_untrained")
    )
    assert (
        ours["ks"] > control["ks"] and ours["sid"] > control["sid"] and ours["pr"] < control["pr"]
    )
    made = [*(tmp_path / "out").rglob("results.json"), tmp_path / "out" / "probe" / "probe.json"]
    before = {path: path.stat().st_mtime_ns for path in made}
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and table in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in before}
