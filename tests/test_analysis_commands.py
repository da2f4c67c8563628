"""leaderboard, layer-weights, convergence and report, as a user calls them."""

import json

import pretraining_runs
import pytest
import report_runs

import mt4ssl_cli


def call(*words):
    return mt4ssl_cli.main([str(word) for word in words])


def error(capsys):
    (*_, line) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mt4ssl: error: ")
    return line


@pytest.mark.parametrize(
    ("format", "start"), [("md", "**SUPERB**"), ("latex", "\\begin{table"), ("csv", "table,model"),
                          ("html", "<!DOCTYPE html>")],
)  # fmt: skip
def test_leaderboard_in_every_format(tmp_path, capsys, format, start):
    run = report_runs.mini(tmp_path / "mine" / "superb", ks=[0.1, 0.9])
    assert call("leaderboard", run, "--format", format, "--out", tmp_path / "board") == 0
    text = (tmp_path / "board").read_text()
    assert text.lstrip().lower().startswith(start.lower())
    assert "WavLM Large" in text and "mine" in text  # a run is called after its own folder
    assert "written: " in capsys.readouterr().out


def test_leaderboard_of_the_published_alone(capsys):
    assert call("leaderboard", "--score-set", "public") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("| WavLM Base+ |")]
    assert "1157" in line


def test_layer_weights(tmp_path, capsys):
    run = report_runs.mini(tmp_path / "mine", ks=[0.1, 0.9], pr=[0.5, 0.5])
    assert call("layer-weights", run, "--out", tmp_path / "out") == 0
    assert "| KS |" in capsys.readouterr().out
    for suffix in ("svg", "png", "csv"):
        assert (tmp_path / "out" / f"layer_weights.{suffix}").stat().st_size > 50


def test_convergence_of_two_runs_with_scores_from_a_table(tmp_path, capsys):
    for name, losses in (("a", (4.0, 3.0, 2.0)), ("b", (4.0, 3.5, 3.0))):
        pretraining_runs.run(tmp_path / name, losses)
    table = ["run,update,metric,value"]
    table += [f"{run},{10 * n},wer,{v}" for run, vs in (("a", (60, 30)), ("b", (60, 45)))
              for n, v in enumerate(vs, 1)]  # fmt: skip
    (tmp_path / "wer.csv").write_text("\n".join(table) + "\n")
    words = ["convergence", tmp_path / "a", tmp_path / "b", "--scores", tmp_path / "wer.csv"]
    assert call(*words, "--out", tmp_path / "out", "--target", "wer=45") == 0
    found = json.loads((tmp_path / "out" / "convergence.json").read_text())
    reach = {row["group"]: row["updates"] for row in found["reach"] if row["metric"] == "wer"}
    assert reach == {"a": 15.0, "b": 20.0}
    assert "offline_loss" in capsys.readouterr().out


def test_a_study_needs_a_folder_and_configs(tmp_path, capsys):
    assert call("convergence", "study", "tiny") == 2
    assert "give --out DIR" in error(capsys)
    assert call("convergence", "study", "run.device=cpu", "--out", tmp_path / "s") == 2
    assert "0 config(s)" in error(capsys)


def test_report(tmp_path, capsys):
    report_runs.mini(tmp_path / "mine" / "superb", ks=[0.1, 0.9])
    report_runs.probe(tmp_path / "mine" / "probe")
    assert call("report", tmp_path / "mine") == 0
    assert "mine/report.html" in capsys.readouterr().out
    assert (tmp_path / "mine" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "words",
    ["choose runs", "probe --data speech", "convergence runs", "convergence study tiny",
     "superb compare a b", "layer-weights runs"],
)  # fmt: skip
def test_an_out_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, words):
    file = tmp_path / "file"
    file.touch()
    assert call(*words.split(), "--out", file) == 2
    assert f"--out {file}: a file; give a folder" in error(capsys)


@pytest.mark.parametrize("command", ["leaderboard", "layer-weights", "convergence", "report"])
def test_a_folder_with_nothing_in_it(tmp_path, capsys, command):
    (tmp_path / "empty").mkdir()
    assert call(command, tmp_path / "empty") == 2
    assert "empty" in error(capsys)
