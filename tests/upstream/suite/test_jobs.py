"""What a job asks of s3prl, and what it makes of the answers, by the kinds of protocol."""

import pytest
import toy_suite
from toy_suite import Launcher

from upstream.store.options import StoreOptions
from upstream.suite import jobs, work
from upstream.suite.jobs import SuiteSetting
from upstream.suite.suite_request import SuiteRequest


@pytest.fixture
def launcher(monkeypatch):
    made = Launcher()
    monkeypatch.setattr(jobs, "_launch", made)
    return made


@pytest.fixture
def root(tmp_path, monkeypatch):
    return toy_suite.make_tasks(tmp_path, monkeypatch)


def do(name, root, ckpt=None, **asked):
    """Do all jobs of a task; returns the results of its tests."""
    request = SuiteRequest(root / "out", str(root), upstream="fbank", tasks=name, **asked)
    plan = toy_suite.plan(name, root, request)
    setting = SuiteSetting(root / "out", "fbank", ckpt, 7, "cpu")
    first, tests = jobs.jobs_of(plan)
    work.Work(setting, [*first, *tests])()
    states = [work.run_folder.read_state(setting.out, job.name) for job in [*first, *tests]]
    assert [state["state"] for state in states] == ["done"] * len(states), states
    return [state["result"] for state in states[len(first) :]]


def test_the_rate_that_is_best_on_dev_is_tested_once(root, launcher):
    (result,) = do("rate", root, ckpt="/model.pt")
    assert result["chosen"] == "lr_0.01"
    assert result["devs"] == {"lr_0.1": [0.32], "lr_0.01": [0.82], "lr_0.001": [0.52]}
    (record,) = result["records"]
    assert (record["value"], record["split"], record["step"]) == (0.82, "test", 20)
    modes = [asked.mode for asked in launcher.asked]
    assert modes == ["train"] * 3 + ["evaluate"]
    train, test = launcher.asked[1], launcher.asked[-1]
    assert train.expdir == str(root / "out" / "rate" / "lr_0.01")
    assert train.changes == {"optimizer.lr": 1e-2}
    assert (train.task, train.seed, train.upstream_ckpt) == ("rate", 7, "/model.pt")
    assert test.past_exp == train.expdir + "/states-20.ckpt" and test.stage == "test"


def test_folds_share_one_rate(root, launcher):
    results = do("fold", root)
    assert [result["chosen"] for result in results] == ["lr_0.01"] * 2
    assert results[0]["devs"]["lr_0.1"] == [0.32, 0.32]
    trained = [asked for asked in launcher.asked if asked.mode == "train"]
    folds = [asked.changes["downstream_expert.datarc.fold"] for asked in trained]
    assert sorted(folds) == ["f1", "f1", "f2", "f2"]
    tested = [asked.expdir for asked in launcher.asked if asked.mode == "evaluate"]
    assert tested == [str(root / "out" / "fold" / fold / "lr_0.01") for fold in ("f1", "f2")]


def test_layers_are_evaluated_on_dev_and_the_best_on_test(root, launcher):
    (result,) = do("layer", root)
    assert result["chosen"] == "layer_1"
    asked = [tuple(a.others.values()) for a in launcher.asked]
    assert asked == [(0, "dev"), (1, "dev"), (2, "dev"), (1, None)]
    assert launcher.asked[-1].expdir == str(root / "out" / "layer" / "test")
    assert {a.mode for a in launcher.asked} == {"evaluate"}
    assert not any(a.past_exp for a in launcher.asked)


def test_every_checkpoint_is_tested(root, launcher):
    (result,) = do("every", root)
    assert result["chosen"] == "lr_0.01"
    assert result["devs"]["lr_0.01"] == [pytest.approx(0.18)]
    steps = [(record["step"], record["value"]) for record in result["records"]]
    assert steps == [(10, pytest.approx(0.19)), (20, pytest.approx(0.18))]
    tested = [a.past_exp for a in launcher.asked if a.mode == "evaluate"]
    folder = root / "out" / "every" / "lr_0.01"
    assert tested == [str(folder / f"states-{step}.ckpt") for step in (10, 20)]


def test_without_a_choice_the_rate_is_the_configs(root, launcher):
    (result,) = do("none", root)
    assert result["chosen"] == "default" and result["devs"] == {"default": [pytest.approx(0.48)]}
    assert not launcher.asked[0].changes


def test_an_optional_stage_is_added_and_stays(root, launcher):
    for asked, stages in (((), ["test"]), (("lm",), ["test", "lm"]), ((), ["test", "lm"])):
        (result,) = do("lm", root, stages=asked)
        assert [record["stage"] for record in result["records"]] == stages
    evaluated = [a.stage for a in launcher.asked if a.mode == "evaluate"]
    assert evaluated == ["test", "lm"]


def test_a_head_trained_anew_is_chosen_and_tested_anew(root, launcher, monkeypatch):
    do("rate", root)
    (root / "out" / "jobs" / "rate.lr_0.1.json").unlink()
    better = {1e-1: 0.9, 1e-2: 0.8, 1e-3: 0.5}
    monkeypatch.setattr(toy_suite, "quality", lambda rate, step: better[rate])
    (result,) = do("rate", root)
    assert result["chosen"] == "lr_0.1" and result["records"][0]["value"] == 0.9


def test_a_test_that_was_interrupted_repeats_no_evaluation(root, launcher):
    do("every", root)
    before = len(launcher.asked)
    (root / "out" / "jobs" / "every.test.json").unlink()
    (root / "out" / "jobs" / "every.lr_0.1.json").unlink()
    do("every", root)
    assert [asked.mode for asked in launcher.asked[before:]] == ["train"]


def test_the_store_goes_with_every_command(root, monkeypatch):
    from upstream.heads import runner

    seen = []
    monkeypatch.setattr(jobs.command, "settle", lambda request: request)
    monkeypatch.setattr(runner, "launch", seen.append)
    store = StoreOptions("frames", precision="fp32")
    setting = SuiteSetting(root / "out", "fbank", None, 7, "cpu", store)
    jobs.train_head(setting, toy_suite.first("rate", root))
    assert seen[0].store is store


def test_what_must_be_the_same_for_a_job_to_count_as_done(root):
    job = toy_suite.first("rate", root)
    assert job.name == "rate/lr_0.1"
    asked = job.settings()
    assert set(asked) == {"config", "corpus", "overrides"}
    test = jobs.Job(job.plan, job.variant)
    assert test.name == "rate/test"
    assert test.settings()["candidates"] == ["lr_0.1", "lr_0.01", "lr_0.001"]
    longer = toy_suite.plan("rate", root, overrides={"runner.total_steps": 5})
    assert jobs.Job(longer, job.variant, job.candidate).settings() != asked
