import math
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from mt4ssl_core import config
from mt4ssl_core.config import Config
from mt4ssl_core.settings import bounds, checks, finetuning, synonyms

SHIPPED = [
    path
    for path in sorted((Path(config.__file__).parent / "configs").glob("*.yaml"))
    if not finetuning.is_one(path)
]
GIVEN = ["data.train=audio", "data.labels=train.km"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_survives_a_round_trip(path):
    cfg = config.load(path, GIVEN)
    assert config.from_dict(config.to_dict(cfg)) == cfg


def test_base_is_the_paper():
    cfg = config.load(SHIPPED[0].parent / "base.yaml", GIVEN)
    assert (cfg.encoder.layers, cfg.encoder.dim, cfg.targets["online"].top_k, cfg.optim.lr) == (
        12,
        768,
        8,
        5e-4,
    )
    assert cfg.encoder == Config().encoder and cfg.targets["online"] == Config().targets["online"]


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
        "optim.lr: 'fast'; expected a number",
        "encoder.dim: '8.5'; expected a whole number",
        "encoder.heads: 5 does not divide encoder.dim = 768",
        "onlin: unknown key. Did you mean online?",
        "masking.prob: 2.0; must be above 0 and below 1",
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
    assert cfg.targets["online"] is None and cfg.targets["random_projection"].num_classes == 8
    with pytest.raises(ValueError, match=r"online.top_k: online is null \(off\); add online={}"):
        config.load(path, [*GIVEN, "online.top_k=2"])
    assert config.load(path, [*GIVEN, "online={}", "online.top_k=2"]).targets["online"].top_k == 2
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
        (["optim.lr=nan"], "optim.lr: nan; must be above 0 and at most 100"),
        (["optim.clip_norm=-1"], "optim.clip_norm: -1.0; must be at least 0"),
        (["online.top_k=0"], "online.top_k: 0; must be at least 1"),
        (["offline.label_offset=500"], "offline.label_offset: must be below"),
        (["data.workers=-1"], "data.workers: -1; must be at least 0"),
    ],
)
def test_impossible_combinations(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        config.load(write(tmp_path, "{}"), [*GIVEN, *overrides])


def test_held_out_speech_that_is_the_trainings_is_said():
    (note,) = checks.held_out_notes("speech", "./speech")
    assert "nothing of other speech" in note and "data.valid=null" in note
    assert checks.held_out_notes("speech", None) == checks.held_out_notes("speech", "dev") == []


def test_missing_file_and_broken_yaml(tmp_path):
    with pytest.raises(ValueError, match="no such config"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="not valid YAML"):
        config.load(write(tmp_path, "optim: {lr: [1"))
    with pytest.raises(ValueError, match="expected a mapping"):
        config.load(write(tmp_path, "optim: 3"), GIVEN)


def sections():
    for section, schema in config.sections().items():
        for field in fields(schema):
            yield section, schema, field


def test_every_field_is_explained():
    for section, schema, field in sections():
        assert is_dataclass(schema)
        said = "".join(owner.__doc__ or "" for owner in schema.__mro__)
        assert field.name in said or section == "encoder", field.name


def test_every_number_has_both_bounds_and_every_text_a_rule():
    for section, _, field in sections():
        rule = bounds.rule(field)
        if "bool" in str(field.type):
            continue
        if "str" in str(field.type):
            assert rule.path or rule.words or rule.device or rule.text, (section, field.name)
            continue
        limits = rule.bounds
        low, high = max(limits.at_least, limits.above), min(limits.at_most, limits.below)
        assert math.isfinite(low) and math.isfinite(high), (section, field.name)


NUMBERS = [
    (f"{section}.{field.name}", value)
    for section, _, field in sections()
    if field.type in (int, float, "int", "float", "float | None")
    for value in ("inf", "nan", "-1e9", "1e300", "9" * 30, "1" + "0" * 5000)
]


@pytest.mark.parametrize(("key", "value"), NUMBERS)
def test_no_number_is_beyond_all_bounds(tmp_path, key, value):
    section = key.split(".")[0]
    on = [f"{section}={{}}"] if section == "random_projection" else []
    with pytest.raises(ValueError) as caught:
        config.load(write(tmp_path, "{}"), [*GIVEN, *on, f"{key}={value}"])
    (line, *_) = [line for line in str(caught.value).splitlines() if line.startswith(f"  {key}: ")]
    assert "must be" in line or "expected a" in line, line
    assert len(line) < 200


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["online.ema_end=2"], "online.ema_end: 2.0; must be at least 0 and at most 1"),
        (
            ["run.loggers=[wandb,mlflow]"],
            "run.loggers: 'mlflow'; use tensorboard, wandb or trackio",
        ),
        (["run.loggers=wandb"], "run.loggers: 'wandb'; expected a list of words, as in"),
        (["online.ema_start=0.99999"], "online.ema_start: 0.99999; must be at most online.ema_end"),
        (["run.seed=-1"], "run.seed: -1; must be at least 0 and below 2**63"),
        ([f"run.seed={2**63}"], "run.seed: 9223372036854775808; must be at least 0 and below 2"),
        (["optim.final_scale=inf"], "optim.final_scale: inf; must be above 0 and at most 1"),
        (["encoder.feature_grad_scale=-1"], "encoder.feature_grad_scale: -1.0; must be at least 0"),
        (["offline.weight=0", "online.weight=0"], "offline.weight, online.weight: all 0, nothing"),
        (["masking.length=1000"], "masking.length: 1000 frames of 20 ms are longer than any utter"),
        (["data.workers=1000000"], "data.workers: 1000000; must be at least 0 and at most 1024"),
        (["optim.betas=[0.9]"], "optim.betas: [0.9]; expected 2 numbers"),
        (["optim.betas=[0.9,1.0]"], "optim.betas: 1.0; must be at least 0 and below 1"),
        (["optim.betas=[0.9,nan]"], "optim.betas: nan; must be"),
        (["optim.betas=0.9"], "optim.betas: '0.9'; expected a list of numbers"),
        (["encoder.conv_layers=[[8,10,-5]]"], "encoder.conv_layers: -5; must be at least 1"),
        (["encoder.conv_layers=[[8,10]]"], "encoder.conv_layers: expected [channels, kernel, str"),
        (["encoder.conv_layers=[8,10]"], "encoder.conv_layers: '[8,10]'; expected a list of lis"),
        (["encoder.dim=65536", "encoder.layers=512"], "billion parameters, the most is 20"),
        (["run.device=gpu"], "run.device: 'gpu'; use auto, cpu, cuda or cuda:N"),
        (["run.device=cuda:-1"], "run.device: 'cuda:-1'; use auto"),
        (["run.precision=float16"], "run.precision: 'float16'; use fp32, bf16 or fp16"),
        (["data.valid_share=1"], "data.valid_share: 1.0; must be at least 0 and below 1"),
        (["run.out="], "run.out: ''; expected a path"),
        (["data.strict=maybe"], "data.strict: 'maybe'; expected true or false"),
        (["optim.lr=true"], "optim.lr: 'true'; expected a number"),
        (["optim.max_updates=12.5"], "optim.max_updates: '12.5'; expected a whole number"),
    ],
)
def test_settings_beyond_their_bounds(tmp_path, overrides, message):
    with pytest.raises(ValueError) as caught:
        config.load(write(tmp_path, "{}"), [*GIVEN, *overrides])
    assert message in str(caught.value)


TEXTS = ["1e3", "yes", "[a]", "null", "007", "1_000", "a #1", "{b: c}", "'q'", "2024-01-01",
         "${oc.env:HOME}", "a: b", "*x", "&a", "%t", "@",
         "!!python/x", " a ", "inf", "./."]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_path_is_the_text_that_was_given(tmp_path, text):
    place = f"runs/{text}"
    for value in (text, place):
        cfg = config.load(write(tmp_path, "{}"), [*GIVEN, f"run.out={value}"])
        assert cfg.run.out == value
        (tmp_path / "again.yaml").write_text(config.to_yaml(cfg))
        assert config.load(tmp_path / "again.yaml").run.out == value


@pytest.mark.parametrize("text", ["1e3", "yes", "007", "1_000", "2024-01-01", "1.0", "0x10", "on"])
def test_a_path_in_yaml_is_the_text_that_was_given(tmp_path, text):
    path = write(tmp_path, f"run: {{out: {text}}}\ndata: {{train: {text}, labels: {text}}}\n")
    cfg = config.load(path)
    assert (cfg.run.out, cfg.data.train, cfg.data.labels) == (text, text, text)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("5e-4", "lr", 5e-4), ("1E-3", "lr", 1e-3), (".5", "lr", 0.5), ("1", "lr", 1.0),
        ("4e5", "max_updates", 400_000), ("1_000", "max_updates", 1000), ("010", "accumulate", 10),
        ("yes", "fairseq_eps", True), ("False", "fairseq_eps", False),
        ("[0, 5e-1]", "betas", [0, 0.5]),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(tmp_path, text, key, value):
    cfg = config.load(write(tmp_path, "{}"), [*GIVEN, f"optim.{key}={text}"])
    assert getattr(cfg.optim, key) == value
    cfg = config.load(write(tmp_path, f"optim: {{{key}: {text}}}"), GIVEN)
    assert getattr(cfg.optim, key) == value


def test_nothing_is_null_in_yaml_and_on_the_command_line(tmp_path):
    for text in ("null", "~", ""):
        cfg = config.load(write(tmp_path, f"data:\n  valid: {text}\nonline: {text}\n"), GIVEN)
        assert cfg.data.valid is None and cfg.targets["online"] is None
    with pytest.raises(ValueError, match=r"run.out: cannot be null; remove the line"):
        config.load(write(tmp_path, "run: {out: null}"), GIVEN)
    assert (
        config.load(write(tmp_path, "data: {valid: x}"), [*GIVEN, "data.valid=null"]).data.valid
        is None
    )


def test_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("extends: ~/parent.yaml\ndata: {train: ~/a}\n")
    (tmp_path / "parent.yaml").write_text("run: {init_from: ~/b.pt}\n")
    cfg = config.load("~/base.yaml", ["data.labels=~/c.km", "run.out=~"])
    assert (cfg.data.train, cfg.data.labels) == (f"{tmp_path}/a", f"{tmp_path}/c.km")
    assert (cfg.run.init_from, cfg.run.out) == (f"{tmp_path}/b.pt", str(tmp_path))
    with pytest.raises(ValueError, match=r"data.train: ~no_such_user/a: no such home folder"):
        config.load("~/base.yaml", ["data.train=~no_such_user/a"])


def test_a_shipped_configuration_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()  # a folder of this name is no config
    assert config.load("base", GIVEN).encoder.layers == 12
    assert config.load(write(tmp_path, "extends: tiny\n"), GIVEN).encoder.layers == 4
    with pytest.raises(ValueError, match=r"'tinny': no such configuration \(did you mean tiny\?\)"):
        config.load(write(tmp_path, "extends: tinny\n"), GIVEN)
    (tmp_path / "tiny.yaml").write_text("encoder: {layers: 2}")
    with pytest.raises(ValueError, match=r"extends tiny: a file tiny.yaml is here, and a shipped"):
        config.load(write(tmp_path, "extends: tiny\n"), GIVEN)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("optim.learning_rate", "Did you mean optim.lr?"),
        ("lr", "Did you mean optim.lr?"),
        ("train.lr", "Did you mean optim.lr?"),
        ("run.lr", "Did you mean optim.lr?"),
        ("encoder.hidden_size", "Did you mean encoder.dim?"),
        ("model.num_layers", "Did you mean encoder.layers?"),
        ("data.batch_size", "Did you mean data.batch_seconds (seconds of audio"),
        ("optim.steps", "Did you mean optim.max_updates (training"),
        ("max_steps", "Did you mean optim.max_updates"),
        ("optim.num_epochs", "Did you mean optim.max_updates"),
        ("data.num_workers", "Did you mean data.workers?"),
        ("run.fp16", "Did you mean run.precision (fp32, bf16 or fp16)?"),
        ("bf16", "Did you mean run.precision"),
        ("run.gpus", "Here several GPUs are used with `torchrun"),
        ("seed", "Did you mean run.seed?"),
        ("run.save_dir", "Did you mean run.out?"),
        ("output_dir", "Did you mean run.out?"),
        ("optim.warmup_steps", "Did you mean optim.warmup (a share"),
        ("optim.grad_accum", "Did you mean optim.accumulate?"),
        ("optim.Learning-Rate", "Did you mean optim.lr?"),
        ("+optim.lr", "Did you mean optim.lr?"),
        ("optimizer", "AdamW"),
        ("dataset.max_sample_size", "Did you mean data.max_seconds?"),
        ("resume", "the same command with the same run.out goes on"),
        ("weight", "offline.weight or online.weight or random_projection.weight?"),
        ("optim.learning_rte", "Did you mean optim.lr?"),
        ("encoder.drpout", "Did you mean encoder.dropout?"),
        ("wholly.foreign_thing", "unknown key."),
    ],
)
def test_names_of_other_toolkits_are_understood(tmp_path, key, hint):
    section, _, name = key.partition(".")
    texts = [f"{key}=1"]
    yaml = f"{section}: {{{name}: 1}}\n" if name else f"{section}: 1\n"
    for text, path in ((texts, write(tmp_path, "{}")), ([], tmp_path / "b.yaml")):
        (tmp_path / "b.yaml").write_text(yaml)
        with pytest.raises(ValueError) as caught:
            config.load(path, [*GIVEN, *text])
        (line,) = str(caught.value).splitlines()[1:]
        assert f"{key}: unknown key." in line and hint in line, line


def test_every_hint_names_a_key_that_is_there():
    keys = set(config.known_keys())
    for name, hint in synonyms.HINTS.items():
        assert name not in keys
        named = set(re.findall(r"\b(?:run|data|encoder|masking|offline|online|optim)\.\w+", hint))
        assert named <= keys, hint
    assert set(synonyms.SECTIONS.values()) <= keys


@pytest.mark.parametrize("key", ["data.train", "data.valid", "data.labels", "run.init_from"])
def test_what_is_not_there_is_said_with_all_other_problems(tmp_path, key):
    overrides = [*GIVEN, f"{key}=/nowhere", "optim.lr=0", "data.valid_labels=/also/nowhere"]
    with pytest.raises(ValueError) as caught:
        config.load(write(tmp_path, "{}"), overrides, files=True)
    text = str(caught.value)
    for part in (f"{key}: /nowhere: no such file or folder", "data.valid_labels: /also/nowhere: no "
                 "such file", "optim.lr: 0.0; must be above 0"):  # fmt: skip
        assert part in text
    with pytest.raises(ValueError, match="no such file"):
        config.load(write(tmp_path, "{}"), [*GIVEN, f"{key}={'x' * 5000}"], files=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {lr: 1e-3, lr: 2e-3}", "lr is there twice"),
        ("optim: {lr: 1}\noptim: {eps: 1}", "optim is there twice"),
        ("optim: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("[" * 20000, "nested too deeply"),
        ("a: *b", "undefined alias"),
        ("\x00", "not valid YAML"),
        ("? [a]\n: 1", "not valid YAML"),
        ("extends: [a]", "extends: expected one path or name"),
        ("- a", "expected a mapping of sections"),
        ("1: {2: 3}", "1.2: unknown key"),
        ("optim: {lr: {a: b}}", "expected a number"),
        ("optim: {lr: [1]}", "optim.lr: ['1']; expected a number"),
        ("run: {out: [a]}", "run.out: ['a']; expected text"),
        ("null", "expected a mapping of sections"),
    ],
)
def test_foreign_yaml_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ValueError) as caught:
        config.load(write(tmp_path, text), GIVEN)
    assert "run.yaml" in str(caught.value) and message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "values",
    [None, 3, [], {"optim": 3}, {"optim": {"lr": None}}, {"optim": {1: 2}}, {3: {}},
     {"optim": {"betas": [None, {}]}}, {"encoder": {"dim": True}}, {"encoder": {"layers": 10**8}},
     {"encoder": {"conv_layers": [[1, [2], 3]]}}, {"run": {"out": b"x"}}, {"run": {"out": object}}],
)  # fmt: skip
def test_foreign_values_are_refused(values):
    with pytest.raises(ValueError, match=r"a\.pt: "):
        config.from_dict(values, "a.pt")
    if isinstance(values, dict) and "encoder" in values:
        with pytest.raises(ValueError, match=r"a\.pt: "):
            config.encoder_from_dict(values["encoder"], "a.pt")
