"""The whole suite on toy tasks, with what s3prl does made up; and in small with s3prl itself."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import superb_data
import toy
import toy_suite
import yaml
from toy_suite import Launcher

import mt4ssl_cli
from mt4ssl_core.locks import lock
from upstream.heads import results
from upstream.store.options import StoreOptions
from upstream.suite import jobs, preparation, run_folder, suite
from upstream.suite.suite_request import SuiteRequest
from upstream.suite.upstream_trial import Probe

ALL = ["every", "fold", "layer", "lm", "none", "rate"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    return toy_suite.make_tasks(tmp_path, monkeypatch)


@pytest.fixture
def launcher(monkeypatch):
    made = Launcher()
    monkeypatch.setattr(jobs, "_launch", made)
    return made


def request(root, tasks="all", **changes):
    asked = {"upstream": "fbank", "tasks": tasks, "executor": "inline", **changes}
    return SuiteRequest(root.parent / "run", str(root), **asked)


def records(root):
    return {
        (record["task"], record["stage"]): record
        for record in run_folder.read_results(root.parent / "run")
    }


def test_every_task_gives_its_records_and_nothing_is_done_twice(root, launcher, capsys):
    assert suite.run(request(root, stages=["lm"])) == 0
    found = records(root)
    assert {task for task, _ in found} == set(ALL) and ("lm", "lm") in found
    rate = found["rate", "test"]
    assert (rate["metric"], rate["value"], rate["unit"]) == ("acc", 0.82, "fraction")
    assert (rate["direction"], rate["rate"], rate["layer"], rate["step"]) == ("max", 0.01, None, 20)
    assert rate["tried"] == [
        {"rate": 0.1, "layer": None, "dev": 0.32},
        {"rate": 0.01, "layer": None, "dev": 0.82},
        {"rate": 0.001, "layer": None, "dev": 0.52},
    ]
    assert (rate["seed"], rate["smoke"], rate["upstream"]) == (1337, False, "fbank")
    assert rate["corpus"] == toy_suite.corpus() and rate["variants"] is None
    assert all((r["params"], r["macs"]) == (1000, 2000) for r in found.values())
    assert found["fold", "test"]["variants"] == {
        "f1": {"value": 0.82, "step": 20},
        "f2": {"value": 0.82, "step": 20},
    }
    assert found["layer", "test"]["layer"] == 1 and found["layer", "test"]["train_seconds"] == 0
    assert found["every", "test"]["value"] == pytest.approx(0.18)
    assert found["none", "test"]["rate"] == 1e-3  # of the config
    shown = capsys.readouterr().out
    assert "layer 1 of 3" in shown and "lr 0.01 of 3" in shown and "acc (lm)" in shown
    asked, written = len(launcher.asked), (root.parent / "run" / "results.jsonl").stat().st_mtime_ns
    assert suite.run(request(root)) == 0
    assert len(launcher.asked) == asked
    assert (root.parent / "run" / "results.jsonl").stat().st_mtime_ns == written


def test_a_smoke_run_is_marked_and_shortened(root, launcher):
    assert suite.run(request(root, "rate,layer", smoke=True)) == 0
    found = records(root)
    assert all(record["smoke"] for record in found.values())
    (train,) = [asked for asked in launcher.asked if asked.mode == "train"]
    assert train.changes["runner.total_steps"] == 4
    assert train.changes["optimizer.lr"] == 1e-3  # one rate, the config's
    layers = [a.others["upstream_layer_selection"] for a in launcher.asked if a.task == "layer"]
    assert layers == [0, 2, 0]  # the first and the last on dev, one of them on test
    with pytest.raises(ValueError, match=r"fbank, seed 1337, smoke; asked for is fbank, seed 1337"):
        suite.run(request(root, "rate"))


def test_a_failed_job_does_not_stop_the_rest(root, launcher, monkeypatch, capsys):
    broken = True

    def launch(asked):
        if broken and "rate/lr_0.01" in f"{asked.expdir} {asked.past_exp}":
            raise RuntimeError("CUDA out of memory\nTried to allocate")
        launcher(asked)

    monkeypatch.setattr(jobs, "_launch", launch)
    assert suite.run(request(root, "rate,none")) == 1
    assert set(records(root)) == {("none", "test")}
    said = capsys.readouterr().err
    out = root.parent / "run"
    for part in (
        "1 job(s) failed:",
        "rate/lr_0.01: RuntimeError: CUDA out of memory\n",
        str(out / "logs" / "rate.lr_0.01.log"),
        f"mt4ssl superb run --tasks rate --roots {root} --out {out} --upstream fbank",
    ):
        assert part in said
    asked = len(launcher.asked)
    broken = False
    assert suite.run(request(root, "rate,none")) == 0
    assert [a.mode for a in launcher.asked[asked:]] == ["train", "evaluate"]
    assert set(records(root)) == {("none", "test"), ("rate", "test")}


class Counting:
    """An executor that counts its batches."""

    slots = 1

    def __init__(self, *_):
        self.batches = []

    def start(self, batch):
        self.batches.append(batch.jobs)
        return suite.executors.Inline().start(batch)


@pytest.fixture
def counting(monkeypatch):
    made = Counting()
    monkeypatch.setattr(suite.executors, "make", lambda *_: made)
    return made


FRAMES = StoreOptions("frames", precision="fp32")


def test_candidates_that_share_features_are_trained_in_one_process(root, launcher, counting):
    assert suite.run(request(root, "rate,fold,layer", store=FRAMES)) == 0
    assert [batch[0].split("/")[0] for batch in counting.batches] == ["fold", "layer", "rate"]
    assert counting.batches[-1] == ["rate/lr_0.1", "rate/lr_0.01", "rate/lr_0.001", "rate/test"]
    folds = [f"fold/f{fold}/lr_0.{rate}" for rate in ("1", "01") for fold in (1, 2)]
    assert counting.batches[0] == [*folds, "fold/f1/test", "fold/f2/test"]


def test_without_stored_features_each_candidate_is_a_process(root, launcher, counting, monkeypatch):
    assert suite.run(request(root, "rate")) == 0  # auto: not a pooled task
    assert len(counting.batches) == 4
    depends = Probe(layers=3, dim=8, batch_dependent=True)
    monkeypatch.setattr(suite, "try_upstream", lambda *_: depends)
    assert suite.run(request(root, "fold", store=FRAMES)) == 0
    assert len(counting.batches) == 4 + 6


def test_a_failed_candidate_beside_others(root, launcher, counting, monkeypatch, capsys):
    broken = True

    def launch(asked):
        if broken and asked.expdir.endswith("rate/lr_0.1"):
            raise RuntimeError("CUDA out of memory")
        launcher(asked)

    monkeypatch.setattr(jobs, "_launch", launch)
    assert suite.run(request(root, "rate", store=FRAMES)) == 1
    assert [a.expdir.rsplit("/")[-1] for a in launcher.asked] == ["lr_0.01", "lr_0.001"]
    said = capsys.readouterr().err
    assert "1 job(s) failed:" in said and "rate/lr_0.1: RuntimeError: CUDA out of memory" in said
    assert "--store frames --store-precision fp32" in said  # the command that retries
    broken = False
    assert suite.run(request(root, "rate", store=FRAMES)) == 0
    assert counting.batches[-1] == ["rate/lr_0.1", "rate/test"]


def test_results_say_what_of_the_store_is_in_them(root, launcher, capsys):
    launcher.store = {"kind": "frames", "precision": "fp16", "exactness": "near-exact",
                      "alone": False, "crops": None}  # fmt: skip
    suite.run(request(root, "rate", store=StoreOptions("frames")))
    assert records(root)["rate", "test"]["store"] == launcher.store
    assert "mini, features stored in fp16" in capsys.readouterr().out
    launcher.store = None
    suite.run(request(root, "none", store=StoreOptions("off")))
    assert records(root)["none", "test"]["store"] is None


def test_heads_of_a_store_that_is_not_exact_are_not_mixed_with_exact_ones(root, launcher):
    suite.run(request(root, "rate"))
    suite.run(request(root, "rate", store=FRAMES))  # exact: the same
    half = StoreOptions("frames")
    with pytest.raises(ValueError, match=r"made with another store \(precision None, now fp16\)"):
        suite.run(request(root, "rate", store=half))
    suite.run(request(root, "none", store=half))
    with pytest.raises(ValueError, match=r"made with another store \(precision fp16, now None\)"):
        suite.run(request(root, "none"))


def test_an_interruption_anywhere_changes_nothing_in_the_end(root, launcher, monkeypatch):
    """Interrupted before every third call of s3prl, and run again."""
    calls = itertools.count()

    def launch(asked):
        if next(calls) % 3 == 0:
            raise KeyboardInterrupt
        launcher(asked)

    monkeypatch.setattr(jobs, "_launch", launch)
    for _ in range(30):
        try:
            assert suite.run(request(root, "fold,every")) == 0
            break
        except KeyboardInterrupt:
            continue
    assert records(root)["fold", "test"]["value"] == 0.82
    assert records(root)["every", "test"]["step"] == 20
    keys = [(a.expdir, a.stage, a.others.get("evaluate_split")) for a in launcher.asked]
    trained = [key for key, a in zip(keys, launcher.asked, strict=True) if a.mode != "train"]
    assert len(set(trained)) == len(trained)  # no evaluation was done twice


def test_an_interruption_while_results_are_written(root, launcher, monkeypatch):
    suite.run(request(root, "none"))
    before = (root.parent / "run" / "results.jsonl").read_text()

    def cut_off(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_folder, "write_text", cut_off)
        suite.run(request(root, "none,rate"))
    assert (root.parent / "run" / "results.jsonl").read_text() == before
    asked = len(launcher.asked)
    assert suite.run(request(root, "none,rate")) == 0
    assert len(launcher.asked) == asked and len(records(root)) == 2


def test_more_rates_choose_again_and_other_settings_are_refused(root, launcher, tmp_path):
    for rate in ("1e-1", "1e-2"):  # also a rate that was once the only one is chosen by dev
        suite.run(request(root, "rate", rates=[rate]))
        assert records(root)["rate", "test"]["rate"] == float(rate)
    asked = len(launcher.asked)
    suite.run(request(root, "rate"))
    assert records(root)["rate", "test"]["rate"] == 0.01
    assert [a.mode for a in launcher.asked[asked:]] == ["train"]
    path = tmp_path / "tasks" / "rate.yaml"
    config = yaml.safe_load(path.read_text())
    config["runner"]["total_steps"] = 7
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"rate/lr_0\.\d+ was made with another config"):
        suite.run(request(root, "rate"))


def test_a_transform_of_features_is_asked_of_every_job_and_never_mixed(root, launcher):
    suite.run(request(root, "none", feature_transform="whiten"))
    assert {asked.feature_transform for asked in launcher.asked} == {"whiten"}
    with pytest.raises(ValueError, match=r"another feature_transform \(whiten, now None\)"):
        suite.run(request(root, "none"))


@pytest.fixture
def uneven(launcher, monkeypatch):
    """Heads of seed 1338 are worse by .1 in testing; yields what was asked for."""

    def launch(asked):
        launcher(asked)
        if asked.mode == "evaluate" and "seed_1338" in str(asked.expdir):
            found = results.read(asked.expdir)
            results.write(asked.expdir, [{**r, "value": r["value"] - 0.1} for r in found])

    monkeypatch.setattr(jobs, "_launch", launch)
    return launcher.asked


def test_every_seed_is_trained_chosen_and_tested(root, uneven, capsys):
    assert suite.run(request(root, "fold,rate", seeds=3)) == 0
    trained = [asked.seed for asked in uneven if asked.mode == "train" and asked.task == "rate"]
    assert sorted(trained) == [1337] * 3 + [1338] * 3 + [1339] * 3
    found = records(root)
    rate, fold = found["rate", "test"], found["fold", "test"]
    assert rate["value"] == pytest.approx((0.82 + 0.72 + 0.82) / 3)
    assert rate["deviation"] == pytest.approx(0.1 / 3**0.5)
    assert (rate["seed"], rate["step"], rate["rate"]) == (1337, None, 0.01)
    assert {seed: each["value"] for seed, each in rate["seeds"].items()} == pytest.approx(
        {"1337": 0.82, "1338": 0.72, "1339": 0.82}
    )
    assert rate["seeds"]["1338"]["rate"] == 0.01
    assert fold["seeds"]["1338"]["variants"]["f1"]["value"] == pytest.approx(0.72)
    assert fold["value"] == pytest.approx(rate["value"])
    shown = capsys.readouterr().out
    assert "0.7867 ±0.058" in shown and "3 seeds" in shown
    out = root.parent / "run"
    assert (out / "rate" / "seed_1339" / "lr_0.01").is_dir() and (out / "rate" / "lr_0.01").is_dir()


def test_seeds_are_added_to_what_is_there_and_stay(root, uneven):
    assert suite.run(request(root, "rate")) == 0
    single, asked = records(root)["rate", "test"], len(uneven)
    assert "seeds" not in single and "deviation" not in single
    assert suite.run(request(root, "rate", seeds=2)) == 0
    assert {each.seed for each in uneven[asked:] if each.mode == "train"} == {1338}
    both, asked = records(root)["rate", "test"], len(uneven)
    assert both["value"] == pytest.approx(0.77)
    assert suite.run(request(root, "rate")) == 0
    assert len(uneven) == asked and records(root)["rate", "test"] == both


def test_what_trains_nothing_has_no_seeds(root, uneven):
    assert suite.run(request(root, "layer", seeds=3)) == 0
    assert "seeds" not in records(root)["layer", "test"]


def test_a_seed_whose_head_failed_does_not_stop_the_others(root, launcher, monkeypatch, capsys):
    def launch(asked):
        if "seed_1338" in str(asked.expdir):
            raise RuntimeError("CUDA out of memory")
        launcher(asked)

    monkeypatch.setattr(jobs, "_launch", launch)
    assert suite.run(request(root, "rate", seeds=2)) == 1
    assert "--seeds 2" in capsys.readouterr().err
    state = run_folder.read_state(root.parent / "run", "rate/test")
    assert state["state"] == "done"
    assert ("rate", "test") not in records(root)


@pytest.mark.parametrize("seeds", [0, -1, 101, 1.5, True])
def test_a_number_of_seeds_that_cannot_be(root, seeds):
    with pytest.raises(ValueError, match=r"--seeds .*: give a whole number from 1 to 100"):
        request(root, "rate", seeds=seeds)


def test_other_heads_lie_beside_the_official_ones(root, launcher, capsys):
    with pytest.raises(ValueError, match=r"--heads deep: there is no such head of none; leave"):
        request(root, "rate,none", heads=["official,deep"])
    assert suite.run(request(root, "rate", heads=["official,deep"])) == 0
    out = root.parent / "run"
    deep = run_folder.read_results(out / "heads_deep")
    assert [(r["task"], r["heads"]) for r in deep] == [("rate", "deep")]
    assert deep[0]["overrides"] == {"downstream_expert.datarc.batch_size": 8}
    assert "heads" not in records(root)["rate", "test"]
    assert "deep heads" in capsys.readouterr().out
    asked = launcher.asked[-1]
    assert str(asked.expdir).startswith(str(out / "heads_deep"))
    again = request(root, "rate", heads=["deep"]).of_kind("deep")
    assert again.command(["rate"]).endswith("--executor inline --heads deep")
    assert f"--out {out} " in again.command(["rate"])
    launched = len(launcher.asked)
    assert suite.run(request(root, "all", heads=["deep"])) == 0  # those tasks that have some
    assert len(launcher.asked) == launched
    with pytest.raises(ValueError, match=r"--heads dep: choose .* Did you mean deep\?"):
        request(root, "rate", heads=["dep"])


def test_another_corpus_is_refused(root, launcher, monkeypatch):
    suite.run(request(root, "none"))
    real = {"none": toy_suite.corpus("real")}
    monkeypatch.setattr(preparation, "prepare", lambda *_: (real, {}))
    with pytest.raises(ValueError, match=r"another corpus \(kind mini, now real\)"):
        suite.run(request(root, "none"))


def test_mistakes_are_found_before_anything_starts(root, launcher, tmp_path, monkeypatch):
    path = tmp_path / "tasks" / "rate.yaml"
    config = yaml.safe_load(path.read_text())
    config["superb"] |= {"packages": ["no_such_package"], "extra": "superb-sg"}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        ValueError, match=r'rate: needs no_such_package; install.*ssl\[superb-sg\]"'
    ):
        suite.run(request(root, "rate"))
    with pytest.raises(ValueError, match="no such file or folder"):
        suite.run(SuiteRequest(root.parent / "run", "/gone.yaml", upstream="fbank", tasks="none"))
    (root.parent / "run").mkdir()
    (root.parent / "run" / "results.jsonl").write_text('{"task')
    with pytest.raises(ValueError, match=r"holds other files and no suite\.json"):
        suite.run(request(root, "none"))
    shutil.rmtree(root.parent / "run")

    def broken(*_):
        raise ValueError("2 problem(s) with the corpora")

    monkeypatch.setattr(preparation, "prepare", broken)
    with pytest.raises(ValueError, match="2 problem"):
        suite.run(request(root, "none"))
    assert not (root.parent / "run").exists() and not launcher.asked


@pytest.mark.parametrize("fault", ["corpus", "line", "package"])
def test_an_impossible_task_costs_the_others_nothing(fault, root, launcher, monkeypatch, capsys):
    file = root.parent / "roots.yaml"
    file.write_text(f"all: {root}\n" if fault != "line" else f"none: {root}\nrate: {root}/gone\n")
    if fault == "corpus":
        made = {"none": toy_suite.corpus()}
        monkeypatch.setattr(preparation, "prepare", lambda *_: (made, {"rate": ["a.wav: cut off"]}))
    if fault == "package":
        lacking = {"rate": ["needs no_such_package; install it"]}
        monkeypatch.setattr(preparation, "lacking_packages", lambda names: lacking)
    asked = SuiteRequest(root.parent / "run", str(file), upstream="fbank", tasks="none,rate")
    asked.executor = "inline"
    assert suite.run(asked) == 1
    said = capsys.readouterr().err
    why = {"corpus": "a.wav: cut off", "line": "gone is not there", "package": "no_such_package"}
    assert said.count("1 task(s) left out (1 problem(s)):") == 2  # first and last
    assert f"rate: {why[fault]}" in said or why[fault] in said
    assert [r["task"] for r in run_folder.read_results(root.parent / "run")] == ["none"]


def test_the_command_lines_errors(capsys, tmp_path):
    for words, says in (
        (["run", "--roots", "r", "--out", "o"], "nothing to score"),
        (["run", "--roots", "r", "--out", "o", "-u", "fbank", "--tasks", "kws"], "did you mean ks"),
        (["run", "-k", "/gone.pt", "--roots", "r", "--out", "o"], "no such checkpoint"),
        (["prepare", "--tasks", "ks"], "give the corpus with --root"),
        (["prepare", "--tasks", "ks", "--root", "/gone"], "no such file or folder"),
        (["doctor", "--roots", "/gone"], "no such file or folder"),
        (["submit", str(tmp_path)], "no suite.json here"),
    ):
        assert mt4ssl_cli.main(["superb", *words]) == 2
        assert says in capsys.readouterr().err


def test_the_command_lines_store(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(suite, "run", lambda asked: seen.append(asked) or 0)
    words = ["run", "--roots", "r", "--out", "o", "-u", "fbank", "--store", "frames"]
    words += ["--store-dir", str(tmp_path), "--store-gb", "5", "--store-crops", "8"]
    assert mt4ssl_cli.main(["superb", *words]) == 0
    assert seen[0].store == StoreOptions("frames", str(tmp_path), 5.0, crops=8)


@pytest.fixture
def corpora():
    """PR and IC, tiny."""
    for name in ("ic", "pr"):
        superb_data.corpus(name)
    return superb_data.folder() / "mini"


def command(corpora, out, *words):
    return toy.cli("superb", "run", *words, "--roots", corpora, "--out", out, "--smoke",
                   "--device", "cpu")  # fmt: skip


@pytest.mark.slow
def test_a_real_smoke_run_that_is_killed_in_the_middle(corpora, tmp_path):
    """Killed, not asked to end; its processes end with it, and what was done is not repeated."""
    words = command(
        corpora, tmp_path / "run", "-k", superb_data.tiny_checkpoint(), "--tasks", "ic,pr"
    )
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    jobs_folder = tmp_path / "run" / "jobs"
    deadline = time.monotonic() + 300
    while not list(jobs_folder.glob("ic.*.json")):  # PR comes first, and is done
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in jobs_folder.glob("pr.*.json")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    after = {p.name: p.stat().st_mtime_ns for p in jobs_folder.glob("pr.*.json")}
    assert before == after and len(before) == 2
    found = run_folder.read_results(tmp_path / "run")
    assert [record["task"] for record in found] == ["pr", "ic"]
    assert all(record["smoke"] and record["corpus"]["kind"] == "mini" for record in found)
    assert "ic" in done.stdout and "mini, smoke" in done.stdout


@pytest.mark.slow
def test_ctrl_c_ends_everything_and_the_same_command_goes_on(corpora, tmp_path):
    words = command(corpora, tmp_path / "run", "--upstream", "fbank", "--tasks", "ic")
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell in the background ignores SIGINT, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    state = tmp_path / "run" / "jobs" / "ic.lr_0.0001.json"
    deadline = time.monotonic() + 300
    while not state.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and "the same command goes on" in said
    assert json.loads(state.read_text())["state"] == "running"
    with lock(state.with_suffix(".lock"), "job"):  # no process has the job any more
        pass
    assert subprocess.run(words, capture_output=True, timeout=300).returncode == 0
    assert [record["task"] for record in run_folder.read_results(tmp_path / "run")] == ["ic"]
