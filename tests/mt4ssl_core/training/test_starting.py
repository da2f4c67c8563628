"""Where a run begins and ends: on other data, from other or hostile files, by signals."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
import reference
import soundfile
import torch
import toy

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.pretrain import pretrain

QUICK = {"run__validate_every": 0, "data__valid_share": 0.0}
FAIRSEQ = {
    "encoder__conv_layers": "[[32,10,5],[32,3,2],[32,3,2],[32,3,2],[32,3,2],[32,2,2],[32,2,2]]",
    "encoder__dim": 48, "encoder__heads": 4, "encoder__layers": 4, "encoder__ffn_dim": 96,
    "encoder__pos_conv_groups": 16, "offline__num_classes": 24, "offline__label_offset": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("corpus"), utterances=12)


@pytest.fixture(scope="module")
def state(data, tmp_path_factory):
    """What a run of two updates left."""
    out = tmp_path_factory.mktemp("origin") / "run"
    changes = {"optim__max_updates": 2, "run__precision": "fp16", **QUICK}
    return checkpoint.load(pretrain(toy.configuration(data, out, **changes)))


def test_a_folder_of_something_else_is_refused_and_one_with_a_log_is_not(data, tmp_path):
    cfg = toy.configuration(data, tmp_path, optim__max_updates=1, **QUICK)
    (tmp_path / "pretrain.log").touch()
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match=r"^run\.out .*: holds other files and no log\.jsonl"):
        pretrain(cfg)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg", "pretrain.log"]
    (tmp_path / "photo.jpg").unlink()
    assert pretrain(cfg).is_file()


def test_a_file_in_place_of_the_folder_is_said(data, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out, said in ((file, "a file"), (file / "run", f"{file} is a file")):
        with pytest.raises(ValueError, match=rf"^run\.out {out}: {said}; give a folder"):
            pretrain(toy.configuration(data, out, optim__max_updates=1, **QUICK))


def files_added(folder):
    soundfile.write(folder / "audio" / "v.wav", torch.randn(16_000).numpy() / 9, 16_000)


def files_removed(folder):
    (folder / "audio" / "u05.wav").unlink()


def a_length_changed(folder):
    soundfile.write(folder / "audio" / "u05.wav", torch.randn(15_000).numpy() / 9, 16_000)


def nothing(folder):
    (folder / "audio").rename(folder / "moved")  # the same corpus elsewhere


@pytest.mark.parametrize("change", [files_added, files_removed, a_length_changed, nothing])
def test_other_training_data_begin_the_epoch_again(tmp_path, capsys, change):
    toy.corpus(tmp_path, utterances=12)
    changes = {"offline": "null", "optim__max_updates": 2, **QUICK}
    run = tmp_path / "run"
    pretrain(toy.configuration((tmp_path / "audio", None), run, **changes))
    change(tmp_path)
    audio = tmp_path / ("moved" if change is nothing else "audio")
    capsys.readouterr()
    changes["optim__max_updates"] = 3
    last = pretrain(toy.configuration((audio, None), run, **changes))
    said, batches = capsys.readouterr().out, checkpoint.load(last)["progress"]["batches"]
    if change is nothing:
        assert "starts again" not in said and batches == 3
    else:
        assert "the training data have changed" in said and "this epoch starts again" in said
        assert batches == 1


@pytest.mark.parametrize("change", ["other files", "its labels", "masks", "none"])
def test_the_best_does_not_survive_other_held_out_data(data, tmp_path, capsys, change):
    valid = toy.corpus(tmp_path / "v", utterances=4, seed=1)
    more = {"data__valid": valid[0], "data__valid_labels": valid[1]}
    run = tmp_path / "run"
    pretrain(toy.configuration(data, run, optim__max_updates=5, **more))
    state = checkpoint.load(run / "last.pt")
    state["progress"]["best"] = -1.0  # never to be reached
    checkpoint.save(run / "last.pt", state)
    if change == "other files":
        valid = toy.corpus(tmp_path / "w", utterances=4, seed=2)
        more = {"data__valid": valid[0], "data__valid_labels": valid[1]}
    elif change == "its labels":
        valid[1].rename(tmp_path / "v" / "other.km")
        valid[0].rename(tmp_path / "v" / "other.tsv")
        more = {k: v.with_stem("other") for k, v in more.items()}
    elif change == "masks":
        more["masking__prob"] = 0.4
    capsys.readouterr()
    pretrain(toy.configuration(data, run, optim__max_updates=10, **more))
    changed = change != "none"
    assert ("the held-out data have changed" in capsys.readouterr().out) == changed
    assert (checkpoint.load(run / "last.pt")["progress"]["best"] == -1.0) != changed


def test_another_number_of_processes_is_told(data, tmp_path, capsys):
    cfg = toy.configuration(data, tmp_path / "run", optim__max_updates=2, **QUICK)
    state = checkpoint.load(pretrain(cfg))
    state["progress"]["processes"] = 4
    checkpoint.save(tmp_path / "run" / "last.pt", state)
    capsys.readouterr()
    pretrain(toy.configuration(data, tmp_path / "run", optim__max_updates=3, **QUICK))
    said = capsys.readouterr().out
    assert "processes: 4 -> 1" in said and "batches per update: 4 -> 1" in said


def test_going_on_with_a_fairseq_run_takes_moments_and_counters(data, tmp_path):
    path = reference.FOLDER / "fairseq_checkpoint_after5.pt"
    changes = {**FAIRSEQ, **QUICK, "run__continue_from": path}
    last = pretrain(toy.configuration(data, tmp_path / "run", optim__max_updates=7, **changes))
    state = checkpoint.load(last)
    assert state["progress"]["update"] == 7
    assert max(e["step"].item() for e in state["optimizer"]["state"].values()) == 7
    weights = {**FAIRSEQ, **QUICK, "run__init_from": path, "optim__max_updates": 2}
    fresh = checkpoint.load(pretrain(toy.configuration(data, tmp_path / "w", **weights)))
    assert max(e["step"].item() for e in fresh["optimizer"]["state"].values()) == 2
    with pytest.raises(ValueError, match=r"has done 5 updates, optim\.max_updates is 4; raise it"):
        pretrain(toy.configuration(data, tmp_path / "o", optim__max_updates=4, **changes))


def test_our_own_run_goes_on_elsewhere_or_lends_its_weights(data, tmp_path):
    origin = pretrain(toy.configuration(data, tmp_path / "a", optim__max_updates=2, **QUICK))
    whole = pretrain(toy.configuration(data, tmp_path / "w", optim__max_updates=4, **QUICK))
    more = {"optim__max_updates": 4, **QUICK}
    on = pretrain(toy.configuration(data, tmp_path / "b", run__continue_from=origin, **more))
    anew = pretrain(toy.configuration(data, tmp_path / "c", run__init_from=origin, **more))
    states = [checkpoint.load(path) for path in (whole, on, anew)]
    weights = [state["encoder"]["projection.weight"] for state in states]
    steps = [max(e["step"].item() for e in s["optimizer"]["state"].values()) for s in states]
    assert steps == [4, 4, 4] and states[1]["progress"]["update"] == 4
    assert not torch.equal(weights[0], weights[2])
    bare = {**states[0], "optimizer": None}
    checkpoint.save(tmp_path / "bare.pt", bare)
    with pytest.raises(ValueError, match=r"bare\.pt: holds no state of the optimiser"):
        more["run__continue_from"] = tmp_path / "bare.pt"
        pretrain(toy.configuration(data, tmp_path / "d", **more))


def put(path, value):
    """A change of a checkpoint: ``value`` at a dotted path."""

    def change(state):
        *folders, last = path.split(".")
        for name in folders:
            state = state[int(name) if name.isdigit() else name]
        state[last] = value

    change.__name__ = f"{path}={value!r:.20}"
    return change


HOSTILE = [
    put("progress.update", -3), put("progress.update", 1.5), put("progress.update", "7"),
    put("progress.update", True), put("progress.update", 10**30), put("progress.best", "low"),
    put("progress.best", float("nan")), put("progress.audio_hours", float("inf")),
    put("progress.processes", 0), put("progress.batches", None), put("progress.train_data", 3),
    put("progress.skipped_seconds", -1.0),
    put("optimizer.state", []), put("optimizer.state.0", 3), put("optimizer.state.0", {}),
    put("optimizer.state.0.step", torch.tensor(-1.0)), put("optimizer.state.0.step", "many"),
    put("optimizer.state.0.step", torch.zeros(2)), put("optimizer.state.0.exp_avg", 0.0),
    put("optimizer.state.0.exp_avg", torch.zeros(2)), put("optimizer.state.x", {}),
    put("optimizer.param_groups", 3), put("optimizer.param_groups", []), put("optimizer", 3),
    put("scaler", {"scale": -1.0}), put("scaler", {"scale": float("inf"), "_growth_tracker": 0}),
    put("scaler", [1]), put("targets.online", 3), put("targets.online", {"head.bias": "x"}),
    put("config.optim", 3), put("config.encoder", None), put("config.run", [1]),
    put("config.more", {"a": 1}), put("encoder", {"projection.weight": 3}),
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hostile_state_is_one_clear_error(data, state, tmp_path, change):
    copy = {k: dict(v) if isinstance(v, dict) else v for k, v in state.items()}
    copy["optimizer"]["state"] = {k: dict(v) for k, v in copy["optimizer"]["state"].items()}
    copy["optimizer"]["state"][0] = dict(copy["optimizer"]["state"][0])
    change(copy)
    checkpoint.save(tmp_path / "run" / "last.pt", copy)
    cfg = toy.configuration(
        data, tmp_path / "run", optim__max_updates=3, run__precision="fp16", **QUICK
    )
    with pytest.raises(ValueError, match=r"last\.pt"):
        pretrain(cfg)


@pytest.mark.parametrize("what", ["encoder", "moments", "squares", "teacher"])
def test_values_that_are_no_numbers_are_found_before_training(data, state, tmp_path, what):
    copy = checkpoint.load(_saved(state, tmp_path / "run" / "last.pt"))
    first = copy["optimizer"]["state"][0]
    tensor = {
        "encoder": copy["encoder"]["projection.weight"], "moments": first["exp_avg"],
        "squares": first["exp_avg_sq"], "teacher": copy["targets"]["online"]["head.bias"],
    }[what]  # fmt: skip
    tensor.view(-1)[0] = -1.0 if what == "squares" else float("nan")
    checkpoint.save(tmp_path / "run" / "last.pt", copy)
    cfg = toy.configuration(data, tmp_path / "run", run__precision="fp16", **QUICK)
    with pytest.raises(ValueError, match=r"last\.pt: .* holds NaN"):
        pretrain(cfg)


def _saved(state, path):
    checkpoint.save(path, state)
    return path


def started(overrides, log, lines=3, **options):
    """A run as a process, once its log has so many lines."""
    command = toy.cli("pretrain", "tiny", *overrides)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip
    deadline = time.time() + 300
    while time.time() < deadline and not (log.exists() and log.read_text().count("\n") >= lines):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    return process


ENDLESS = {"optim__max_updates": 100_000, "run__save_every": 100_000, **QUICK}


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_saves_unless_it_is_to_be_ignored(data, tmp_path, ignored):
    log = tmp_path / "run" / "log.jsonl"
    act = signal.SIG_IGN if ignored else signal.SIG_DFL
    process = started(
        toy.overrides(data, tmp_path / "run", **ENDLESS), log,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, act),
    )  # fmt: skip
    process.send_signal(signal.SIGHUP)
    if ignored:  # nohup
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 128 + (signal.SIGTERM if ignored else signal.SIGHUP)
    update = checkpoint.load(tmp_path / "run" / "last.pt")["progress"]["update"]
    assert update == read_jsonl(log)[-1]["update"] and f"last.pt holds update {update}" in output


def test_a_killed_loader_worker_is_named_after_saving(data, tmp_path):
    log = tmp_path / "run" / "log.jsonl"
    overrides = toy.overrides(data, tmp_path / "run", **{**ENDLESS, "data__workers": 2})
    process = started(overrides, log)
    deadline = time.time() + 300
    while process.poll() is None and time.time() < deadline:  # an epoch's workers come and go
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        for child in found.stdout.split()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.2)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 2 and "Traceback" not in output, output[-1500:]
    said = "was killed by signal 9 (Killed); if memory ran out, lower data.workers"
    assert said in output, output[-1500:]
    update = checkpoint.load(tmp_path / "run" / "last.pt")["progress"]["update"]
    assert f"last.pt holds update {update}" in output and update >= 2


def test_a_signal_in_validation_is_noticed_there_and_it_is_done_again(data, tmp_path, monkeypatch):
    from mt4ssl_core.training import validation

    changes = {"run__validate_every": 3, "run__save_every": 3, "data__valid_share": 0.3}
    whole = pretrain(toy.configuration(data, tmp_path / "whole", **changes))
    losses_of, calls = validation.losses_of, []

    def interrupt(*given):
        calls.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        return losses_of(*given)

    run = tmp_path / "run"
    monkeypatch.setattr(validation, "losses_of", interrupt)
    cfg = toy.configuration(data, run, **changes, data__batch_seconds=2.0)
    with pytest.raises(SystemExit) as caught:
        pretrain(cfg)
    assert caught.value.code == 143 and len(calls) == 1  # not to the end of the held-out audio
    assert checkpoint.load(run / "last.pt")["progress"]["update"] == 3
    monkeypatch.undo()
    pretrain(cfg)
    measured = [r["update"] for r in read_jsonl(run / "log.jsonl") if "valid/loss" in r]
    assert measured == [3, 6, 9, 10] and checkpoint.load(whole)["progress"]["validated"] == 10
