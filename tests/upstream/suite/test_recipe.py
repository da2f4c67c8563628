"""Another protocol than SUPERB's reaches the heads, and is told from it everywhere."""

import pytest
import toy_suite

from upstream.corpora import minisuperb
from upstream.corpora.minisuperb import Part
from upstream.door import overrides, s3prl_names, tasks
from upstream.store.options import StoreOptions
from upstream.suite import jobs, run_folder, submission, suite
from upstream.suite.own_task_request import OwnTaskRequest
from upstream.suite.suite_request import SuiteRequest


@pytest.fixture
def root(tmp_path, monkeypatch):
    about = {"list": "some", "utterances": 3}
    drawn = {"rate": lambda root: Part({toy_suite.ARCHIVE: f"{root}/some"}, about)}
    monkeypatch.setattr(minisuperb, "PARTS", drawn)
    return toy_suite.make_tasks(tmp_path, monkeypatch)


@pytest.fixture
def launcher(monkeypatch):
    made = toy_suite.Launcher()
    monkeypatch.setattr(jobs, "_launch", made)
    return made


def request(root, names="rate", **changes):
    asked = {"upstream": "fbank", "executor": "inline", "protocol": "mini", **changes}
    return SuiteRequest(root.parent / "run", str(root), tasks=names, **asked)


def test_the_recipe_reaches_every_head_and_the_record_says_so(root, launcher, capsys):
    assert suite.run(request(root)) == 0
    trained, tested = launcher.asked
    assert trained.changes == {
        "runner.total_steps": 20, "optimizer.lr": 1e-2, toy_suite.ARCHIVE: f"{root}/rate/some"
    }  # fmt: skip
    assert trained.others == {"upstream_feature_normalize": True}
    assert (trained.store.mode, trained.store.crops, trained.store.alone) == ("frames", 1, True)
    assert tested.mode == "evaluate" and tested.store == trained.store
    [record] = run_folder.read_results(root.parent / "run")
    assert (record["protocol"], record["overrides"], record["rate"]) == ("mini", {}, 1e-2)
    assert record["corpus"]["part"] == {"list": "some", "utterances": 3}
    assert record["corpus"]["fingerprint"] != toy_suite.corpus()["fingerprint"]
    assert "--protocol mini" in capsys.readouterr().out


def test_changes_of_ones_own_win_and_are_told_apart(root, launcher):
    assert suite.run(request(root, set=["rate:runner.total_steps=5"], rates=["1e-3"])) == 0
    assert launcher.asked[0].changes["runner.total_steps"] == 5
    [record] = run_folder.read_results(root.parent / "run")
    assert record["overrides"] == {"runner.total_steps": 5} and record["rate"] == 1e-3


def test_two_protocols_are_never_in_one_folder_and_none_is_submitted(root, launcher):
    suite.run(request(root))
    with pytest.raises(ValueError, match=r"protocol mini; asked for is .* Results are not mixed"):
        suite.run(request(root, protocol="superb"))
    submission.PARTS["rate"] = []
    try:
        with pytest.raises(ValueError, match="rate was scored with --protocol, which is never"):
            submission.submit(root.parent / "run", "rate", force=True)
    finally:
        del submission.PARTS["rate"]


def test_all_tasks_are_those_with_a_recipe(root):
    assert request(root, "all").names == ["rate"]
    assert (
        request(root)
        .command(["rate"])
        .endswith("--protocol mini --store frames --store-crops 1 --store-alone")
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": "tiny"}, "--protocol tiny: give one of superb, mini"),
        ({"names": "rate,fold"}, "--protocol mini: has no recipe for fold; leave it out"),
        ({"heads": ["deep"]}, "--protocol mini: has heads of its own; leave --heads out"),
        ({"feature_transform": "whiten"}, "normalises the features itself; leave --feature-tr"),
        ({"store": StoreOptions("off")}, "features are computed once; leave --store out"),
    ],
)
def test_what_does_not_go_with_it(root, changes, says):
    with pytest.raises(ValueError, match=says):
        request(root, **changes)


def test_a_task_of_ones_own_has_no_recipe(tmp_path):
    with pytest.raises(ValueError, match="--protocol mini: has no recipe for classify"):
        OwnTaskRequest(tmp_path, "a.csv", upstream="fbank", kind="classify", protocol="mini")


def test_the_recipes_are_settings_that_their_tasks_have():
    found = {name: header["protocols"]["mini"] for name, header in tasks.headers().items()
             if "protocols" in header}  # fmt: skip
    assert {*found} == {*minisuperb.PARTS} == {"asr", "sid"}
    for name, entry in found.items():
        config = tasks.read(tasks.path_of(name))
        overrides.override(overrides.render(entry["changes"]), None, config, quiet=True)
        s3prl_names.check_config(config["superb"]["s3prl"], config)
        assert config["runner"]["total_steps"] == 20_000
    assert config["downstream_expert"]["datarc"]["max_timestep"] == 128_000
    assert found["asr"]["learning_rates"] == [1e-4] and found["sid"]["learning_rates"] == [1e-3]
