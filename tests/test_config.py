from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from mt4ssl_core import config
from mt4ssl_core.config import Config

SHIPPED = sorted((Path(config.__file__).parent / "configs").glob("*.yaml"))
GIVEN = ["data.train=audio", "data.labels=train.km"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_survives_a_round_trip(path):
    cfg = config.load(path, GIVEN)
    assert config.from_dict(config.to_dict(cfg)) == cfg


def test_base_is_the_paper():
    cfg = config.load(SHIPPED[0].parent / "base.yaml", GIVEN)
    assert (cfg.encoder.layers, cfg.encoder.dim, cfg.online.top_k, cfg.optim.lr) == (
        12,
        768,
        8,
        5e-4,
    )
    assert cfg.encoder == Config().encoder and cfg.online == Config().online


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_all_problems_are_reported_at_once(tmp_path):
    path = write(
        tmp_path,
        "optim: {lrr: 1, lr: fast}\nencoder: {dim: 8.5, heads: 5}\nonlin: {}\nmasking: {prob: 2}\n",
    )
    with pytest.raises(ValueError) as caught:
        config.load(path, ["data.max_second=3", "nonsense"])
    text = str(caught.value)
    for part in (
        "optim.lrr: unknown key. Did you mean optim.lr?",
        "optim.lr: Value 'fast'",
        "encoder.dim: Value '8.5'",
        "encoder.heads: 5 does not divide encoder.dim = 768",
        "onlin: unknown key. Did you mean online?",
        "masking.prob: 2.0; must be below 1",
        "data.max_second: unknown key. Did you mean data.max_seconds?",
        "'nonsense': expected key=value",
        "data.train: missing value",
    ):
        assert part in text, (part, text)


def test_scientific_notation_is_a_number(tmp_path):
    cfg = config.load(write(tmp_path, "optim: {lr: 1e-4}"), [*GIVEN, "optim.eps=5e-7"])
    assert (cfg.optim.lr, cfg.optim.eps) == (1e-4, 5e-7)


def test_sections_switch_off_and_on(tmp_path):
    path = write(tmp_path, "online: null\nrandom_projection: {num_classes: 8}\n")
    cfg = config.load(path, GIVEN)
    assert cfg.online is None and cfg.random_projection.num_classes == 8
    with pytest.raises(ValueError, match=r"online.top_k: online is null \(off\); add online={}"):
        config.load(path, [*GIVEN, "online.top_k=2"])
    assert config.load(path, [*GIVEN, "online={}", "online.top_k=2"]).online.top_k == 2
    with pytest.raises(ValueError, match="optim: cannot be null"):
        config.load(path, [*GIVEN, "optim=null"])


def test_extends_relative_to_the_file_and_not_itself(tmp_path):
    (tmp_path / "parent.yaml").write_text("optim: {lr: 0.5, eps: 0.1}\n")
    cfg = config.load(write(tmp_path, "extends: parent.yaml\noptim: {lr: 0.25}\n"), GIVEN)
    assert (cfg.optim.lr, cfg.optim.eps) == (0.25, 0.1)
    (tmp_path / "parent.yaml").write_text("extends: run.yaml\n")
    with pytest.raises(ValueError, match="extends itself"):
        config.load(tmp_path / "run.yaml", GIVEN)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["offline=null", "online=null"], "nothing to learn"),
        (["online.top_k=13"], "online.top_k: 13 is more than encoder.layers = 12"),
        (["data.labels=null"], "data.labels: the offline target needs labels"),
        (["data.valid=held_out"], "data.valid_labels: the offline target needs labels"),
        (["optim.hold=0.5"], "must sum to 1"),
        (["data.batch_seconds=5"], "data.batch_seconds: 5.0 must be at least"),
        (["run.precision=int8"], "run.precision: 'int8'"),
        (["encoder.conv_layers=[[8,9,4]]"], "each kernel must be between"),
        (["encoder.conv_layers=[[8,10,5],[8,3,2]]"], "a frame must cover 400 samples"),
        (["optim.lr=0"], "optim.lr: 0.0; must be above 0"),
        (["optim.lr=nan"], "optim.lr: nan; must be above 0"),
        (["optim.clip_norm=-1"], "optim.clip_norm: -1.0; must be at least 0"),
        (["online.top_k=0"], "online.top_k: 0; must be at least 1"),
        (["offline.label_offset=500"], "offline.label_offset: must be below"),
        (["data.workers=-1"], "data.workers: -1; must be at least 0"),
    ],
)
def test_impossible_combinations(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        config.load(write(tmp_path, "{}"), [*GIVEN, *overrides])


def test_missing_file_and_broken_yaml(tmp_path):
    with pytest.raises(ValueError, match="no such config"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="not valid YAML"):
        config.load(write(tmp_path, "optim: {lr: [1"))
    with pytest.raises(ValueError, match="expected a mapping"):
        config.load(write(tmp_path, "optim: 3"), GIVEN)


def test_every_field_is_explained():
    for section in fields(Config):
        schema = config._dataclass_of(config._section_types(Config)[section.name])
        assert is_dataclass(schema)
        for field in fields(schema):
            assert field.name in schema.__doc__ or section.name == "encoder", field.name
