"""`make demo` from an empty folder to the table and the report."""

import subprocess

import pandas as pd
import pytest
import soundfile
import toy

from analysis import demo
from analysis.tables import results_page
from benchmarks import demo_search
from mt4ssl_core import config, configs
from mt4ssl_core.data.audio_folder import AudioFolder
from mt4ssl_core.files import write_json


def test_nothing_that_the_demo_is_tested_on_is_heard_in_pre_training(tmp_path):
    for folder in ("pretrain/a", "pr/train-clean-100/b", "pr/test-clean/c", "ks/d"):
        (tmp_path / "corpora" / folder).mkdir(parents=True)
        soundfile.write(tmp_path / "corpora" / folder / "x.flac", [0.0] * 8000, 16_000)
    corpora = {
        "pretrain": tmp_path / "corpora" / "pretrain",
        "pr": {"path": tmp_path / "corpora" / "pr"},
    }
    for _ in range(2):
        folder = demo.heard(tmp_path / "out", corpora)
    found = [path.parent.name for path in AudioFolder.of(folder).audio]
    assert found == ["a", "b"]


@pytest.mark.parametrize("recipe", demo_search.RECIPES)
def test_every_recipe_of_the_search_is_a_valid_configuration(tmp_path, recipe):
    given = [f"data.train={tmp_path}", f"data.labels={tmp_path}"]
    config.load(configs.path(demo.CONFIG), [*given, *demo_search.RECIPES[recipe]])


def test_the_search_shows_each_recipe_beside_its_untrained_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_search, "RESULTS", tmp_path / "search.json")
    assert demo_search.table() == "Not run yet."

    def score(system, value):
        about = {"task": "pr", "metric": "per", "direction": "min"}
        return {"system": system, "value": value, **about}

    pair = [score("mt4ssl", 0.5), score("untrained copy", 0.75)]
    row = {"recipe": "demo", "updates": 1200, "minutes": 2.0, "machine": "m", "scores": pair}
    heads = {"ks": {"runner.total_steps": 4}, "pr": {"runner.total_steps": 5}}
    found = {"filter banks": [score("fbank", 0.6)], "rows": [row], "setting": {"heads": heads}}
    write_json(demo_search.RESULTS, found)
    shown = demo_search.table()
    assert "| demo | **50.0** |" in shown and "| untrained: demo | 75.0 |" in shown
    assert "| fbank | 60.0 |" in shown and "demo 1,200 in 2.0 minutes" in shown
    assert "4 of KS, 5 of PR" in shown
    assert not demo_search.comparable()["rows"]  # of other heads than the demo's


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
    assert len(frame) == 12 and frame.value.notna().all()
    ours, control, fbank, plain = (
        pd.Series(frame[frame.upstream == name].value.values, frame[frame.upstream == name].task)
        for name in ("mt4ssl", "mt4ssl_untrained", "fbank", "fbank_no_cmvn")
    )
    assert ours["ks"] > max(control["ks"], fbank["ks"], plain["ks"])
    assert ours["pr"] < control["pr"] and max(ours["pr"], fbank["pr"]) < 0.95
    made = [*(tmp_path / "out").rglob("results.json"), tmp_path / "out" / "probe" / "probe.json"]
    before = {path: path.stat().st_mtime_ns for path in made}
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and table in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in before}
