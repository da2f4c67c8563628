import argparse
from dataclasses import replace
from typing import Any

import pytest
import torch
from superb_data import corpora, tiny_checkpoint

import upstream

upstream.register()

from upstream.door import tasks  # noqa: E402
from upstream.heads import command, states  # noqa: E402
from upstream.heads.task_request import TaskRequest  # noqa: E402
from upstream.store.options import StoreOptions  # noqa: E402

TRAIN = ["-m", "train", "--task", "ks", "-p", "exp"]


def option(asked, name):
    return asked.argv[asked.argv.index(f"--{name}") + 1]


def test_task_and_root_become_s3prls_flags():
    asked = command.resolve([*TRAIN, "--root", str(corpora()), "-u", "fbank", "-s", "x", "-f"])
    assert option(asked, "downstream") == "speech_commands"
    assert option(asked, "config") == str(tasks.path_of("ks"))
    assert f"speech_commands_root='{corpora()}" in option(asked, "override")
    assert asked.argv[-3:] == ["--upstream_feature_selection", "x", "--upstream_trainable"]
    assert not {"--task", "--root"} & set(asked.argv)
    assert asked.expdir is not None and asked.expdir.is_absolute()


def test_python_asks_for_the_same_as_the_command_line():
    words = ["--root", str(corpora()), "-u", "fbank", "--seed", "7", "--store", "off", "-l", "1"]
    asked = TaskRequest(
        mode="train", task="ks", expdir="exp", root=str(corpora()), upstream="fbank"
    )
    more = {"seed": 7, "store": StoreOptions("off"), "others": {"upstream_layer_selection": 1}}
    assert command.settle(replace(asked, **more)) == command.resolve([*TRAIN, *words])
    with pytest.raises(ValueError, match="--seed: -1; must be at least 0"):
        replace(asked, seed=-1)


def test_the_users_own_override_comes_last():
    asked = command.resolve(
        [*TRAIN, "--root", str(corpora()), "-u", "fbank", "-o", "config.optimizer.lr=1"]
    )
    assert option(asked, "override").endswith(",,config.optimizer.lr=1")


def test_device_and_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_checkpoint().parent)
    here = [*TRAIN, "--root", str(corpora())]
    asked = command.resolve([*here, "-u", "mt4ssl", "-k", tiny_checkpoint().name])
    assert option(asked, "device") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert option(asked, "upstream_ckpt") == str(tiny_checkpoint())


def test_a_device_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda': this machine has no usable GPU"):
        command.resolve([*TRAIN, "--root", str(corpora()), "-u", "fbank", "--device", "cuda"])
    with pytest.raises(ValueError, match="'gpu': unknown"):
        command.resolve([*TRAIN, "-u", "fbank", "--device", "gpu"])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--hub", "huggingface"], "--hub huggingface: .* download the model"),
        (["--push_to_hf_hub", "1"], "--push_to_hf_hub"),
        (["-u", "mt4ssl_local"], "needs a checkpoint; give one with -k"),
        (["-u", "mt4ssl", "-k", "gone.pt"], r"gone\.pt: no such checkpoint"),
        (["-u", "fbnk"], "Did you mean fbank"),
        ([], "no upstream; give one with -u"),
        (["-u", "fbank", "-d", "speech_comands"], "s3prl has no such task"),
        (["-u", "fbank", "--task", "ksx"], "Did you mean ks"),
        (["-u", "fbank", "-c", "gone.yaml"], r"gone\.yaml: no such config"),
        (["-u", "fbank", "-o", "optimizer.lr=1"], r"Did you mean config\.optimizer\.lr"),
        (["-u", "fbank", "--root", "gone"], "gone: no such folder"),
        (["-e", "gone.ckpt"], r"gone\.ckpt: no such checkpoint"),
        (["-m", "evaluate", "--then-test"], "--then-test goes with -m train"),
    ],
)
def test_mistakes_are_found_before_anything_is_done(flags, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=says):
        command.resolve([*TRAIN, *flags])
    assert not list(tmp_path.iterdir())


def test_a_task_and_a_folder_are_needed():
    with pytest.raises(ValueError, match="--task"):
        command.resolve(["-m", "train", "-p", "exp", "-u", "fbank"])
    with pytest.raises(ValueError, match="-p DIR"):
        command.resolve(["-m", "train", "--task", "ks", "-u", "fbank"])


def test_another_file_is_not_an_experiment(tmp_path):
    with pytest.raises(ValueError, match="an upstream is given with -u mt4ssl -k"):
        command.resolve(["-m", "evaluate", "-e", str(tiny_checkpoint())])
    (tmp_path / "a.ckpt").write_text("no")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        command.resolve(["-m", "evaluate", "-e", str(tmp_path / "a.ckpt")])
    with pytest.raises(ValueError, match="holds no states"):
        command.resolve(["-m", "evaluate", "-e", str(tmp_path)])


def test_states_in_order_of_steps(tmp_path):
    for step in (9, 100, 20):
        (tmp_path / f"states-{step}.ckpt").touch()
    assert [path.name for path in states.newest(tmp_path)][-1] == "states-100.ckpt"


@pytest.fixture
def experiment(tmp_path):
    """A folder with an s3prl checkpoint of KS with fbank."""
    stored: dict[str, Any] = {"upstream": "fbank", "downstream": "speech_commands"}
    stored |= {"config": str(tasks.path_of("ks")), "expdir": str(tmp_path / "before")}
    config = tasks.read(tasks.path_of("ks"))
    folder = tmp_path / "exp"
    folder.mkdir()
    state = {"Args": argparse.Namespace(**stored), "Config": config, "Step": 2}
    state["Downstream"] = {"w": torch.zeros(1)}
    torch.save(state, folder / "states-2.ckpt")
    return folder


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--task", "sid"], "--task sid: the stored experiment has ks; leave --task out"),
        (["-u", "mfcc"], "-u mfcc: the stored experiment has fbank; leave -u out"),
        (["-d", "ctc"], "-d ctc: the stored experiment has speech_commands; leave -d out"),
        (["-c", "my.yaml"], r"my\.yaml: the stored experiment has .*ks\.yaml; leave -c out"),
    ],
)
def test_what_differs_from_the_stored_experiment_is_named(flags, says, experiment):
    for past in (["-e", str(experiment)], ["-a", "-p", str(experiment)]):
        with pytest.raises(ValueError, match=says):
            command.resolve(["-m", "train", "-p", str(experiment), *past, *flags])


@pytest.mark.parametrize("name", ["a,,b", "a',,config.optimizer.lr='9", ",,args.mode=evaluate"])
def test_a_path_that_would_be_read_as_another_setting_is_refused(name, experiment, tmp_path):
    root = tmp_path / name
    root.symlink_to(corpora())
    argvs = [
        [*TRAIN, "--root", str(root), "-u", "fbank"],
        ["-m", "evaluate", "-e", str(experiment), "-p", str(root)],
    ]
    for argv in argvs:
        with pytest.raises(ValueError, match="two commas in a row; rename the path"):
            command.resolve(argv)


@pytest.mark.parametrize("mode", ["evaluate", "train"])
@pytest.mark.parametrize("name", ["", "states-2.ckpt"])
def test_what_a_head_makes_lies_beside_it_and_not_where_the_head_says(mode, name, experiment):
    argv = ["-m", mode, "-e", str(experiment / name)]
    asked = command.resolve(argv)
    assert option(asked, "override") == f"args.expdir='{experiment}'"
    elsewhere = command.resolve([*argv, "-p", str(experiment.parent / "other")])
    assert option(elsewhere, "override") == f"args.expdir='{experiment.parent / 'other'}'"


def test_what_agrees_with_the_stored_experiment_may_be_repeated(experiment):
    same = ["--task", "ks", "-u", "fbank", "-d", "speech_commands", "-c", str(tasks.path_of("ks"))]
    asked = command.resolve(["-m", "train", "-a", "-p", str(experiment), *same])
    assert option(asked, "override") == f"args.expdir='{experiment}'"
