import json
import shutil

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, corpora, tiny_checkpoint
from test_resume import PowerCut, fails_at

from upstream.door.expert import UpstreamExpert
from upstream.heads import command, results, runner
from upstream.heads.feature_transform import FeatureTransform
from upstream.heads.fitted_transform import FILE
from upstream.store.options import StoreOptions
from upstream.trained.trained_head import TrainedHead

STEPS = {"runner.total_steps": 4, "runner.eval_step": 2, "runner.save_step": 2}
EXACT = {"mode": "frames", "precision": "fp32"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def train(task, expdir, kind, **settings):
    changes = {**FEW_STEPS, **SPEED[task], **STEPS, **settings.pop("overrides", {})}
    asked = {"ckpt": tiny_checkpoint(), "root": corpora(), "device": "cpu", **settings}
    return runner.run(task, "mt4ssl", expdir, overrides=changes, feature_transform=kind, **asked)


def head(expdir):
    return torch.load(expdir / "states-4.ckpt")["Downstream"]


def test_a_head_on_whitened_features_says_so_and_is_tested_on_them(tmp_path):
    train("pr", tmp_path / "raw", None)
    (record,) = train("pr", tmp_path / "exp", "whiten")
    assert record["feature_transform"]["kind"] == "whiten"
    assert len(record["feature_transform"]["kept"]) == 3
    assert "--feature-transform whiten" in results.remarks(record)
    raw, whitened = head(tmp_path / "raw"), head(tmp_path / "exp")
    assert not torch.allclose(raw["projector.weight"], whitened["projector.weight"])
    argv = ["-m", "evaluate", "-e", str(tmp_path / "exp" / "states-4.ckpt")]
    shutil.move(tmp_path / "exp", tmp_path / "moved")
    argv[3] = str(tmp_path / "moved" / "states-4.ckpt")
    (again,) = runner.launch(command.resolve(argv))
    assert again["feature_transform"] == record["feature_transform"]
    path = tmp_path / "moved" / FILE
    layers = FeatureTransform.load(path, "").layers
    for of, size in ((layers[:-1], 32), (layers, 3)):
        shape, about = (len(of), size), {"of": "another"}
        means, maps = torch.zeros(shape), torch.zeros(shape)
        FeatureTransform("whiten", of, means, maps, (size,) * len(of), 9, about).save(path)
        with pytest.raises(ValueError, match=rf"{FILE}: maps {len(of)} layers of {size} features"):
            runner.launch(command.resolve(argv))
    path.unlink()
    with pytest.raises(ValueError, match=rf"{FILE}: not there; copy the folder again"):
        runner.launch(command.resolve(argv))


def test_a_head_that_is_used_hears_the_same_features(tmp_path):
    train("pr", tmp_path / "exp", "whiten")
    used = TrainedHead(tmp_path / "exp" / "states-4.ckpt")
    wave = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    (found,) = used.features([wave.numpy()])
    transform = FeatureTransform.load(tmp_path / "exp" / FILE, "")
    layers = transform(UpstreamExpert(str(tiny_checkpoint()))([wave])["hidden_states"])
    weights = torch.load(tmp_path / "exp" / "states-4.ckpt")["Featurizer"]["weights"].softmax(0)
    expected = (torch.stack(layers)[:, 0] * weights[:, None, None]).sum(0)
    assert used.isolated and torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize(("task", "stored"), [("sid", {}), ("pr", EXACT)])
def test_the_store_changes_nothing(task, stored, kind, tmp_path):
    crops = {"downstream_expert.datarc.max_timestep": 10**6} if task == "sid" else {}
    folder = StoreOptions(folder=str(tmp_path / "store"), **stored)
    for name, store in (("on", folder), ("off", StoreOptions("off"))):
        (record,) = train(task, tmp_path / name, kind, store=store, overrides=crops)
        assert (record["store"] is not None) == (name == "on")
    on, off = head(tmp_path / "on"), head(tmp_path / "off")
    for key in on.keys() - {"best_score"}:  # Adam takes a whole step where a gradient rounds to 0
        apart = (on[key] - off[key]).abs().flatten()
        assert torch.quantile(apart, 0.99) <= 1e-4 and apart.max() <= 1e-2, key


def test_an_interrupted_training_takes_the_same_transform_up_again(tmp_path, monkeypatch):
    train("pr", tmp_path / "whole", "whiten")
    monkeypatch.setattr(results, "log", fails_at(1, results.log))
    with pytest.raises(PowerCut):  # before the first checkpoint
        train("pr", tmp_path / "cut", "whiten")
    fitted = (tmp_path / "cut" / FILE).read_bytes()
    monkeypatch.undo()
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    train("pr", tmp_path / "cut", "whiten", resume=True, overrides={"runner.total_steps": 2})
    train("pr", tmp_path / "cut", None, resume=True)
    assert (tmp_path / "cut" / FILE).read_bytes() == fitted
    whole, cut = head(tmp_path / "whole"), head(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    kept = json.loads((tmp_path / "cut" / "experiment.json").read_text())
    assert kept["feature_transform"] == "whiten"
    says = "--feature-transform standardize: the stored experiment has whiten"
    with pytest.raises(ValueError, match=says):
        train("pr", tmp_path / "cut", "standardize", resume=True)


def test_another_transform_is_not_begun_in_the_same_folder(tmp_path):
    train("sid", tmp_path / "exp", "whiten")
    says = r"holds an experiment with --feature-transform whiten, but asked for is none"
    with pytest.raises(ValueError, match=says):
        train("sid", tmp_path / "exp", "none")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "train", "-p", "new", "-f"], "frozen upstream's features only; leave -f out"),
        (["-m", "train", "-p", "new", "--upstream_feature_normalize"], "two of a kind; give one"),
        (["-m", "evaluate", "-p", "new"], "is fitted when a head is trained; give a head with -e"),
        (["-m", "train", "-p", "new", "--feature-transform", "Whiten"], "invalid choice: 'Whiten'"),
    ],
)
def test_where_there_can_be_no_transform(words, says):
    asked = ["--task", "pr", "-u", "fbank", "--root", str(corpora())]
    with pytest.raises(ValueError, match=says):
        command.resolve([*asked, "--feature-transform", "whiten", *words])
