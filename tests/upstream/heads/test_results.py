import argparse
import json

import pytest
from superb_data import tiny_checkpoint

from upstream.door import cache
from upstream.heads import results

ARGS = argparse.Namespace(
    downstream="speech_commands",
    upstream="mt4ssl",
    upstream_ckpt=str(tiny_checkpoint()),
    upstream_trainable=False,
    upstream_layer_selection=None,
    seed=3,
    init_ckpt="dev-best.ckpt",
    device="cpu",
)
CONFIG = {
    "superb": {
        "code": "ks",
        "metrics": [{"name": "acc", "key": "acc", "unit": "fraction", "direction": "max"}],
        "root_keys": {"data.root": {}},
    },
    "data": {"root": "/corpus"},
}


class Writer:
    def __init__(self):
        self.seen = []

    def add_scalar(self, tag, value, global_step=None):
        self.seen.append((tag, value, global_step))

    def close(self):
        return "closed"


def test_scalars_are_remembered_and_passed_on():
    writer = Writer()
    scalars = results.Scalars(writer, "test")
    scalars.add_scalar("speech_commands/test-acc", 0.5, global_step=7)
    scalars.add_scalar("ctc-libriphone/test-per", 1, global_step=7)
    assert scalars.values == {"acc": 0.5, "per": 1.0}
    assert writer.seen[0] == ("speech_commands/test-acc", 0.5, 7)
    assert scalars.close() == "closed"


def test_a_record_states_its_setting():
    (record,) = results.records(ARGS, CONFIG, "test", 100, {"loss": 2.0, "acc": 0.5})
    assert record["task"] == "ks"
    assert (record["metric"], record["value"], record["unit"]) == ("acc", 0.5, "fraction")
    assert (record["direction"], record["split"], record["step"]) == ("max", "test", 100)
    assert record["fingerprint"] == cache.file_fingerprint(tiny_checkpoint())
    assert record["corpus"] == {"data.root": "/corpus"}
    assert record["config"] == {"data": {"root": "/corpus"}}
    assert (record["seed"], record["s3prl"]) == (3, "0.4.18")


def test_a_config_without_the_block_reports_everything():
    found = results.records(ARGS, {}, "dev", None, {"loss": 2.0, "acc": float("nan")})
    assert [(r["metric"], r["value"], r["task"]) for r in found] == [
        ("loss", 2.0, "speech_commands"),
        ("acc", None, "speech_commands"),
    ]


def test_a_metric_that_was_not_reported_is_an_error():
    with pytest.raises(ValueError, match="reported loss but not acc"):
        results.records(ARGS, CONFIG, "test", 1, {"loss": 1.0})


def test_results_replace_those_of_the_same_split(tmp_path):
    for split, value in (("dev", 0.1), ("test", 0.2), ("test", 0.3)):
        results.write(tmp_path, results.records(ARGS, CONFIG, split, 1, {"acc": value}))
    assert [(r["split"], r["value"]) for r in results.read(tmp_path)] == [
        ("dev", 0.1),
        ("test", 0.3),
    ]
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json: not valid JSON .*; remove it and"):
        results.read(tmp_path)


def test_evaluations_are_lines(tmp_path):
    results.log(tmp_path, "dev", 10, {"acc": 0.5, "loss": float("inf")})
    results.log(tmp_path, "dev", 20, {"acc": 0.6, "loss": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 10, "split": "dev", "acc": 0.5, "loss": None}
    assert lines[1]["step"] == 20
