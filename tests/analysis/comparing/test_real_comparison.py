"""Runs that s3prl trained and tested, with two seeds and two kinds of heads, are compared."""

import json

import pytest
import superb_data

import mt4ssl_cli


@pytest.mark.slow
def test_runs_of_s3prl_are_compared(tmp_path, capsys):
    roots = tmp_path / "roots.yaml"
    roots.write_text(f"ks: {superb_data.corpora()}/ks\npr: {superb_data.corpora()}/pr\n")
    for name, upstream in (("a", "fbank"), ("b", "fbank_no_cmvn")):
        words = ["superb", "run", "--upstream", upstream, "--tasks", "ks,pr", "--smoke"]
        words += ["--roots", roots, "--out", tmp_path / name, "--executor", "inline"]
        assert mt4ssl_cli.main([*map(str, words), "--seeds=2", "--heads=official,deep"]) == 0
    assert "deep heads" in capsys.readouterr().out
    for below in ("", "heads_deep"):
        runs = [str(tmp_path / name / below) for name in "ab"]
        asked = ["superb", "compare", *runs, "--force", "--out", str(tmp_path / "out")]
        assert mt4ssl_cli.main(asked) == 0
        found = json.loads((tmp_path / "out" / "compare.json").read_text())["findings"]
        assert [(each["task"], each["metric"]) for each in found] == [("pr", "per"), ("ks", "acc")]
        assert all(each["seeds"] == [2, 2] and each["speakers"] > 1 for each in found)
    capsys.readouterr()
    assert mt4ssl_cli.main(["superb", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "ks is a smoke run" in capsys.readouterr().err
    mixed = [str(tmp_path / "a"), str(tmp_path / "a" / "heads_deep"), "--force"]
    assert mt4ssl_cli.main(["superb", "compare", *mixed]) == 2
    assert "other protocols: downstream_expert.m" in capsys.readouterr().err
