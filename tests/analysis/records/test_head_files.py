"""analysis/records/head_files.py."""

import argparse
import shutil

import head_runs
import numpy as np
import pytest
import torch
from head_runs import head, leave_results, suite

from analysis.records import head_files
from upstream import compat


def test_weights_are_those_of_the_head_that_was_tested(tmp_path):
    run = head_runs.small(tmp_path / "run", ks=[0.0, 1.0, 2.0])
    head(run / "ks" / "lr_0.1" / "dev-best.ckpt", [9.0, 0.0, 0.0])  # tried, not tested
    (found,) = head_files.read(run)
    assert found.task == "ks" and found.model == ("mt4ssl", "f0")
    assert found.path == run / "ks" / "lr_1" / "dev-best.ckpt"
    assert found.weights == pytest.approx(np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum())


def test_every_fold_has_its_head_and_a_moved_run_its_own(tmp_path):
    jobs = {}
    for fold in range(1, 6):
        path = head(tmp_path / "old" / "er" / f"fold{fold}" / "lr_1" / "states-4.ckpt", [1.0, fold])
        jobs[f"er.fold{fold}.test"] = [
            (f"er/fold{fold}/lr_1", leave_results(path.parent, "er", path))
        ]
    suite(tmp_path / "old", jobs)
    shutil.move(tmp_path / "old", tmp_path / "new")
    found = head_files.read(tmp_path / "new")
    assert len(found) == 5 and all((tmp_path / "new") in each.path.parents for each in found)


def test_of_saved_heads_the_one_that_is_reported_counts(tmp_path):
    found = []
    for step, eer in ((10, 0.3), (20, 0.2), (30, 0.4)):
        path = head(tmp_path / "run" / "asv" / "lr_1" / f"states-{step}.ckpt", [1.0, step])
        folder = f"asv/lr_1/test/states-{step}"
        found.append((folder, leave_results(tmp_path / "run" / folder, "asv", path, value=eer)))
    (best,) = head_files.read(suite(tmp_path / "run", {"asv.test": found}))
    assert best.path.name == "states-20.ckpt"


def test_what_has_no_weights_says_why(tmp_path):
    run = tmp_path / "run"
    qbe = [("qbe/test", leave_results(run / "qbe" / "test", "qbe", None, layer=2))]
    jobs = {"qbe.test": qbe}
    for task, upstream, args in (
        ("ks", "fbank", {}),
        ("sid", "mt4ssl", {"upstream_layer_selection": 3}),
    ):
        path = head(run / task / "lr_1" / "dev-best.ckpt", None, **args)
        jobs[f"{task}.test"] = [
            (f"{task}/lr_1", leave_results(path.parent, task, path, upstream=upstream))
        ]
    why = {each.task: each.why for each in head_files.read(suite(run, jobs))}
    assert why == {
        "qbe": "layer 2 alone, chosen on dev",
        "ks": "fbank has a single layer",
        "sid": "layer 3 alone",
    }


def test_experiments_of_s3prl_are_found_at_any_depth(tmp_path):
    for seed in (1, 2):
        path = head(tmp_path / "exp" / "ks" / f"seed{seed}" / "dev-best.ckpt", [0.0, float(seed)])
        leave_results(path.parent, "ks", path)
    leave_results(tmp_path / "exp" / "dev_only", "ks", path, stage="dev")
    assert [each.path.parent.name for each in head_files.read(tmp_path / "exp")] == [
        "seed1",
        "seed2",
    ]


def test_folders_without_heads_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: no such folder; give what `mt4ssl superb run`"):
        head_files.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no results of any task; train its heads with `mt4ssl"):
        head_files.read(tmp_path)
    run = head_runs.small(tmp_path / "run", ks=[0.0, 1.0])
    ckpt = run / "ks" / "lr_1" / "dev-best.ckpt"
    whole = ckpt.read_bytes()
    ckpt.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"dev-best\.ckpt: the checkpoint is cut off .*; copy it"):
        head_files.read(run)
    ckpt.unlink()
    with pytest.raises(ValueError, match=r"dev-best\.ckpt: the head that was tested is gone"):
        head_files.read(run)
    (run / "ks" / "lr_1" / "results.json").unlink()
    with pytest.raises(ValueError, match=r"lr_1/results\.json: gone, or without acc of the test"):
        head_files.read(run)
    (run / "jobs" / "ks.test.json").unlink()
    with pytest.raises(ValueError, match=r"jobs/ks\.test\.json: not there, .*which head of ks was"):
        head_files.read(run)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    run = head_runs.small(tmp_path / "run", ks=[0.0, float("nan")])
    with pytest.raises(ValueError, match=r"dev-best\.ckpt: Featurizer\.weights are not finite \(\[0"
                       r"\.0, nan\]\); train the head again with a lower"):  # fmt: skip
        head_files.read(run)


def test_code_in_a_head_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    run = head_runs.small(tmp_path / "run", ks=[0.0, 1.0])
    torch.save({"Args": Evil(), "Featurizer": {}}, run / "ks" / "lr_1" / "dev-best.ckpt")
    with pytest.raises(ValueError, match=r"dev-best\.ckpt: .*names print"):
        head_files.read(run)
    torch.save([1], run / "ks" / "lr_1" / "dev-best.ckpt")
    with pytest.raises(ValueError, match=r"dev-best\.ckpt: not a checkpoint of s3prl's runner; tr"):
        head_files.read(run)


def test_reading_heads_leaves_what_torch_may_load(tmp_path):
    compat.install()
    head_files.read(head_runs.small(tmp_path / "run", ks=[0.0, 1.0]))
    assert argparse.Namespace in torch.serialization.get_safe_globals()
