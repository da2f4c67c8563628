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
    tsv, _ = toy.corpus(tmp_path, utterances=8)
    documented(packages)
    assert config.Config().targets["mel"] is None and "mel.num_mels" in config.known_keys()

    def asked(**changes):
        off = {"offline": "null", "online": "null", "mel": "{}", "data__valid_share": 0.0}
        return toy.configuration((tsv, None), tmp_path / "run", **off, **changes)

    cfg = asked(mel__num_mels=20, mel__weight=0.5, optim__max_updates=2)
    assert list(cfg.on) == ["mel"] and "mel:\n  num_mels: 20\n" in config.to_yaml(cfg)
    state = checkpoint.load(pretrain(cfg))
    assert set(state["targets"]) == {"mel"} and config.from_dict(state["config"]) == cfg
    pretrain(asked(mel__num_mels=20, mel__weight=0.7, optim__max_updates=2))
    with pytest.raises(ValueError, match=r"another model:\n  mel.num_mels: 20 -> 30"):
        pretrain(asked(mel__num_mels=30, optim__max_updates=2))


def test_a_null_section_of_a_package_that_is_gone_does_not_matter(tmp_path):
    values = {name: {} for name in ("run", "data", "encoder", "optim")}
    assert "gone" not in schema.settings({**values, "gone": None}, tmp_path, config.sections())
    with pytest.raises(ValueError, match="unknown section 'gone'; if it is a target of another"):
        schema.settings({**values, "gone": {}}, tmp_path, config.sections())


ODD = """
from mt4ssl_core.model.targets import Target, offline, register
@register("{}", {})
class Odd(Target): pass
"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("odd", "import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        ("odd", "", "registers no target 'odd'"),
        ("odd", ODD.format("odd", "int"), "expected an identifier as name and a dataclass"),
        ("offline", ODD.format("offline", "offline.OfflineConfig"), "are called 'offline'"),
        ("data", ODD.format("data", "offline.OfflineConfig"), "'data': a section of the config"),
    ],
)
def test_a_broken_package_is_named(packages, name, text, message):
    install(packages, "odd_target", text, f"{name} = odd_target")
    with pytest.raises(ValueError, match="odd_target") as caught:
        config.known_keys()
    assert message in str(caught.value)


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
