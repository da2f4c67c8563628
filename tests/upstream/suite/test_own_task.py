"""A task of one's own from a CSV to its record, for every kind of head."""

import json

import numpy as np
import pytest
import soundfile
from superb_data import tiny_checkpoint

import mt4ssl
import mt4ssl_cli
from analysis.records import head_files, score_files
from analysis.report import report
from upstream.door import tasks
from upstream.suite import run_folder
from upstream.suite.own_task_request import CSV, OwnTaskRequest

METRICS = {"classify": ["acc"], "ctc": ["cer", "wer"], "tokens": ["ter"], "verify": ["eer"]}
VALUES = {"classify": "xy", "ctc": ["ab", "ba"], "tokens": ["a b", "b a"], "verify": "stuvwx"}
COLUMNS = {"classify": "label", "ctc": "text", "tokens": "text", "verify": "speaker"}
SMALL = {"upstream": "fbank", "executor": "inline", "device": "cpu", "smoke": True}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def table(folder, kind, count=24, rate=8000):
    """A CSV of half-second clips at 8 kHz, in stereo, with splits to be made."""
    noise = np.random.default_rng(0)
    values = VALUES[kind]
    lines = [f"path,{COLUMNS[kind]}"]
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", 0.1 * noise.normal(size=(rate // 2, 2)), rate)
        lines.append(f"{number}.wav,{values[number % len(values)]}")
    (folder / f"{kind}.csv").write_text("\n".join(lines))
    return folder / f"{kind}.csv"


def asked(path, out, **changes):
    settings = {**SMALL, "kind": path.stem, **changes}
    return OwnTaskRequest(out, str(path), **settings)


@pytest.mark.parametrize("kind", METRICS)
def test_a_table_becomes_a_record(kind, tmp_path):
    path, out = table(tmp_path, kind), tmp_path / "run"
    settings = {name: value for name, value in SMALL.items() if name != "upstream"}
    found = mt4ssl.train_task(path, kind=kind, encoder="fbank", out=out, **settings)
    assert [record["metric"] for record in found] == METRICS[kind]
    assert list(found) == run_folder.read_results(out)
    for record in found:
        assert (record["task"], record["corpus"]["kind"]) == (kind, "own")
        assert record["overrides"][CSV] == str(path)
        assert sum(record["corpus"]["counts"].values()) == 24
        assert record["value"] is not None
    assert tasks.is_own(kind) and kind not in tasks.names()


def test_what_is_done_is_not_done_again_and_never_stands_beside_superb(tmp_path, capsys):
    path, out = table(tmp_path, "classify"), tmp_path / "run"
    words = ["task", "train", str(path), "--kind", "classify", "-k", str(tiny_checkpoint())]
    words += ["--out", str(out), "--smoke", "--executor", "inline", "--device", "cpu"]
    assert mt4ssl_cli.main(words) == 0
    assert "splits: test and dev made: a tenth each, by file" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")}
    assert before and mt4ssl_cli.main(words) == 0
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.ckpt")}
    assert (out / "classify/lr_0.0001/test_predict.txt").read_text().count("\n") == 2
    (head,) = head_files.read(out)
    assert (head.task, len(head.weights)) == ("classify", 3)
    with pytest.raises(ValueError, match="in no table with SUPERB's") as error:
        score_files.read([out])
    assert str(out) in str(error.value)
    page = report.report(out).read_text()
    assert "Tasks of one&#39;s own" in page and "classify.csv" in page
    capsys.readouterr()
    path.write_text(path.read_text().replace("23.wav,y", "23.wav,x"))
    assert mt4ssl_cli.main(words) == 2
    assert "made with another corpus" in capsys.readouterr().err


def test_scores_of_superb_in_the_same_folder_are_read_alone(tmp_path):
    table(tmp_path, "classify")
    settings = {"upstream": "fbank", "ckpt": None, "seed": 1, "smoke": False, "stage": "test"}
    common = {"value": 0.5, "unit": "fraction", "overrides": {}, **settings}
    own = {**common, "task": "classify", "metric": "acc", "direction": "max"}
    corpus = {"kind": "real", "name": "x"}
    lines = [
        json.dumps({**own, "corpus": {"kind": "own"}}),
        json.dumps({**own, "task": "ks", "corpus": corpus}),
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    assert [score.task for score in score_files.read([tmp_path]).scores] == ["ks"]


def test_only_what_can_be_is_asked_for(tmp_path):
    path = table(tmp_path, "classify")
    with pytest.raises(ValueError, match="--trials goes with --kind verify"):
        asked(path, tmp_path / "run", trials="t.csv")
    with pytest.raises(ValueError, match="Did you mean classify"):
        asked(path, tmp_path / "run", kind="classfy")
    with pytest.raises(ValueError, match="no such key"):
        asked(path, tmp_path / "run", set=["runner.totl_steps=3"])
    request = asked(path, tmp_path / "run", steps=100, set=["optimizer.lr=0.1"], rates=["1e-3"])
    assert request.rates_of == {"classify": [0.1]}
    assert request.changes_of["classify"]["runner.eval_step"] == 5
    told = request.command(["classify"])
    assert told.startswith(f"mt4ssl task train {path} --kind classify --steps 100 --out")
    assert "--upstream fbank" in told and "--set classify:optimizer.lr=0.1" in told


def test_several_seeds_give_a_mean_with_its_deviation(tmp_path):
    path, out = table(tmp_path, "classify"), tmp_path / "run"
    words = ["task", "train", str(path), "--kind", "classify", "-u", "fbank", "--seeds", "2"]
    words += ["--out", str(out), "--smoke", "--executor", "inline", "--device", "cpu"]
    assert mt4ssl_cli.main(words) == 0
    [record] = run_folder.read_results(out)
    assert list(record["seeds"]) == ["1337", "1338"] and record["deviation"] is not None
    assert f"±{100 * record['deviation']:.2f} %" in report.report(out).read_text()
