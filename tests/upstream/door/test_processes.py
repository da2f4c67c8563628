import json
import os
import subprocess
import sys
import weakref

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, corpora, tiny_checkpoint

import run_downstream
from upstream.compat import ddp
from upstream.door import overrides, processes
from upstream.heads import results, runner, states
from upstream.heads.feature_transform import FeatureTransform
from upstream.heads.fitted_transform import FILE


def torchrun(tmp_path, expdir, *more, **changes):
    """Train KS in two processes on the CPU, test in the first; return what they print."""
    settings = overrides.render({**FEW_STEPS, **SPEED["ks"], **changes})
    argv = ["-m", "train", "--task", "ks", "--root", str(corpora()), "-u", "mt4ssl", "-a"]
    argv += ["-k", str(tiny_checkpoint()), "-p", str(expdir), "--then-test", "--device", "cpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", run_downstream.__file__]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MT4SSL_CACHE": str(tmp_path)}
    done = subprocess.run(
        [*launcher, *argv, "-o", settings, *more],
        env=env,
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


@pytest.mark.slow
def test_two_processes_under_torchrun(tmp_path):
    steps = {"runner.total_steps": 4}
    shown = torchrun(tmp_path, tmp_path / "whole", **steps)
    (record,) = results.read(tmp_path / "whole")
    assert shown.count("ks test acc = ") == 1
    # of training and of the test, perhaps in one second; the other process writes none
    assert len(list((tmp_path / "whole").glob("args_*"))) in (1, 2)
    lines = (tmp_path / "whole" / results.EVALUATIONS).read_text().splitlines()
    assert [json.loads(x)["step"] for x in lines if json.loads(x)["split"] == "train"] == [
        1,
        2,
        3,
        4,
    ]
    torchrun(tmp_path, tmp_path / "cut", **steps | {"runner.total_steps": 2})
    torchrun(tmp_path, tmp_path / "cut", **steps)
    whole, cut = (states.read(tmp_path / name / "states-4.ckpt") for name in ("whole", "cut"))
    assert whole["WorldSize"] == 2
    assert all(torch.equal(cut["Downstream"][k], v) for k, v in whole["Downstream"].items())
    assert results.read(tmp_path / "cut")[0]["value"] == record["value"]


@pytest.mark.slow
def test_two_processes_share_the_transform_that_one_would_fit(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    torchrun(tmp_path, tmp_path / "two", "--feature-transform", "whiten")
    asked = {"ckpt": tiny_checkpoint(), "root": corpora(), "device": "cpu"}
    changes = {**FEW_STEPS, **SPEED["ks"]}
    runner.run("ks", "mt4ssl", tmp_path / "one", overrides=changes, **asked,
               feature_transform="whiten")  # fmt: skip
    two, one = (FeatureTransform.load(tmp_path / name / FILE, "") for name in ("two", "one"))
    assert torch.equal(two.means, one.means) and torch.equal(two.maps, one.maps)
    (record,) = results.read(tmp_path / "two")
    assert record["feature_transform"]["kind"] == "whiten"


def test_one_process_is_on_its_own(monkeypatch):
    assert (processes.rank(), processes.size(), processes.is_first()) == (0, 1, True)
    assert processes.join("cpu") is None
    processes.part([])
    monkeypatch.setenv("RANK", "1")
    assert processes.is_first()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not processes.is_first()


def test_the_other_processes_train_as_long_as_the_first(monkeypatch):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    monkeypatch.setattr(processes, "rank", lambda: 1)
    processes.end_after(optimizer, 2)
    optimizer.zero_grad()
    with pytest.raises(processes.Ended):
        optimizer.zero_grad()


@pytest.fixture
def world_of_one(tmp_path):
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_shared_model_is_used_alone_in_an_evaluation(world_of_one):
    class Entry:
        model = ddp.share(torch.nn.Linear(2, 2), device_ids=[0], find_unused_parameters=True)

    entry = Entry()
    with processes.alone([entry]):
        assert type(entry.model) is torch.nn.Linear
    assert type(entry.model) is torch.nn.parallel.DistributedDataParallel
    assert (processes.rank(), processes.size()) == (0, 1)


def test_a_shared_model_does_not_outlive_the_group_of_processes(world_of_one, monkeypatch):
    class Entry:
        def __init__(self):
            self.model = ddp.share(torch.nn.Linear(2, 2))

    entry, left = Entry(), []
    shared = weakref.ref(entry.model)
    with monkeypatch.context() as patched:
        patched.setattr(torch.distributed, "barrier", lambda: None)
        patched.setattr(
            torch.distributed, "destroy_process_group", lambda: left.append(shared() is None)
        )
        processes.part([entry])
    assert left == [True] and type(entry.model) is torch.nn.Linear
