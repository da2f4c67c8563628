import argparse
import copy

import pytest

from upstream.door import overrides

CONFIG = {
    "superb": {"code": "ks"},
    "runner": {"total_steps": 10, "eval_dataloaders": ["dev"], "fp16": False},
    "optimizer": {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-4},
    "downstream_expert": {"datarc": {"root": "???"}},
}


def apply(text):
    args, config = argparse.Namespace(seed=1), copy.deepcopy(CONFIG)
    overrides.override(text, args, config)
    return args, config


def test_values_are_read_without_running_them(tmp_path):
    text = (
        "config.optimizer.lr=1e-3,,args.seed=3,, config.runner.eval_dataloaders=['dev', 'test'],,"
        "config.downstream_expert.datarc.root=/data/a=b,,config.runner.fp16=true"
    )
    args, config = apply(text)
    assert config["optimizer"]["lr"] == 1e-3
    assert args.seed == 3
    assert config["runner"]["eval_dataloaders"] == ["dev", "test"]
    assert config["runner"]["fp16"] is True
    assert config["downstream_expert"]["datarc"]["root"] == "/data/a=b"
    bomb = f"__import__('pathlib').Path('{tmp_path}/ran').touch()"
    _, config = apply(f"config.downstream_expert.datarc.root={bomb}")
    assert config["downstream_expert"]["datarc"]["root"] == bomb
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config.optimizr.lr=1", "Did you mean optimizer.lr"),
        ("config.runner.totl_steps=1", "Did you mean runner.total_steps"),
        ("args.sed=1", "Did you mean seed"),
        ("optimizer.lr=1", "begins with args. or config.. Did you mean config.optimizer.lr"),
        ("config.optimizer.lr", "expected key=value"),
        ("config.optimizer.lr=fast", "expected a number"),
        ("config.runner.total_steps=True", "expected a number"),
        ("config.runner.eval_dataloaders=dev", "expected a list"),
        ("config.runner=3", "is a section"),
    ],
)
def test_mistakes_are_refused_and_change_nothing(text, says):
    args, config = argparse.Namespace(seed=1), copy.deepcopy(CONFIG)
    with pytest.raises(ValueError, match=says.replace(".", r"\.")):
        overrides.override(f"args.seed=2,,{text}", args, config)
    assert args.seed == 1
    assert config == CONFIG


def test_settings_that_a_config_may_leave_out():
    _, config = apply("config.scheduler.name=linear,,config.optimizer.weight_decay=0.1")
    assert config["scheduler"] == {"name": "linear"}
    assert config["optimizer"]["weight_decay"] == 0.1
    with pytest.raises(ValueError, match=r"Did you mean optimizer\.lr"):
        apply("config.optimizer.lr2=0.1")


def test_render_and_parse_are_inverse():
    pairs = {"a.b": "/x, y=1", "c": [1, "two"], "d": 1e-4, "e": None}
    assert overrides.parse(overrides.render(pairs)) == [
        (f"config.{k}", v) for k, v in pairs.items()
    ]
    with pytest.raises(ValueError, match="two commas"):
        overrides.render({"a": "x,,y"})
