import argparse
import json
from pathlib import Path

import pytest
from superb_data import FEW_STEPS, SPEED, corpora, save_checkpoint, tiny_checkpoint

from upstream.door import cache, overrides
from upstream.heads import command, experiment, results, runner


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def start(task, expdir, upstream="mt4ssl", ckpt=None, **settings):
    changes = {**FEW_STEPS, **SPEED[task]}
    ckpt = (ckpt or tiny_checkpoint()) if upstream.startswith("mt4ssl") else None
    return runner.run(
        task,
        upstream,
        expdir,
        ckpt=ckpt,
        root=corpora(),
        overrides=changes,
        device="cpu",
        **settings,
    )


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    """An experiment of SID with the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("mix") / "exp"
    start("sid", folder)
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_says_what_it_belongs_to(exp):
    found = json.loads((exp / experiment.FILE).read_text())
    assert found == {
        "task": "sid",
        "upstream": "mt4ssl",
        "fingerprint": cache.file_fingerprint(tiny_checkpoint()),
        "seed": 1337,
        "upstream_trainable": False,
        "feature_transform": "none",
        "upstream_ckpt": str(tiny_checkpoint()),
    }


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("task", "settings", "says"),
    [
        ("sid", {"upstream": "fbank"}, "mt4ssl.*fbank|fbank.*mt4ssl"),
        ("ks", {}, "sid.*ks|ks.*sid"),
        ("sid", {"seed": 7}, "1337.* 7|7: .*1337"),
    ],
)
def test_another_experiment_is_refused_and_changes_nothing(task, settings, says, resume, exp):
    before = files(exp)
    with pytest.raises(ValueError, match=says) as refusal:
        start(task, exp, resume=resume, **settings)
    assert "another" in str(refusal.value)
    kept = files(exp)
    assert {name: kept[name] for name in before} == before


@pytest.mark.parametrize("resume", [False, True])
def test_another_checkpoint_is_refused_by_its_content(resume, exp, tmp_path):
    other = save_checkpoint(tmp_path / "other.pt", seed=2)
    prints = [cache.file_fingerprint(path) for path in (tiny_checkpoint(), other)]
    says = rf"checkpoint \(-k\) .*tiny\.pt .*{prints[0]}.*other\.pt .*{prints[1]}.*-p"
    with pytest.raises(ValueError, match=says):
        start("sid", exp, ckpt=other, resume=resume)
    argv = ["-m", "evaluate", "-e", str(exp), "-k", str(other), "-p", str(tmp_path / "new")]
    with pytest.raises(ValueError, match=says):
        runner.launch(command.resolve(argv))
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_overwritten_since_is_another_one(exp, tmp_path):
    moving = tmp_path / "last.pt"
    moving.write_bytes(tiny_checkpoint().read_bytes())
    start("sid", tmp_path / "exp", ckpt=moving)
    save_checkpoint(moving, seed=2)
    with pytest.raises(ValueError, match=r"last\.pt .*last\.pt"):
        start("sid", tmp_path / "exp", ckpt=moving, resume=True)


def test_flags_of_another_experiment_are_refused_when_going_on(exp):
    for flags in (["-f"], ["-s", "last_hidden_state"], ["-l", "0"], ["--seed", "0"]):
        argv = ["-m", "train", "-a", "-p", str(exp), *flags]
        with pytest.raises(ValueError, match=f"--.* {flags[-1] if flags[1:] else True}: "):
            command.resolve(argv)
    command.resolve(["-m", "train", "-a", "-p", str(exp), "--seed", "1337"])


def test_fine_tuning_in_the_folder_of_a_frozen_upstream_is_refused(exp):
    argv = ["-m", "train", "--task", "sid", "--root", str(corpora()), "-u", "mt4ssl", "-f"]
    argv += ["-k", str(tiny_checkpoint()), "-p", str(exp), "--device", "cpu"]
    argv += ["-o", overrides.render({**FEW_STEPS, **SPEED["sid"]})]
    with pytest.raises(ValueError, match=r"fine-tuning \(-f\) False, but asked for is True"):
        runner.launch(command.resolve(argv))


def test_a_description_that_cannot_be_read_is_named(tmp_path):
    for text, says in (("{", "valid JSON"), ("[" * 10**5, "JSON"), ("[]", "an experiment's desc")):
        (tmp_path / experiment.FILE).write_text(text)
        with pytest.raises(
            ValueError, match=rf"experiment\.json: .*{says}.*another folder with -p"
        ):
            experiment.read(tmp_path)


def test_an_experiment_older_than_descriptions_is_not_given_one_by_an_evaluation(tmp_path):
    args = argparse.Namespace(mode="evaluate", past_exp="x", expdir=str(tmp_path))
    args.init_ckpt = str(tmp_path / "states-2.ckpt")
    experiment.record(args, {"task": "ks"})
    assert not list(Path(tmp_path).iterdir())
    args.mode = "train"
    experiment.record(args, {"task": "ks"})
    assert experiment.read(tmp_path) == {"task": "ks"}
    assert results.read(tmp_path) == []
