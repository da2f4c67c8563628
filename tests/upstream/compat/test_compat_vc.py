"""What s3prl's voice conversion task needs: statistics of its own run, a name for its loss."""

import importlib
import sys
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch
from superb_data import corpus

import upstream
from upstream import compat
from upstream.compat import pyworld_version
from upstream.door import tasks


@pytest.fixture(scope="module")
def expert_class():
    upstream.register()
    compat.install_for("a2o-vc-vcc2020")
    return importlib.import_module("s3prl.downstream.a2o-vc-vcc2020.expert").DownstreamExpert


def make(expert_class, expdir, lists):
    config = tasks.read(tasks.path_of("vc"))["downstream_expert"]
    config["modelrc"] |= {"hidden_dim": 4, "prenet_dim": 4}
    config["datarc"] |= {"data_root": str(corpus("vc") / "vcc2020"), "lists_root": str(lists)}
    return expert_class(
        upstream_dim=3, upstream_rate=160, downstream_expert=config, expdir=str(expdir)
    )


def test_statistics_are_those_of_the_corpus_at_hand(expert_class, tmp_path):
    lists = []
    for number in ("E20001", "E20002"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "E_train_list.txt").write_text(f"{number}\n")
        lists.append(tmp_path / number)
    first, other, again = (
        make(expert_class, tmp_path, where).objective.target_mean
        for where in (lists[0], lists[1], lists[0])
    )
    assert not torch.equal(first, other)
    assert torch.equal(first, again)
    assert not list(tmp_path.rglob("*.h5"))


def test_the_loss_is_reported_by_name(expert_class):
    seen = []
    logger = SimpleNamespace(add_scalar=lambda *args, **kwargs: seen.append((args, kwargs)))
    expert = expert_class.__new__(expert_class)
    records = {"loss": [1.0, 2.0]}
    expert.log_records(
        "train", records=records, logger=logger, global_step=7, batch_ids=[], total_batch_num=1
    )
    assert seen == [(("example/train-loss", 1.5), {"global_step": 7})]


def test_griffin_lim_gives_the_same_twice(expert_class):
    module = sys.modules[expert_class.__module__]
    wave = 0.1 * np.sin(2 * np.pi * 440 * np.arange(12000) / 24000)
    spectrum = np.abs(librosa.stft(wave, n_fft=1024, hop_length=256)).T
    settings = {"n_fft": 1024, "n_shift": 256, "win_length": None, "n_iters": 8}
    first, second = (module.griffin_lim(spectrum, **settings) for _ in range(2))
    assert np.array_equal(first, second)
    peak = np.abs(np.fft.rfft(first)).argmax() * 24000 / len(first)
    assert peak == pytest.approx(440, abs=5)


def test_installing_twice_changes_nothing(expert_class):
    before = expert_class.__init__, expert_class.log_records
    for name in compat.TASKS["a2o-vc-vcc2020"]:
        assert not importlib.import_module(f"upstream.compat.{name}").install()
    assert (expert_class.__init__, expert_class.log_records) == before


def test_pyworld_finds_its_version_without_setuptools(monkeypatch):
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    monkeypatch.delitem(sys.modules, "pyworld", raising=False)
    monkeypatch.setattr(pyworld_version.importlib.util, "find_spec", lambda name: None)
    assert pyworld_version.install()
    try:
        assert sys.modules["pkg_resources"].get_distribution("numpy").version[0] in "23456789"
        assert importlib.import_module("pyworld").__version__
    finally:
        del sys.modules["pkg_resources"]
