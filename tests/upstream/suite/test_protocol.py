import json
import math

import pytest
import toy_suite

from upstream.suite import protocol
from upstream.suite.protocol import Candidate


def names(header, **asked):
    settings = {"default_rate": 1e-3, "layers": 3, **asked}
    return [candidate.name for candidate in protocol.candidates(header, **settings)]


def test_candidates():
    rates = {"learning_rates": [1e-1, 1e-4, 1e-1]}
    assert protocol.candidates(rates, 1e-3, 3) == [
        Candidate("lr_0.1", rate=0.1),
        Candidate("lr_0.0001", rate=1e-4),
    ]
    assert names(rates, rates=[3e-5]) == ["lr_3e-05"]
    assert names({"learning_rates": []}) == names({}) == ["default"]
    assert names({"select": "none", "learning_rates": [1e-1]}, rates=[1.0]) == ["default"]
    assert names({"select": "layer"}) == ["layer_0", "layer_1", "layer_2"]
    # a smoke run: the default rate, or the first of those asked for; the first and last layer
    assert names(rates, smoke=True) == ["lr_0.001"]
    assert names(rates, smoke=True, rates=[1e-2, 1e-3]) == ["lr_0.01"]
    assert names({"select": "layer"}, smoke=True) == ["layer_0", "layer_2"]
    assert names({"select": "layer"}, smoke=True, layers=1) == ["layer_0"]


def test_where_dev_is_read():
    metric = {"name": "EER", "key": "eer", "direction": "min"}
    dev = protocol.dev_of({"metrics": [metric]})
    assert (dev.split, dev.key, dev.metric, dev.direction) == ("dev", "eer", "EER", "min")
    other = {"split": "dev-clean", "key": "x", "direction": "max"}
    dev = protocol.dev_of({"metrics": [metric], "dev": other})
    assert (dev.split, dev.key, dev.direction) == ("dev-clean", "x", "max")


def test_the_best_dev_value_of_a_training(tmp_path):
    dev = protocol.dev_of({"metrics": [toy_suite.ACC]})
    assert protocol.dev_while_training(tmp_path, dev) is None
    lines = [
        {"step": 1, "split": "train", "acc": 0.9},
        {"step": 1, "split": "dev", "acc": 0.2},
        {"step": 2, "split": "dev", "acc": None},  # not a number
        {"step": 3, "split": "dev", "acc": 0.4},
        {"step": 4, "split": "dev", "acc": 0.3},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "evaluations.jsonl").write_text(text + '{"step": 5, "spl')
    assert protocol.dev_while_training(tmp_path, dev) == 0.4


def test_choosing():
    devs = {"a": [0.1], "b": [0.3], "c": [0.3], "d": [None]}
    assert protocol.best_candidate(devs, "max", "ks") == "b"  # of equals the first
    assert protocol.best_candidate(devs, "min", "ks") == "a"
    assert protocol.best_candidate({"a": [None]}, "min", "vc") == "a"  # nothing to choose
    # one rate for all folds, by the mean; one that broke down in a fold is out
    folds = {"a": [0.5, 0.5], "b": [0.9, 0.0], "c": [1.0, math.nan]}
    assert protocol.best_candidate(folds, "max", "er") == "a"
    with pytest.raises(ValueError, match=r"ks: no finite dev value of a, b; train longer"):
        protocol.best_candidate({"a": [None], "b": [None]}, "max", "ks")


def test_best_of_several_heads_and_mean_over_variants():
    def record(value, step):
        return {"value": value, "step": step, "direction": "min", "seconds": 1.5}

    heads = [record(0.3, 10), record(None, 20), record(0.2, 30)]
    assert protocol.best_of(heads)["step"] == 30
    assert protocol.best_of([record(None, 10)])["value"] is None
    assert protocol.average({None: record(0.2, 30)}) == {**record(0.2, 30), "variants": None}
    both = protocol.average({"f1": record(0.2, 30), "f2": record(0.4, 10)})
    assert both["value"] == pytest.approx(0.3) and both["step"] is None and both["seconds"] == 3
    assert both["variants"] == {"f1": {"value": 0.2, "step": 30}, "f2": {"value": 0.4, "step": 10}}


def test_optional_stages_need_their_packages_and_files():
    lm = {"name": "lm", "split": "test", "optional": True}
    keys = {"corpus": {"what": "the corpus"}, "lm": {"what": "a language model", "optional": True}}
    header = {"code": "asr", "stages": [{"name": "test", "split": "test"}, lm], "root_keys": keys}
    done, left_out = protocol.planned_stages(header, {"corpus": "x", "lm": "y"})
    assert [stage["name"] for stage in done] == ["test", "lm"] and not left_out
    done, left_out = protocol.planned_stages(header, {"corpus": "x"})
    assert [stage["name"] for stage in done] == ["test"]
    assert left_out == ["asr (lm): a language model not there"]
    lm["packages"] = ["no_such_package"]
    _, left_out = protocol.planned_stages(header, {"corpus": "x", "lm": "y"})
    assert left_out == ["asr (lm): package no_such_package not there"]
    done, _ = protocol.planned_stages(
        header, {}, ["lm"]
    )  # asked for: then what it needs must be there
    assert [stage["name"] for stage in done] == ["test", "lm"]
    by_hand = {**header, "root_keys": {}, "stages": [{"name": "wer", "optional": True}]}
    done, left_out = protocol.planned_stages(by_hand, {})
    assert not done and left_out == ["asr (wer): done only with --stages"]
    assert protocol.planned_stages(by_hand, {}, ["wer"])[0] == by_hand["stages"]
    done, _ = protocol.planned_stages({"code": "ks", "root_keys": {}}, {})
    assert done == [{"name": "test", "split": "test"}]
