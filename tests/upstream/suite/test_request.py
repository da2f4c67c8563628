import pytest

from upstream.store.options import StoreOptions
from upstream.suite.suite_request import SuiteRequest, read_rates


def test_the_command_that_retries(tmp_path, monkeypatch):
    (tmp_path / "a b.pt").touch()
    monkeypatch.chdir(tmp_path)
    asked = SuiteRequest("run", "roots.yaml", "a b.pt", tasks="sid,ks", rates=["1e-3", "ks=1e-2"])
    assert asked.names == ["ks", "sid"] and asked.upstream == "mt4ssl"
    assert asked.rates_of == {"ks": [1e-2], "sid": [1e-3]}
    assert asked.command(["ks"]) == (
        f"mt4ssl superb run -k '{tmp_path}/a b.pt' --tasks ks --roots roots.yaml "
        f"--out {tmp_path}/run --rates 1e-3 ks=1e-2"
    )
    other = SuiteRequest("run", "r", upstream="fbank", tasks="ks", smoke=True, executor="slurm",
                    device="cuda", jobs=4, slurm=["partition=gpu"], seed=2,
                    feature_transform="whiten")  # fmt: skip
    assert other.command(["ks"]).endswith(
        "--upstream fbank --smoke --executor slurm --seed 2 --device cuda --jobs 4 "
        "--feature-transform whiten --slurm partition=gpu"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "nothing to score; give a checkpoint, or --upstream"),
        ({"upstream": "mt4ssl_local"}, "needs a checkpoint"),
        ({"ckpt": "/gone.pt"}, r"/gone\.pt: no such checkpoint"),
        ({"upstream": "fbank", "tasks": "kws"}, "did you mean ks"),
        ({"upstream": "fbank", "rates": ["fast"]}, "--rates fast: expected numbers"),
        ({"upstream": "fbank", "rates": ["0"]}, "--rates 0: expected numbers"),
        ({"upstream": "fbank", "rates": ["1e-3", "1e-4"]}, "1e-4: every task has rates already"),
        ({"upstream": "fbank", "rates": ["ks=1e-3", "ks=1e-4"]}, "ks=1e-4: ks has rates already"),
        ({"upstream": "fbank", "set": ["ks"]}, "--set ks: expected TASK:KEY=VALUE"),
        ({"upstream": "fbank", "set": ["er:runner.total_steps=1"]}, "er is not among --tasks"),
        ({"upstream": "fbank", "set": ["ks:runner.totl_steps=1"]}, "mean runner.total_steps"),
        ({"upstream": "fbank", "set": ["ks:runner.total_steps=few"]}, "expected a number"),
        (
            {"upstream": "fbank", "feature_transform": "pca"},
            "--feature-transform pca: give one of none, standardize, whiten",
        ),
        (
            {"upstream": "fbank", "feature_transform": "whiten", "tasks": "ks,qbe"},
            "qbe trains nothing that it could be fitted for; leave it out of --tasks",
        ),
        ({"upstream": "fbank", "stages": ["lm"]}, "--stages lm: none of the tasks"),
    ],
)
def test_mistakes(changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        SuiteRequest(tmp_path, "roots.yaml", **{"tasks": "ks,sid", **changes})


def test_changed_settings():
    words = ["ks:runner.total_steps=5", "ks:optimizer.lr=2e-3", "vc:optimizer.lr=1e-3"]
    asked = SuiteRequest("run", "r", upstream="fbank", tasks="ks,vc", set=words)
    assert asked.changes_of == {"ks": {"runner.total_steps": 5}, "vc": {"optimizer.lr": 1e-3}}
    assert asked.rates_of == {"ks": [2e-3]}  # vc has no choice of rates
    assert asked.command(["ks"]).endswith("--set ks:runner.total_steps=5 ks:optimizer.lr=2e-3")


def test_what_is_asked_of_the_store_is_part_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = StoreOptions("frames", "features", 100.0, "fp32", crops=4, alone=True)
    asked = SuiteRequest("run", "r", upstream="fbank", tasks="ks", store=store)
    assert asked.command(["ks"]).endswith(
        f"--store frames --store-dir {tmp_path}/features --store-gb 100.0 --store-precision fp32 "
        "--store-crops 4 --store-alone"
    )
    assert "--store" not in SuiteRequest("run", "r", upstream="fbank", tasks="ks").command(["ks"])


def test_rates_of_a_task_that_is_not_asked_for():
    with pytest.raises(ValueError, match=r"er is not among --tasks \(ks, sid\)"):
        read_rates(["er=1"], ["ks", "sid"])


def test_a_retry_asks_for_the_evaluations_that_its_tasks_have():
    asked = SuiteRequest("out", "r", upstream="fbank", tasks="asr,ks", stages=["lm"])
    assert asked.command(["asr"]).endswith("--stages lm")
    assert "--stages" not in asked.command(["ks"])
