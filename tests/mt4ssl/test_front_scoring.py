"""Scoring and pre-training from Python are those of the command line."""

import json
from pathlib import Path

import own_encoders
import pytest
import toy
import toy_suite
from superb_data import TINY, tiny_checkpoint
from toy_suite import Launcher

import mt4ssl
from analysis.records import score_files
from analysis.report import inputs
from mt4ssl import scoring
from mt4ssl_core import config
from mt4ssl_core.training import pretrain as loop
from upstream.suite import jobs


@pytest.fixture
def roots(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_launch", Launcher())
    return toy_suite.make_tasks(tmp_path, monkeypatch)


def test_the_records_are_those_of_the_suite(roots, tmp_path):
    encoder = mt4ssl.load(tiny_checkpoint())
    asked = {"roots": roots, "out": tmp_path / "run", "executor": "inline"}
    found = mt4ssl.evaluate(encoder, tasks=["rate", "lm"], **asked)
    lines = (tmp_path / "run/results.jsonl").read_text().splitlines()
    assert list(found) == [json.loads(line) for line in lines]
    assert [record["task"] for record in found] == ["lm", "rate"]
    assert found[0]["ckpt"] == str(tiny_checkpoint())
    frame = found.frame()
    assert list(frame["value"]) == [record["value"] for record in found]


def test_an_upstream_of_s3prls(roots, tmp_path):
    for encoder in ("fbank", mt4ssl.load("fbank")):
        assert scoring._named(encoder) == {"upstream": "fbank"}
    asked = {"roots": roots, "out": tmp_path / "run", "executor": "inline"}
    assert mt4ssl.evaluate("fbank", tasks="rate", **asked)[0]["upstream"] == "fbank"


def test_an_encoder_of_ones_own_has_its_name_in_the_records(roots, tmp_path):
    named = own_encoders.write(tmp_path)
    for encoder in (named, mt4ssl.load(named)):
        out = tmp_path / type(encoder).__name__
        (record,) = mt4ssl.evaluate(
            encoder, tasks=["rate"], roots=roots, out=out, executor="inline"
        )
        assert (record["name"], record["ckpt"], record["upstream"]) == ("windows", named, "mt4ssl")
        assert {score.model for score in score_files.read([out]).scores} == {"windows"}
        assert inputs.model_name(inputs.find(out)) == "windows"


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"tasks": ["rat"]}, ValueError, "unknown task.* rat"),
        ({"task": "rate"}, TypeError, "task"),
        ({"encoder": "fbnk"}, ValueError, r"fbnk: no such upstream.*Did you mean fbank"),
        ({"encoder": Path("gone.pt")}, ValueError, r"gone\.pt: no such checkpoint"),
    ],
)
def test_what_cannot_be_asked_for_is_named(roots, tmp_path, changes, error, says):
    asked = {"encoder": tiny_checkpoint(), "roots": roots, "out": tmp_path / "run"}
    asked |= {"executor": "inline", **changes}
    with pytest.raises(error, match=says):
        mt4ssl.evaluate(asked.pop("encoder"), **asked)


def test_a_failed_task_is_an_error(roots, tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("no disk")

    monkeypatch.setattr(jobs, "_launch", fail)
    with pytest.raises(ValueError, match="not all of rate could be done"):
        mt4ssl.evaluate("fbank", tasks="rate", roots=roots, out=tmp_path / "r", executor="inline")


def test_changed_weights_are_not_scored_as_those_of_the_file(roots, tmp_path):
    encoder = mt4ssl.load(tiny_checkpoint())
    next(encoder.module.parameters()).data.mul_(2)
    with pytest.raises(ValueError, match="weights have changed since it was loaded"):
        mt4ssl.evaluate(encoder, roots=roots, out=tmp_path / "run")
    copy = mt4ssl.Encoder.from_pretrained(encoder.save_pretrained(tmp_path / "hf"))
    assert copy.fingerprint() != mt4ssl.load(tiny_checkpoint()).fingerprint()
    assert (copy.layers, copy.dim) == (TINY.layers + 1, TINY.dim)


def test_settings_are_those_of_the_command_line(tmp_path, monkeypatch):
    tsv, km = toy.corpus(tmp_path, utterances=2)
    asked = []
    monkeypatch.setattr(loop, "pretrain", lambda cfg, resume: asked.append((cfg, resume)))
    settings = {
        "data.train": tsv, "data.labels": str(km), "online": None, "optim.lr": 1e-3,
        "run.out": tmp_path / "a #1", "encoder.conv_layers": [[8, 10, 5], *[[8, 3, 2]] * 4,
                                                              [8, 2, 2], [8, 2, 2]],
    }  # fmt: skip
    mt4ssl.pretrain("tiny", settings, resume_from=tmp_path / "previous.pt")
    words = [f"{k}={'null' if v is None else v}" for k, v in settings.items()]
    assert asked == [(config.load("tiny", words), str(tmp_path / "previous.pt"))]
    with pytest.raises(ValueError, match=r"optim\.lrr: unknown key\. Did you mean"):
        mt4ssl.pretrain("tiny", {"data.train": tsv, "optim.lrr": 1})
    with pytest.raises(ValueError, match=r"optim\.lr: 'many'; expected a number"):
        mt4ssl.pretrain("tiny", {"data.train": tsv, "optim.lr": "many"})


def test_a_run_from_python(tmp_path):
    source, km = toy.corpus(tmp_path, utterances=6)
    words = toy.overrides((source, km), tmp_path / "run", optim__max_updates=2)
    checkpoint = mt4ssl.pretrain("tiny", dict(word.split("=", 1) for word in words))
    assert checkpoint == tmp_path / "run/last.pt"
    assert mt4ssl.load(checkpoint).layers == toy.ENCODER["layers"] + 1
