"""A target of somebody else's package: known, checked and trained without a line of ours."""

import sys

import pytest
import torch
import toy
from docs_pages import blocks

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.distributed import World
from mt4ssl_core.settings import registry
from mt4ssl_core.training import schema
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.state import Training


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of packages, which this process forgets afterwards."""
    registry.known()
    monkeypatch.setattr(registry, "_kinds", dict(registry._kinds))
    monkeypatch.setattr(registry, "_searched", set(registry._searched))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    before = set(sys.modules)
    yield tmp_path / "packages"
    for name in set(sys.modules) - before:
        if name.endswith("_target"):
            del sys.modules[name]


def install(folder, module, text, point):
    """Lay a module and its entry point as pip does."""
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mt4ssl.targets]\n{point}\n")


def documented(packages):
    (block,) = [b for b in blocks("extend") if b.title.endswith("mel_target.py")]
    install(packages, "mel_target", block.text, "mel = mel_target")


def test_a_documented_target_is_a_section_and_trains(packages, tmp_path):
    corpus = toy.corpus(tmp_path, utterances=8)
    documented(packages)
    assert config.Config().targets["mel"] is None and "mel.num_mels" in config.known_keys()
    off = {"offline": "null", "online": "null", "mel": "{}", "data__valid_share": 0.0}
    own = {**off, "mel__num_mels": 20, "mel__weight": 0.5, "optim__max_updates": 2}
    cfg = toy.configuration((corpus[0], None), tmp_path / "run", **own)
    assert list(cfg.on) == ["mel"] and "mel:\n  num_mels: 20\n" in config.to_yaml(cfg)
    last = pretrain(cfg)
    state = checkpoint.load(last)
    assert set(state["targets"]) == {"mel"} and config.from_dict(state["config"]) == cfg
    pretrain(toy.configuration((corpus[0], None), tmp_path / "run", **own | {"mel__weight": 0.7}))
    with pytest.raises(ValueError, match=r"another model:\n  mel.num_mels: 20 -> 30"):
        pretrain(
            toy.configuration((corpus[0], None), tmp_path / "run", **own | {"mel__num_mels": 30})
        )


def test_a_null_section_of_a_package_that_is_gone_does_not_matter(packages, tmp_path):
    values = {name: {} for name in ("run", "data", "encoder", "optim")}
    assert "gone" not in schema.settings({**values, "gone": None}, tmp_path)
    with pytest.raises(ValueError, match="unknown section 'gone'; if it is a target of another"):
        schema.settings({**values, "gone": {}}, tmp_path)


@pytest.mark.parametrize(
    ("text", "point", "message"),
    [
        ("import nowhere_at_all", "odd = odd_target", "odd_target cannot be imported: ModuleNotF"),
        ("", "odd = odd_target", "registers no target 'odd'"),
        ("offline", "offline = odd_target", "two targets are called 'offline'"),
        ("int", "odd = odd_target", "expected an identifier as name and a dataclass"),
    ],
)
def test_a_broken_package_is_named(packages, text, point, message):
    body = "from mt4ssl_core.model.targets import Target, offline, register\n@register('{}', {})\n"
    body += "class Odd(Target): pass\n"
    if text in ("offline", "int"):
        settings = "offline.OfflineConfig" if text == "offline" else "int"
        text = body.format(point.split()[0], settings)
    install(packages, "odd_target", text, point)
    with pytest.raises(ValueError, match="odd_target") as caught:
        config.Config()
    assert message in str(caught.value) or message in str(caught.value.__cause__)


def test_an_absent_teacher_starts_from_the_student(tmp_path):
    cfg = toy.configuration(toy.corpus(tmp_path, utterances=2), tmp_path / "run")
    there, here = (Training(cfg, World(0, 1, torch.device("cpu"))) for _ in range(2))
    state = there.state_dict()
    with torch.no_grad():
        for value in state["encoder"].values():
            value += 0.1
    del state["targets"]["online"]
    here.load_weights(state, tmp_path)
    student = here.model.encoder.context.state_dict()
    for key, value in here.model.targets["online"].teacher.state_dict().items():
        assert torch.equal(value, student[key]), key
