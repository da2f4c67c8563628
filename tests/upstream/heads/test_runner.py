import json
import os
import shutil
import time
from typing import Any

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, Bomb, corpora, tiny_checkpoint

from upstream.door import cache
from upstream.heads import command, results, runner, states
from upstream.store.options import StoreOptions


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def run(task, expdir, upstream="mt4ssl", **settings: Any):
    changes: dict[str, Any] = {**FEW_STEPS, **SPEED[task], **settings.pop("overrides", {})}
    ckpt = tiny_checkpoint() if upstream.startswith("mt4ssl") else None
    asked: dict[str, Any] = {"ckpt": ckpt, "root": corpora(), "device": "cpu", **settings}
    return runner.run(task, upstream, expdir, overrides=changes, **asked)


@pytest.mark.parametrize(("task", "metric"), [("ks", "acc"), ("sid", "acc"), ("pr", "per")])
def test_train_and_test(task, metric, tmp_path):
    (record,) = run(task, tmp_path / "exp")
    assert (record["task"], record["metric"], record["split"]) == (task, metric, "test")
    assert record["value"] >= 0
    assert record["direction"] == ("min" if metric == "per" else "max")
    assert (record["step"], record["upstream"]) == (2, "mt4ssl")
    assert record["fingerprint"] == cache.file_fingerprint(tiny_checkpoint())
    assert record["train_seconds"] > 0 and record["seconds"] > 0
    assert all(str(corpora()) in str(path) for path in record["corpus"].values())
    assert results.read(tmp_path / "exp") == [record]
    lines = (tmp_path / "exp" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["split"] for line in lines] == ["train", "train", "dev"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["auto", "off"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_on_a_machine_with_a_gpu(device, mode, tmp_path):
    (record,) = run("ks", tmp_path / "exp", device=device, store=StoreOptions(mode))
    assert record["step"] == 2 and 0 <= record["value"] <= 1
    assert record["device"].startswith("cpu") == (device == "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("upstream", ["fbank", "mt4ssl_untrained"])
@pytest.mark.parametrize("task", ["ks", "sid", "pr"])
def test_every_task_with_every_kind_of_upstream(task, upstream, tmp_path):
    (record,) = run(task, tmp_path / "exp", upstream)
    assert record["upstream"] == upstream
    assert (record["fingerprint"] is None) == (upstream == "fbank")


def test_stored_features_and_the_same_seed_give_the_same_result(tmp_path):
    steps = {"runner.total_steps": 6, "runner.eval_step": 6, "runner.save_step": 6}
    stored = {"store": StoreOptions(folder=str(tmp_path / "store"))}
    settings: list[dict[str, Any]] = [stored, stored, {"store": StoreOptions("off")}, {"seed": 7}]
    heads = []
    for number, setting in enumerate(settings):
        run("sid", tmp_path / str(number), overrides=steps, **setting)
        state = torch.load(tmp_path / str(number) / "states-6.ckpt")
        heads.append(state["Downstream"]["projector.weight"])
    assert torch.equal(heads[0], heads[1])
    assert torch.allclose(heads[0], heads[2], atol=1e-5)
    assert not torch.allclose(heads[0], heads[3], atol=1e-3)


def test_resume_goes_on_and_evaluate_replaces_the_result(tmp_path):
    exp = tmp_path / "exp"
    run("sid", exp)
    steps = {"runner.total_steps": 4, "runner.eval_step": 2, "runner.save_step": 2}
    (record,) = run("sid", exp, resume=True, overrides=steps)
    assert (exp / "states-4.ckpt").is_file()
    lines = [json.loads(x) for x in (exp / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [1, 2, 3, 4]
    argv = ["-m", "evaluate", "-e", str(exp / "states-4.ckpt"), "-t", "dev"]
    (dev,) = runner.launch(command.resolve(argv))
    assert (dev["split"], dev["step"]) == ("dev", 4)
    assert [r["split"] for r in results.read(exp)] == ["test", "dev"]
    assert record["seed"] == dev["seed"]


def test_resuming_a_copied_experiment_writes_into_the_copy(tmp_path):
    run("sid", tmp_path / "exp")
    shutil.copytree(tmp_path / "exp", tmp_path / "copy")
    before = sorted(path.name for path in (tmp_path / "exp").iterdir())
    run("sid", tmp_path / "copy", resume=True, overrides={"runner.total_steps": 4})
    assert (tmp_path / "copy" / "states-4.ckpt").is_file()
    assert sorted(path.name for path in (tmp_path / "exp").iterdir()) == before


def test_evaluating_with_the_checkpoint_elsewhere(tmp_path):
    moved = tmp_path / "moved.pt"
    moved.write_bytes(tiny_checkpoint().read_bytes())
    run("sid", tmp_path / "exp", ckpt=moved)
    here = moved.rename(tmp_path / "here.pt")
    argv = ["-m", "evaluate", "-e", str(tmp_path / "exp")]
    with pytest.raises(ValueError, match=r"moved\.pt: no such checkpoint"):
        runner.launch(command.resolve(argv))
    (record,) = runner.launch(
        command.resolve([*argv, "-k", str(here), "-p", str(tmp_path / "new")])
    )
    assert record["upstream_ckpt"] == str(here)
    assert results.read(tmp_path / "new") == [record]


def test_fine_tuning_trains_the_encoder(tmp_path):
    argv = ["-m", "train", "--task", "sid", "--root", str(corpora()), "-u", "mt4ssl", "-f"]
    argv += ["-k", str(tiny_checkpoint()), "-p", str(tmp_path / "exp"), "--device", "cpu"]
    changes = ",,".join(f"config.{k}={v!r}" for k, v in {**FEW_STEPS, **SPEED["sid"]}.items())
    runner.launch(command.resolve([*argv, "-o", changes, "--then-test"]))
    assert [record["store"] for record in results.read(tmp_path / "exp")] == [None]
    state = torch.load(tmp_path / "exp" / "states-2.ckpt")
    before = torch.load(tiny_checkpoint())["encoder"]["projection.weight"]
    assert not torch.equal(state["Upstream"]["encoder.projection.weight"], before)


def test_best_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint was written"):
        states.best_checkpoint(tmp_path)
    for name in ("states-9.ckpt", "states-10.ckpt"):
        (tmp_path / name).touch()
    assert states.best_checkpoint(tmp_path).name == "states-10.ckpt"
    (tmp_path / "dev-best.ckpt").touch()
    assert states.best_checkpoint(tmp_path).name == "dev-best.ckpt"
    (tmp_path / "test-best.ckpt").touch()
    assert states.best_checkpoint(tmp_path).name == "dev-best.ckpt"
    (tmp_path / "test-best.ckpt").unlink()
    os.utime(tmp_path / "dev-best.ckpt", (1, 1))  # left by an earlier experiment
    assert states.best_checkpoint(tmp_path, newer_than=time.time() - 60).name == "states-10.ckpt"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"runner.totl_steps": 3}, r"Did you mean runner\.total_steps"),
        (
            {"runner.eval_step": 9, "runner.save_step": 9},
            "the first checkpoint is written at step 9",
        ),
        (
            {"downstream_expert.datarc.file_path": "/gone"},
            r"/gone: not there \(the folder of VoxCeleb1",
        ),
    ],
)
def test_a_mistake_leaves_no_folder(overrides, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        run("sid", tmp_path / "exp", overrides=overrides)
    assert not (tmp_path / "exp").exists()


def test_a_checkpoint_that_would_run_code_does_not(tmp_path):
    torch.save({"encoder": Bomb(tmp_path / "ran")}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt"):
        run("sid", tmp_path / "exp", ckpt=tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "exp").exists()


def test_s3prls_command_is_left_as_it_was(tmp_path):
    from s3prl import run_downstream
    from s3prl.downstream.runner import Runner
    from s3prl.utility.helper import override

    run("sid", tmp_path / "exp")
    assert run_downstream.Runner is Runner
    assert run_downstream.override is override
