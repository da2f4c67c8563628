import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import reference
import torch
import toy

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.data.shards import shard_writer
from mt4ssl_core.distributed import World
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.state import Training

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
MONITORED = ("effective_rank", "uniformity", "silhouette", "davies_bouldin")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(a, b, path=""):
    """Every tensor and number of two checkpoints is bitwise equal (times of day aside)."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - {"wall_hours", "out", "workers"}:
            same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{path}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def test_a_run_learns_logs_and_validates(data, tmp_path):
    cfg = toy.configuration(data, tmp_path / "run", optim__max_updates=60, run__validate_every=30)
    last = pretrain(cfg)
    records = read_jsonl(tmp_path / "run" / "log.jsonl")
    training = [r for r in records if "loss" in r]
    assert [r["update"] for r in training] == list(range(1, 61))
    wanted = {
        "offline/loss", "offline/accuracy", "offline/code_perplexity", "online/loss",
        "online/target_var", "online/pred_var", "online/ema_decay", "grad_norm", "lr", "padding",
        "masked_share", "audio_seconds_per_s", "audio_hours", "wall_hours", "epoch",
    }  # fmt: skip
    assert wanted <= training[-1].keys()
    assert training[-1]["loss"] < 0.9 * training[0]["loss"]
    assert 0.3 < training[-1]["masked_share"] < 0.6 and 0 <= training[-1]["padding"] < 0.1
    held_out = [r for r in records if "valid/loss" in r]
    assert [r["update"] for r in held_out] == [30, 60]
    assert all(1 < r["valid/effective_rank/last"] <= 16 for r in held_out)
    assert all(-8 <= r["valid/uniformity"] <= 0 for r in held_out)
    assert all(-1 <= r["valid/offline/silhouette"] <= 1 for r in held_out)
    assert all(r["valid/offline/davies_bouldin"] > 0 for r in held_out)
    assert all(0 < r["valid/offline/entropy"] <= math.log(toy.CLASSES) for r in held_out)
    assert all(1 <= r["valid/offline/label_perplexity"] <= toy.CLASSES for r in held_out)
    assert not [key for r in training for key in r if "entropy" in key or "label_per" in key]
    state = checkpoint.load(last)
    assert config.from_dict(state["config"]) == cfg
    best = min(r["valid/offline/loss"] for r in held_out)
    assert state["progress"]["best"] == pytest.approx(best, 1e-5)
    amounts = records[0]
    assert amounts["train_hours"] > 0.005 and amounts["left_out"] == []
    assert (tmp_path / "run" / "best.pt").exists() and (tmp_path / "run" / "config.yaml").exists()
    assert list((tmp_path / "run" / "tensorboard").iterdir())


KILLED = """
import os, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook as after_each_step
steps = []
def kill(*_):
    steps.append(1)
    if len(steps) == 7:
        os.killpg(0, signal.SIGKILL)  # the loader's workers too
after_each_step(kill)
import mt4ssl_cli
sys.exit(mt4ssl_cli.main())
"""


@pytest.mark.parametrize(("workers", "repeats"), [(0, 1), (2, 2)])
def test_kill_9_and_resume_is_bitwise_the_same_run(data, tmp_path, workers, repeats):
    """10 updates == 5 + kill -9 + resume + 5, with accumulation, dropout and LayerDrop."""
    shared = {"data__workers": workers, "optim__accumulate": 2, "masking__repeats": repeats}
    pretrain(toy.configuration(data, tmp_path / "whole", **shared))
    words = ["pretrain", "tiny", *toy.overrides(data, tmp_path / "cut", **shared)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], cwd=toy.ROOT, env=ENV, start_new_session=True
    )
    assert process.wait(300) == -signal.SIGKILL
    stopped = checkpoint.load(tmp_path / "cut" / "last.pt")["progress"]["update"]
    assert stopped == 5
    with open(tmp_path / "cut" / "log.jsonl", "a") as file:  # a half-written line must not harm
        file.write('{"update": 6, "lo')
    pretrain(toy.configuration(data, tmp_path / "cut", **shared))
    whole, cut = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    same(whole, cut)
    records = [read_jsonl(tmp_path / name / "log.jsonl") for name in ("whole", "cut")]
    losses = [[(r["update"], r["loss"]) for r in log if "loss" in r] for log in records]
    assert losses[0] == losses[1] and len(losses[0]) == 10


@pytest.mark.slow
def test_shards_and_a_selection_resume_exactly(data, tmp_path, capsys):
    """10 updates == 5 + kill -9 + resume + 5, in windows of 3.6 s; the labels of the shards."""
    shard_writer.shard(data[0], tmp_path / "shards", labels=data[1], shard_mb=0.1)
    shared = {"data__select": "longest:0.7", "data__shuffle_hours": 0.001, "data__workers": 2}
    sharded = (tmp_path / "shards", None)
    pretrain(toy.configuration(sharded, tmp_path / "whole", **shared))
    assert "data.select=longest:0.7: 0.0" in capsys.readouterr().out
    record = read_jsonl(tmp_path / "whole" / "log.jsonl")[0]
    assert record["select"] == "longest:0.7" and 10 < record["train_files"] < 20
    words = ["pretrain", "tiny", *toy.overrides(sharded, tmp_path / "cut", **shared)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], cwd=toy.ROOT, env=ENV, start_new_session=True
    )
    assert process.wait(300) == -signal.SIGKILL
    pretrain(toy.configuration(sharded, tmp_path / "cut", **shared))
    whole, cut = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    same(whole, cut)
    changed = shared | {"data__select": "random:0.5"}
    pretrain(toy.configuration(sharded, tmp_path / "cut", optim__max_updates=11, **changed))
    said = capsys.readouterr().out
    assert "data.select: 'longest:0.7' -> 'random:0.5'" in said and "this epoch starts" in said


def test_sigterm_saves_and_says_so(data, tmp_path):
    changes = {"optim__max_updates": 100_000, "run__save_every": 100_000, "run__validate_every": 0}
    command = toy.cli("pretrain", "tiny", *toy.overrides(data, tmp_path / "run", **changes))
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    log, deadline = tmp_path / "run" / "log.jsonl", time.time() + 300
    while time.time() < deadline and not (log.exists() and log.read_text().count("\n") >= 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by a signal" in output and "Traceback" not in output
    update = checkpoint.load(tmp_path / "run" / "last.pt")["progress"]["update"]
    assert update == read_jsonl(log)[-1]["update"] >= 3


def two_processes(overrides):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "mt4ssl_cli", "pretrain", "tiny", *overrides],
        env=ENV, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_with_accumulation_layerdrop_and_an_incomplete_last_round(data, tmp_path):
    changes = {"optim__accumulate": 2, "encoder__layerdrop": 0.5, "optim__max_updates": 5}
    two_processes(toy.overrides(data, tmp_path / "run", **changes))
    losses = [r["loss"] for r in read_jsonl(tmp_path / "run" / "log.jsonl") if "loss" in r]
    assert len(losses) == 5 and all(0 < loss < 20 for loss in losses)


def test_two_processes_equal_one_with_twice_the_batch(data, tmp_path):
    shared = {
        "encoder__dropout": 0.0, "encoder__attention_dropout": 0.0, "encoder__layerdrop": 0.0,
        "optim__max_updates": 4, "optim__clip_norm": 0.5, "run__validate_every": 2,
        "data__batch_seconds": 3.0,  # four updates stay inside one epoch
    }  # fmt: skip
    pretrain(toy.configuration(data, tmp_path / "one", optim__accumulate=2, **shared))
    overrides = toy.overrides(data, tmp_path / "two", **shared)
    two_processes(overrides)
    one, two = (checkpoint.load(tmp_path / name / "last.pt") for name in ("one", "two"))
    for part in ("encoder", "offline", "online"):
        ours, theirs = (
            state["encoder"] if part == "encoder" else state["targets"][part]
            for state in (one, two)
        )
        for key, value in ours.items():
            assert (theirs[key] - value).abs().max() <= 1e-5, (part, key)
    for name in ("one", "two"):
        records = read_jsonl(tmp_path / name / "log.jsonl")
        assert [r["update"] for r in records if "loss" in r] == [1, 2, 3, 4]
    logs = [read_jsonl(tmp_path / name / "log.jsonl")[-2:] for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        for key in a.keys() - {"wall_hours", "audio_seconds_per_s", "updates_per_s", "epoch"}:
            if any(name in key for name in MONITORED):
                continue  # of the first process's share of held-out audio
            assert b[key] == pytest.approx(a[key], rel=1e-4, abs=1e-6), key


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_keeps_float32_weights(data, tmp_path, precision):
    cfg = toy.configuration(data, tmp_path / "run", optim__max_updates=3, run__precision=precision)
    state = checkpoint.load(pretrain(cfg))
    tensors = [*state["encoder"].values(), *state["targets"]["online"].values()]
    assert {t.dtype for t in tensors} == {torch.float32}
    assert all(r["loss"] > 0 for r in read_jsonl(tmp_path / "run" / "log.jsonl") if "loss" in r)


def test_nan_stops_with_what_led_to_it(data, tmp_path):
    cfg = toy.configuration(data, tmp_path / "run", optim__init_scale=1.0, optim__clip_norm=0)
    cfg.optim.lr = 1e30
    with pytest.raises(ValueError, match=r"not a number at update \d+; .* lower optim.lr"):
        pretrain(cfg)
    (report,) = (tmp_path / "run").glob("nan_at_update_*.json")
    facts = json.loads(report.read_text())
    assert facts["utterances"][0] and facts["lr"] == pytest.approx(1e30)
    checkpoint.load(tmp_path / "run" / "before_nan.pt")


def test_collapse_stops(data, tmp_path):
    cfg = toy.configuration(
        data, tmp_path / "run", online__min_target_var=50.0, online__collapse_after=2
    )
    with pytest.raises(ValueError, match=r"stopped at update 3: target_var = .* has collapsed"):
        pretrain(cfg)


def test_a_run_of_another_model_is_refused(data, tmp_path):
    pretrain(toy.configuration(data, tmp_path / "run", optim__max_updates=2))
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=r"written by another model:\n  encoder.layers: 2 -> 3"):
        pretrain(toy.configuration(data, tmp_path / "run", encoder__layers=3))
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_resuming_takes_todays_settings_and_notices_another_data_order(data, tmp_path, capsys):
    pretrain(toy.configuration(data, tmp_path / "run", optim__max_updates=2))
    changed = {"optim__max_updates": 4, "optim__weight_decay": 0.5, "data__batch_seconds": 5.0}
    state = checkpoint.load(pretrain(toy.configuration(data, tmp_path / "run", **changed)))
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    assert state["progress"]["batches"] == 2  # the epoch began again
    said = capsys.readouterr().out
    assert "optim.weight_decay: 0.01 -> 0.5" in said
    assert "the data order has changed: this epoch starts again" in said
    with pytest.raises(ValueError, match=r"another model:\n  online\.collapse_after: 500 -> None"):
        pretrain(toy.configuration(data, tmp_path / "run", online="null"))


def test_checkpoints_to_keep_do_not_depend_on_save_every(data, tmp_path):
    keep = {"run__keep_every": 3, "run__save_every": 5, "optim__max_updates": 7}
    pretrain(toy.configuration(data, tmp_path / "run", **keep))
    kept = {p.name for p in (tmp_path / "run").glob("update_*.pt")}
    assert kept == {"update_3.pt", "update_6.pt"}


def test_single_targets_and_one_command_without_labels(data, tmp_path):
    tsv, km = data
    names = {}
    for name, changes in {
        "offline_only": {"online": "null"},
        "online_only": {"offline": "null"},
        "random": {"offline": "null", "random_projection": "{}"},
    }.items():
        labels = km if name == "offline_only" else None
        source = tsv if name == "offline_only" else tsv.parent / "audio"
        cfg = toy.configuration((source, labels), tmp_path / name, optim__max_updates=2, **changes)
        names[name] = set(checkpoint.load(pretrain(cfg))["targets"])
    assert names == {
        "offline_only": {"offline"},
        "online_only": {"online"},
        "random": {"online", "random_projection"},
    }


def test_starting_from_a_fairseq_checkpoint(data, tmp_path):
    path = reference.FOLDER / "fairseq_checkpoint_after5.pt"
    shape = {
        "encoder__conv_layers": "[[32,10,5],[32,3,2],[32,3,2],[32,3,2],[32,3,2],[32,2,2],[32,2,2]]",
        "encoder__dim": 48, "encoder__heads": 4, "encoder__layers": 4, "encoder__ffn_dim": 96,
        "encoder__pos_conv_groups": 16, "offline__num_classes": 24, "offline__label_offset": 4,
    }  # fmt: skip
    cfg = toy.configuration(data, tmp_path / "run", run__init_from=path, **shape)
    training = Training(cfg, World(0, 1, torch.device("cpu")))
    from mt4ssl_core.checkpoints import convert

    training.load_weights(convert.load_any(path), path)
    wanted = reference.tensors("train_trace1")
    ours = dict(training.model.named_parameters())
    for key, value in wanted.items():
        kind, _, rest = key.removeprefix("trace1.").partition(".")
        if kind == "student_after5":
            assert torch.equal(ours[reference.our_name(rest)], value)
        elif kind == "ema_in_checkpoint":
            assert torch.equal(ours[reference.teacher_name(rest)], value)
    assert not training.optimizer.state and training.progress.update == 0  # weights alone
    pretrain(cfg)
    with pytest.raises(ValueError, match=r"another architecture:\n  encoder.conv_layers: "):
        pretrain(toy.configuration(data, tmp_path / "other", run__init_from=path))
    same_shapes = {**shape, "encoder__normalize": "false"}
    with pytest.raises(ValueError, match=r"encoder.normalize: True there, False here"):
        pretrain(toy.configuration(data, tmp_path / "third", run__init_from=path, **same_shapes))
    assert not (tmp_path / "third").exists()


def test_bad_files_are_named_and_the_run_goes_on(tmp_path):
    tsv, km = toy.corpus(tmp_path, utterances=8)
    bad = tmp_path / "audio" / "u03.wav"
    bad.write_bytes(b"RIFF nothing")
    arguments = toy.overrides((tsv, km), tmp_path / "run", optim__max_updates=6)
    done = toy.run("pretrain", "tiny", *arguments, env=ENV)
    assert done.returncode == 0, done.stderr
    assert "1 file(s) could not be used" in done.stdout and "u03.wav" in done.stdout
    line = (tmp_path / "run" / "skipped.txt").read_text()
    assert line.startswith(f"{bad}\tcannot be read (") and line.endswith("\t1\n")
    strict = [a.replace(str(tmp_path / "run"), str(tmp_path / "strict")) for a in arguments]
    done = toy.run("pretrain", "tiny", *strict, "--strict", env=ENV)
    assert done.returncode == 2 and "u03.wav" in done.stderr and "Traceback" not in done.stderr


def test_dropout_seed_depends_on_update_and_rank():
    from mt4ssl_core.training.pretrain import seed_dropout

    drawn = set()
    for update, rank in ((0, 0), (1, 0), (0, 1), (0, 0)):
        seed_dropout(5, update, rank)
        drawn.add(torch.rand(()).item())
    assert len(drawn) == 3


def test_logs_are_readable_after_a_crash(tmp_path):
    path = Path(tmp_path) / "log.jsonl"
    path.write_text('{"update": 1}\n{"update": 2}\n{"upd')
    assert [r["update"] for r in read_jsonl(path)] == [1, 2]
