"""One broken run, head or checkpoint among several: the others are shown, it is named, rc 1."""

import shutil

import head_runs
import pretraining_runs
import pytest
import report_runs
from test_analysis_commands import call

from analysis.convergence import comparison

BROKEN = [b"", b"\xff\xfe\0", b"[" * 100_000, b"5\n", b'{"task": 1}\n', b"9" * 5_000]


@pytest.mark.parametrize("text", BROKEN[1:])
def test_leaderboard(tmp_path, capsys, text):
    good = report_runs.published(tmp_path / "good")
    bad = shutil.copytree(good, tmp_path / "bad")
    (bad / "results.jsonl").write_bytes(text)
    assert call("leaderboard", good, bad, "--out", tmp_path / "board.md") == 1
    shown = capsys.readouterr()
    assert "mt4ssl: left out: " in shown.err and "bad/results.jsonl" in shown.err
    board = (tmp_path / "board.md").read_text()
    assert "| good |" in board and "- left out: " in board and "| bad |" not in board
    assert call("leaderboard", bad) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("text", BROKEN)
def test_layer_weights(tmp_path, capsys, text):
    run = head_runs.small(tmp_path / "run", ks=[0.1, 0.9], pr=[0.5, 0.5], ic=[0.2, 0.1])
    (run / "pr" / "lr_1" / "dev-best.ckpt").write_bytes(text)
    assert call("layer-weights", run) == 1
    shown = capsys.readouterr()
    assert "mt4ssl: left out: " in shown.err and "pr/lr_1/dev-best.ckpt" in shown.err
    assert "| KS |" in shown.out and "| PR |" not in shown.out
    assert shown.out.strip().splitlines()[-1].startswith("2 of 3 heads: ")


@pytest.mark.parametrize("broken", ["log.jsonl", "config.yaml", "last.pt", "all"])
def test_convergence(tmp_path, capsys, broken):
    for seed in (1, 2, 3):
        pretraining_runs.run(tmp_path / "a" / f"seed{seed}", run__seed=seed)
    if broken == "all":
        call("convergence", tmp_path / "a", tmp_path / "none", "--out", tmp_path / "out")
        assert "none: no log.jsonl in it" in capsys.readouterr().err
        shutil.rmtree(tmp_path / "a")
        assert call("convergence", tmp_path / "a", tmp_path / "none") == 2
        return
    (tmp_path / "a" / "seed2" / broken).write_bytes(b'{"a": 5}\n{"b"')
    assert call("convergence", tmp_path / "a", "--out", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "mt4ssl: left out: " in shown.err and f"a/seed2/{broken}" in shown.err
    assert "2 of 2" in shown.out and "left out" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize("file", ["log.jsonl", "probe.json", "results.jsonl"])
def test_report(tmp_path, capsys, file):
    mine, other = tmp_path / "mine", tmp_path / "other"
    report_runs.probe(mine / "probe")
    report_runs.probe(tmp_path / "third" / "probe")
    report_runs.probe(other / "probe")
    (other / "probe" / file).write_bytes(b"[" * 100_000 + b"\n{}")
    runs = ["--with", other, tmp_path / "third"]
    assert call("report", mine, *runs) == 1
    shown = capsys.readouterr()
    assert f"other/probe/{file}" in shown.err
    assert shown.out.strip().splitlines()[-1].startswith("2 of 3 runs, written: ")
    assert f"other/probe/{file}" in (mine / "report.html").read_text()


@pytest.mark.parametrize("lost", ["null", "NaN", "Infinity", "-Infinity"])
def test_seeds_whose_last_value_is_no_number_are_counted(tmp_path, lost):
    for seed in (1, 2, 3):
        run = pretraining_runs.run(tmp_path / "a" / f"seed{seed}", (4.0, 3.0, 2.5), run__seed=seed)
    log = run / "log.jsonl"
    key = '"valid/offline/loss": '
    log.write_text(log.read_text().replace(f"{key}2.5", f"{key}{lost}"))
    text = comparison.compare([tmp_path / "a"], tmp_path / "out")
    assert "2.5 (2.5-2.5), 2 of 3 seeds" in text
    assert "a/seed3: valid/offline/loss is no number at update 30" in text
    drawn = (tmp_path / "out" / "scores_updates.csv").read_text()
    assert "offline_loss,a,checkpoint,30" not in drawn and "offline_loss,a,checkpoint,20" in drawn


@pytest.mark.parametrize(
    ("key", "value"),
    [("low", "x"), ("low", {}), ("value", 10**400), ("layer", True), ("baseline", []),
     ("measure", None), ("direction", "<b>" * 9_999)],
)  # fmt: skip
def test_a_probe_of_other_types_is_refused_by_name(tmp_path, capsys, key, value):
    rows = [{**report_runs.row(1, "phone", 0.6), key: value}]
    report_runs.probe(tmp_path / "mine" / "probe", rows=rows)
    assert call("report", tmp_path / "mine") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert f"probe.json: rows: {key} cannot be" in line and len(line) < 600


def test_a_probe_without_a_value_shows_that(tmp_path):
    rows = [{**report_runs.row(n, "phone", 0.5), "value": None, "low": None} for n in range(3)]
    report_runs.probe(tmp_path / "mine" / "probe", rows=rows)
    assert call("report", tmp_path / "mine") == 0
    assert "Best: no layer has a number." in (tmp_path / "mine" / "report.html").read_text()
