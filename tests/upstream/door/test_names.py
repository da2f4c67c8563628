"""No setting is run as code, whatever it comes from."""

import argparse
import ast
import builtins
import copy
import functools
import importlib
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from superb_data import Bomb, corpora

import upstream

upstream.register()

from upstream import compat  # noqa: E402
from upstream.compat import no_code  # noqa: E402
from upstream.door import s3prl_names, tasks  # noqa: E402
from upstream.heads import command, runner  # noqa: E402
from upstream.suite import suite_request  # noqa: E402

CODE = "__import__('pathlib').Path('{}/ran').touch()"
ARGS = {"mode": "evaluate", "evaluate_split": "test", "hub": "torch"}


def leaves(known, prefix=""):
    """Every dotted key whose value s3prl turns into code, and what it may be."""
    for key, allowed in known.items():
        if isinstance(allowed, s3prl_names.KnownNames):
            yield f"{prefix}{key}", allowed
        elif f".{key}." not in prefix:  # a head may hold heads
            yield from leaves(allowed, f"{prefix}{key}.")


def put(config, key, value):
    *path, last = key.split(".")
    for name in path:
        config = config.setdefault(name, {})
    config[last] = value


CASES = [
    (task, f"downstream_expert.{key}")
    for task in tasks.names()
    for key, _ in leaves(s3prl_names.TASKS[tasks.header(task)["s3prl"]])
]
SHARED = ["runner.train_dataloader", "runner.eval_dataloaders"]
SHARED += ["optimizer.name", "optimizer.torch_optim_name", "scheduler.name"]
CASES += [(task, key) for task in ("ks", "sd", "vc") for key in SHARED]


@pytest.mark.parametrize("value", [None, [], "x", 3])
@pytest.mark.parametrize(
    "key", ["runner", "optimizer", "downstream_expert", "downstream_expert.datarc"]
)
def test_a_section_that_is_none_is_named(key, value):
    config: dict = {}
    put(config, key, value)
    with pytest.raises(ValueError, match=rf"config\.{key}: .*is not a section; give keys"):
        s3prl_names.check_config("speech_commands", config)


@pytest.mark.parametrize("task", tasks.names())
def test_the_settings_that_are_shipped_are_known(task):
    config = tasks.read(tasks.path_of(task))
    split = "test-clean" if task == "asr" else "test"
    asked = {**ARGS, "downstream": config["superb"]["s3prl"], "evaluate_split": split}
    s3prl_names.check(argparse.Namespace(**asked), config)
    for settings in (config["superb"]["smoke"], config["superb"]["learn"]):
        changed = copy.deepcopy(config)
        for key, value in settings.items():
            put(changed, key, value)
        s3prl_names.check_config(config["superb"]["s3prl"], changed)


@pytest.mark.parametrize(("task", "key"), CASES)
def test_anything_but_a_known_name_is_refused(task, key, tmp_path):
    config = tasks.read(tasks.path_of(task))
    code = CODE.format(tmp_path)
    for value in (code, "os.system", "exit", [code], {"a": 1}, True, b"LSTM"):
        put(config, key, value)
        with pytest.raises(ValueError, match="is not known to s3prl and is not run") as raised:
            s3prl_names.check_config(config["superb"]["s3prl"], config)
        assert f"config.{key}: " in str(raised.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "__class__"},
        {"evaluate_split": CODE},
        {"downstream": "..hub"},
        {"downstream": "no_such"},
        {"hub": "huggingface"},
        {"from_hf_hub": True},
    ],
)
def test_arguments_are_names_too(changes):
    config = tasks.read(tasks.path_of("ks"))
    args = argparse.Namespace(**{**ARGS, "downstream": "speech_commands", **changes})
    with pytest.raises(ValueError, match=f"args.{next(iter(changes))}: "):
        s3prl_names.check(args, config)


@pytest.mark.parametrize("task", sorted({tasks.header(task)["s3prl"] for task in tasks.names()}))
def test_every_eval_of_an_expert_is_guarded(task):
    """Also of the modules that it imports."""
    compat.install_for(task)
    importlib.import_module(f"s3prl.downstream.{task}.expert")
    for name, module in list(sys.modules.items()):
        if name.startswith("s3prl.") and getattr(module, "__file__", None):
            assert "eval" not in calls(module.__file__) or module.eval is no_code.lookup, name
            assert "exec" not in calls(module.__file__), name
            assert vars(module).get("pickle") is not pickle, name


@functools.cache
def calls(path):
    """The names of the functions that a file calls."""
    nodes = ast.walk(ast.parse(Path(path).read_text()))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return {function.id for function in called if isinstance(function, ast.Name)}


def evaluated(monkeypatch):
    """What reaches the real eval from now on."""
    seen, real = [], builtins.eval

    def watched(text, *scopes):
        seen.append(text)
        return real(text, *scopes)

    monkeypatch.setattr(no_code, "builtins", SimpleNamespace(eval=watched))
    monkeypatch.setattr(builtins, "eval", watched)
    return seen


@pytest.mark.parametrize(
    "text",
    [
        *(
            "os.system('true')",
            "__import__('os')",
            "[x for x in (1,)]",
            "lambda: 1",
            "a if b else c",
        ),
        *(
            "f'{exit()}'",
            "().__class__",
            "self.__dict__",
            "[0] * 10**9",
            "[0] * 1000 * 1000 * 1000",
        ),
        *("'a' 'b'.join([])", "(" * 500, "x := 1", "", 3, None, b"1", "a;b", "{1: 2}", "9" * 3000),
    ],
)
def test_code_never_reaches_eval(text, monkeypatch):
    seen = evaluated(monkeypatch)
    with pytest.raises(ValueError, match="s3prl would run"):
        no_code.lookup(text)
    assert seen == []


def test_names_numbers_and_lists_of_them_are_looked_up():
    import math  # noqa: F401, seen by what is evaluated

    box = SimpleNamespace(layers=[SimpleNamespace(get_dev=5)])  # noqa: F841
    assert no_code.lookup("box.layers[0].get_dev") == 5
    assert no_code.lookup("-math.inf") == float("-inf")
    convs = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    assert len(no_code.lookup(convs)) == 7
    assert no_code.lookup("a", {"a": 1}) == 1


def stored_head(folder, **changes):
    """A head of KS that somebody else has stored."""
    config = tasks.read(tasks.path_of("ks"))
    for key, value in tasks.paths_under(config["superb"], corpora()).items():
        put(config, key, value)
    args = {**ARGS, "mode": "train", "upstream": "fbank", "upstream_ckpt": None}
    args |= {"downstream": "speech_commands", "config": None, "expdir": str(folder / "exp")}
    args |= {"seed": 1, "upstream_trainable": False, "upstream_layer_selection": None}
    for key, value in changes.items():
        if key.startswith("config."):
            put(config, key.removeprefix("config."), value)
        else:
            args[key] = value
    state = {"Args": argparse.Namespace(**args), "Config": config, "Step": 2}
    state["Downstream"] = {"w": torch.zeros(1)}
    torch.save(state, folder / "states-2.ckpt")
    return folder / "states-2.ckpt"


@pytest.mark.parametrize(
    "key",
    [
        "config.downstream_expert.modelrc.select",
        "config.downstream_expert.modelrc.UtteranceLevel.pooling",
        "config.optimizer.name",
        "hub",
        "downstream",
    ],
)
def test_a_stored_head_runs_no_code(key, tmp_path, monkeypatch):
    head = stored_head(tmp_path, **{key: CODE.format(tmp_path)})
    seen = evaluated(monkeypatch)
    with pytest.raises(ValueError, match="is not known to s3prl"):
        runner.launch(command.resolve(["-m", "evaluate", "-e", str(head)]))
    assert seen == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["-o", "config.downstream_expert.modelrc.select={}"],
        ["-o", "args.mode={}"],
        ["-t", "{}"],
        ["-c", "my.yaml"],
    ],
)
def test_no_word_of_a_command_line_is_run(flags, tmp_path, monkeypatch):
    code = CODE.format(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = tasks.read(tasks.path_of("ks"))
    put(config, "downstream_expert.modelrc.select", code)
    Path("my.yaml").write_text(yaml.safe_dump(config))
    argv = ["-m", "evaluate", "--task", "ks", "--root", str(corpora()), "-u", "fbank", "-p", "exp"]
    seen = evaluated(monkeypatch)
    with pytest.raises(ValueError, match="is not known to s3prl"):
        runner.launch(command.resolve(argv + [flag.replace("{}", code) for flag in flags]))
    assert seen == []
    assert not (tmp_path / "ran").exists()


def test_set_takes_known_names_only():
    with pytest.raises(ValueError, match=r"modelrc\.select: 'exit' is not known to s3prl"):
        suite_request.read_changes(["ks:downstream_expert.modelrc.select=exit"], ["ks"])
    assert suite_request.read_changes(["ks:optimizer.torch_optim_name=AdamW"], ["ks"])


def test_s3prl_unpickles_plain_data_only(tmp_path):
    module = importlib.import_module("s3prl.downstream.sv_voxceleb1.utils")
    torch.save({"a": Bomb(tmp_path / "ran")}, tmp_path / "bad.pt")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([Bomb(tmp_path / "ran")]))
    (tmp_path / "good.pkl").write_bytes(pickle.dumps({"a": [1, "b"]}))
    load = "load = lambda path: torch.load(path, weights_only=False)"
    scope = {"__name__": "s3prl.upstream.mockingjay.builder", "torch": torch}
    exec(load, scope)
    with pytest.raises(pickle.UnpicklingError):
        scope["load"](tmp_path / "bad.pt")
    with open(tmp_path / "bad.pkl", "rb") as file, pytest.raises(ValueError, match="plain lists"):
        module.pickle.load(file)
    with open(tmp_path / "good.pkl", "rb") as file:
        assert module.pickle.load(file) == {"a": [1, "b"]}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("line", ["touch {}/ran |", "touch {}/ran|", "-"])
def test_commands_in_wav_scp_are_not_run(line, tmp_path):
    compat.install_for("diarization")
    from s3prl.downstream.diarization import dataset

    (tmp_path / "wav.scp").write_text(f"rec1 {line.format(tmp_path)}\n")
    for name, text in {
        "segments": "utt rec1 0 1\n", "utt2spk": "utt a\n", "reco2dur": "rec1 1\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"wav\.scp: rec1: .* commands are not run"):
        dataset.KaldiData(str(tmp_path))
    assert not (tmp_path / "ran").exists()
