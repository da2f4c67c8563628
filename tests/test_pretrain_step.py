"""How an update is measured beside peers, with small stand-ins for what a user has cloned."""

import json
import sys

import pytest

from benchmarks import pretrain_step
from benchmarks.peers import NotRunError, Peer, Setting

SETTING = Setting(2, 0.5, 1, "cpu")
HUBERT = """
import torch
print("a word on stdout")

class HuBERTPretrain(torch.nn.Module):
    def __init__(self, num_classes, size="base"):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(num_classes))

    def forward(self, waveforms, labels, *, mask, attention_mask):
        assert labels.shape == mask.shape == (2, 24) and mask.any() and attention_mask is None
        return waveforms.mean() * self.scale[labels[mask]], {}
"""
FAIRSEQ = {
    "__init__.py": "",
    "utils.py": """
import importlib, os, sys
def import_user_module(args):
    parent, name = os.path.split(os.path.abspath(args.user_dir))
    sys.path.insert(0, parent)
    importlib.import_module(name)
""",
    "tasks.py": """
from pathlib import Path
REGISTERED = []
def setup_task(cfg):
    assert len((Path(cfg.label_dir) / "dict.km.txt").read_text().splitlines()) == 500
    return REGISTERED[0](cfg)
""",
    "trainer.py": """
class Trainer:
    def __init__(self, cfg, task, model, criterion):
        assert cfg.common.cpu and not cfg.common.fp16 and cfg.model.embed == 768
        self.criterion, self.model = criterion, model
    def train_step(self, samples):
        (sample,) = samples
        loss, size = self.criterion(self.model, sample)
        (loss / size).backward()
""",
    "dataclass/__init__.py": "",
    "dataclass/configs.py": """
from dataclasses import dataclass, field
from typing import Any, Optional
@dataclass
class Common:
    cpu: bool = False
    fp16: bool = False
    tensorboard_logdir: Optional[str] = None
@dataclass
class Distributed:
    distributed_world_size: int = 0
@dataclass
class FairseqConfig:
    common: Common = field(default_factory=Common)
    distributed_training: Distributed = field(default_factory=Distributed)
    task: Any = None
    model: Any = None
    criterion: Any = None
""",
    "dataclass/initialize.py": "def add_defaults(cfg):\n    cfg.model.embed = 768\n",
}
OFFICIAL = """
from tkinter import N
import torch
from fairseq import tasks

class Task:
    def __init__(self, cfg):
        assert cfg._name == "multi2vec_pretraining"
    def build_model(self, cfg):
        return torch.nn.Conv1d(1, 504, 400, 320)
    def build_criterion(self, cfg):
        def loss(model, sample):
            found = model(sample["net_input"]["source"].unsqueeze(1))
            return torch.nn.functional.cross_entropy(found, sample["target"]), 1
        return loss

tasks.REGISTERED.append(Task)
"""
YAML = """
common:
  fp16: true
  tensorboard_logdir: tb
task:
  _name: multi2vec_pretraining
  data: ???
  label_dir: ???
model:
  _name: multi2vec
criterion:
  _name: multi2vec
"""


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_clone_of_minimal_hubert_makes_updates_in_a_process_of_its_own(tmp_path):
    clone = write(tmp_path, {"src/minimal_hubert/__init__.py": HUBERT})
    with Peer("minimal-hubert", SETTING, clone) as peer:
        first, second = peer.update(), peer.update()
    assert first["wall"] > 0 and second["operators"] == first["operators"] > 10


def test_the_official_code_makes_updates_with_the_fairseq_of_its_own_python(tmp_path):
    write(tmp_path / "site" / "fairseq", FAIRSEQ)
    files = {"code/__init__.py": OFFICIAL, "code/config/pretraining/base_librispeech.yaml": YAML}
    clone = write(tmp_path / "clone", files)
    python = clone / ".venv" / "bin" / "python"
    text = f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n'
    write(clone, {".venv/bin/python": text})
    python.chmod(0o755)
    with Peer("official", SETTING, clone) as peer:
        assert peer.update()["wall"] > 0
        assert peer.update()["reads"] >= 0


def test_what_cannot_be_imported_says_so(tmp_path):
    with (
        Peer("minimal-hubert", SETTING, tmp_path) as peer,
        pytest.raises(NotRunError, match="ModuleNotFoundError: No module named 'minimal_hubert'"),
    ):
        peer.update()


class Stub:
    """Stands for a peer's process."""

    def __init__(self, name, setting, folder=None):
        self.name, self.seconds = name, {"ours": 2.0, "torchaudio": 5.0, "official": 4.0}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        if self.name not in self.seconds:
            raise NotRunError(self.name, "its process was killed by signal 9 (out of memory?)")
        keys = ("wall", "user", "kernel", "peak GB")
        return dict.fromkeys(keys, self.seconds[self.name])


def test_whatever_is_not_run_has_a_row_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_step, "Peer", Stub)
    out = tmp_path / "x.json"
    asked = ["--rounds", "2", "--out", str(out), "--official", str(tmp_path)]
    asked += ["--peers", "ours", "torchaudio", "transformers", "minimal-hubert"]
    args = pretrain_step.parse(pretrain_step.BESIDE, asked)
    assert pretrain_step.report(args, "pretrain_step", pretrain_step.COMMITTED) == 1
    table = pretrain_step.table(out)
    rows = {line.split(" | ")[0][2:]: line for line in table.splitlines() if "|" in line}
    assert "| 1.00 |" in rows["ours"]
    assert "| 2.50 | 2.50 |" in rows["torchaudio"] and "| 2.00 | 2.00 |" in rows["official"]
    assert "not run: its process was killed by signal 9" in table
    assert "not run: not given: --minimal-hubert DIR" in table
    assert len(json.loads(out.read_text())["rounds"]) == 4  # of each pair, its own


def test_what_is_only_not_given_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_step, "Peer", Stub)
    asked = ["--out", str(tmp_path / "x.json"), "--peers", "ours", "official"]
    args = pretrain_step.parse(pretrain_step.BESIDE, asked)
    assert pretrain_step.report(args, "pretrain_step", pretrain_step.COMMITTED) == 0


@pytest.mark.parametrize("given", [["--official", "no/such"], ["--peers", "earlier"]])
def test_a_folder_that_is_not_there_is_refused_before_anything_is_measured(given, capsys):
    with pytest.raises(SystemExit):
        pretrain_step.parse(pretrain_step.BESIDE, given)
    assert "--" in capsys.readouterr().err
