import os
import signal
import subprocess
import sys
from pathlib import Path

import finetuning_runs as toy
import pytest
import torch

from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.data.vocabulary import FAIRSEQ
from mt4ssl_core.finetuning.finetune import finetune
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.pretrain import pretrain

ROOT = Path(__file__).parents[3]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return toy.corpus(tmp_path_factory.mktemp("speech"))


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
        for key in a.keys() - {"wall_hours", "out"}:
            same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def log_of(folder, key):
    return [r for r in read_jsonl(folder / "log.jsonl") if key in r]


def test_a_run_learns_logs_and_scores(speech, tmp_path):
    out = tmp_path / "run"
    cfg = toy.configuration(
        speech, out, optim__max_updates=60, run__validate_every=30, encoder__layerdrop=0.0
    )
    last = finetune(cfg)
    losses = [r["loss"] for r in log_of(out, "loss")]
    assert len(losses) == 60 and losses[-1] < 0.5 * losses[0]
    wanted = {"blank_share", "grad_norm", "lr", "padding", "masked_share", "audio_seconds_per_s"}
    assert wanted <= log_of(out, "loss")[-1].keys()
    scored = log_of(out, "valid/wer")
    assert [r["update"] for r in scored] == [30, 60]
    assert {"valid/cer", "valid/loss", "valid/blank_share", "valid/empty_share"} <= scored[0].keys()
    state = checkpoint.load(last)
    assert state["progress"]["best"] == pytest.approx(min(r["valid/wer"] for r in scored))
    assert (out / "best.pt").exists() and "text:" in (out / "config.yaml").read_text()
    model = load_ctc(last)
    assert model.vocabulary.tokens[:4] == FAIRSEQ
    assert set(model.vocabulary.tokens[4:]) == {"|", "A", "B", "C", "'"}
    assert convert.load_encoder(last).dim == 16


KILLED = """
import os, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook as after_each_step
steps = []
def kill(*_):
    steps.append(1)
    if len(steps) == 7:
        os.killpg(0, signal.SIGKILL)
after_each_step(kill)
import mt4ssl_cli
sys.exit(mt4ssl_cli.main())
"""


def test_kill_9_and_resume_is_bitwise_the_same_run(speech, tmp_path):
    """10 updates == 5 + kill -9 + resume + 5, with frozen updates, two rates and dropout."""
    shared = {"optim__accumulate": 2, "encoder__freeze_updates": 3, "optim__head_lr": 0.01}
    finetune(toy.configuration(speech, tmp_path / "whole", **shared))
    words = ["finetune", "tiny_ctc", *toy.overrides(speech, tmp_path / "cut", **shared)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, env=ENV, start_new_session=True
    )
    assert process.wait(300) == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "cut" / "last.pt")["progress"]["update"] == 5
    finetune(toy.configuration(speech, tmp_path / "cut", **shared))
    whole, cut = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    same(whole, cut)
    for key in ("loss", "valid/wer"):
        logs = [
            [(r["update"], r[key]) for r in log_of(tmp_path / n, key)] for n in ("whole", "cut")
        ]
        assert logs[0] == logs[1] and logs[0]


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(speech, tmp_path):
    shared = {
        "encoder__dropout": 0.0, "encoder__activation_dropout": 0.0, "encoder__layerdrop": 0.0,
        "encoder__final_dropout": 0.0, "encoder__freeze_updates": 1, "data__batch_seconds": 3.0,
        "optim__max_updates": 4, "run__validate_every": 2, "optim__head_lr": 0.01,
    }  # fmt: skip
    finetune(toy.configuration(speech, tmp_path / "one", optim__accumulate=2, **shared))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["finetune", "tiny_ctc", *toy.overrides(speech, tmp_path / "two", **shared)]
    done = subprocess.run(
        [*launch, "-m", "mt4ssl_cli", *words],
        cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_ctc(tmp_path / name / "last.pt").state_dict() for name in ("one", "two"))
    for key, value in one.items():
        assert (two[key] - value).abs().max() <= 1e-5, key
    for a, b in zip(*(log_of(tmp_path / n, "valid/wer") for n in ("one", "two")), strict=True):
        for key in ("valid/wer", "valid/cer", "valid/loss", "valid/blank_share"):
            assert b[key] == pytest.approx(a[key], rel=1e-4), key


def test_frozen_updates_move_the_head_alone(speech, tmp_path):
    cfg = toy.configuration(
        speech, tmp_path / "run", optim__max_updates=2, encoder__freeze_updates=1,
        run__save_every=1, run__keep_every=1, encoder__freeze_extractor=True,
    )  # fmt: skip
    finetune(cfg)
    first, second = (load_ctc(tmp_path / "run" / f"update_{i}.pt").state_dict() for i in (1, 2))
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert "head.weight" in moved and "encoder.projection.weight" in moved
    assert not any(name.startswith("encoder.extractor") for name in moved)
    torch.manual_seed(cfg.run.seed)
    untrained = load_ctc(tmp_path / "run" / "update_1.pt").encoder.state_dict()
    cfg.run.out, cfg.optim.max_updates = str(tmp_path / "other"), 1
    finetune(cfg)
    again = load_ctc(tmp_path / "other" / "last.pt").encoder.state_dict()
    assert all(torch.equal(untrained[name], again[name]) for name in untrained)


@pytest.mark.parametrize("bias", [0.0, 20.0])
def test_the_blank_is_what_most_frames_say_at_the_start(speech, tmp_path, bias):
    """Whichever tokens the random weights prefer; 0 is as in fairseq."""
    shared = {"optim__lr": 1e-9, "optim__max_updates": 1, "run__validate_every": 1}
    finetune(toy.configuration(speech, tmp_path / "run", encoder__blank_bias=bias, **shared))
    model = load_ctc(tmp_path / "run" / "last.pt")
    expected = torch.zeros(len(model.vocabulary))
    expected[model.vocabulary.blank] = bias
    torch.testing.assert_close(model.head.bias, expected, rtol=0, atol=1e-6)
    (scored,) = log_of(tmp_path / "run", "valid/blank_share")
    assert (scored["valid/blank_share"] > 0.9) == (bias > 0)


def test_what_acts_when_a_run_begins_stays_what_it_was_then(speech, tmp_path, capsys):
    last = finetune(toy.configuration(speech, tmp_path / "run", optim__max_updates=1))
    state = checkpoint.load(last)
    shape, _ = state["config"]["start"]["shape"], state["config"]["start"].pop("blank_bias")
    checkpoint.save(last, state)  # as before there was such a setting
    changes = {"encoder__blank_bias": 3.0, "encoder__shape": "base", "optim__max_updates": 2}
    finetune(toy.configuration(speech, tmp_path / "run", **changes))
    said = capsys.readouterr().out
    assert "data.valid is the training speech" in said
    assert "start.blank_bias: stays 0.0; 3.0 would be for a new run.out" in said
    assert f"start.shape: stays {shape!r}; 'base' would be for a new run.out" in said
    assert "blank_bias: 0.0 -> 3.0" not in said
    start = checkpoint.load(last)["config"]["start"]
    assert (start["blank_bias"], start["shape"]) == (0.0, shape)


def test_a_run_of_one_rate_goes_on_with_two(speech, tmp_path, capsys):
    out = tmp_path / "run"
    every = {"encoder__layerdrop": 0.0}  # a skipped layer has no moments
    finetune(toy.configuration(speech, out, optim__max_updates=1, **every))
    before = checkpoint.load(out / "last.pt")["optimizer"]
    two_rates = {"optim__max_updates": 2, "optim__head_lr": 0.05}
    finetune(toy.configuration(speech, out, **two_rates, **every))
    assert "optim.head_lr: None -> 0.05" in capsys.readouterr().out
    after = checkpoint.load(out / "last.pt")["optimizer"]
    assert [len(state["param_groups"]) for state in (before, after)] == [1, 2]
    assert before["state"].keys() == after["state"].keys()
    assert {int(entry["step"]) for entry in after["state"].values()} == {2}
    one, two = log_of(out, "lr")
    assert "head_lr" not in one and two["head_lr"] == pytest.approx(25 * two["lr"])


def test_an_untrained_copy_has_the_form_and_other_weights(speech, tmp_path):
    finetune(toy.configuration(speech, tmp_path / "a", optim__max_updates=1))
    start = {"encoder__shape": None, "encoder__init": tmp_path / "a" / "last.pt"}
    start |= {"optim__max_updates": 1, "encoder__freeze_updates": 1}
    finetune(toy.configuration(speech, tmp_path / "b", **start))
    finetune(toy.configuration(speech, tmp_path / "c", encoder__random=True, **start))
    a, b, c = (convert.load_encoder(tmp_path / name / "last.pt") for name in "abc")
    assert torch.equal(a.projection.weight, b.projection.weight)
    assert a.projection.weight.shape == c.projection.weight.shape
    assert not torch.equal(a.projection.weight, c.projection.weight)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_keeps_float32_weights(speech, tmp_path, precision):
    last = finetune(
        toy.configuration(speech, tmp_path / "run", optim__max_updates=2, run__precision=precision)
    )
    state = checkpoint.load(last)
    assert all(v.dtype == torch.float32 for v in state["encoder"].values())


def test_what_cannot_be_learned_is_named_and_left_out(tmp_path):
    speech = toy.corpus(tmp_path / "speech", utterances=8)
    path = next(speech.rglob("*.trans.txt"))
    lines = path.read_text().splitlines()
    lines[0] = lines[0].split()[0] + " " + "AB" * 500  # more letters than frames
    lines[1] = lines[1].split()[0] + " "
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"3 of 8 files could not be used"):
        finetune(toy.configuration(speech, tmp_path / "run"))
    out = tmp_path / "other"
    finetune(toy.configuration(speech, out, data__max_skipped=0.5, optim__max_updates=1))
    said = (out / "skipped.txt").read_text()
    assert "frames, too few for its 1000 tokens" in said or "too few for its 1001 tokens" in said
    assert "an empty transcript" in said and "no transcript" in said


def test_a_folder_of_something_else_is_refused_and_what_a_killed_run_left_is_not(speech, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").touch()
    cfg = toy.configuration(speech, out, optim__max_updates=1)
    with pytest.raises(ValueError, match=r"^run\.out .*run: holds other files and no log\.jsonl"):
        finetune(cfg)
    assert [path.name for path in out.iterdir()] == ["config.json"]
    (out / "config.json").unlink()
    for name in ("config.yaml", "skipped.txt"):
        (out / name).touch()
    assert finetune(cfg).is_file()


def test_a_run_of_another_kind_is_refused(speech, tmp_path):
    from mt4ssl_core import config
    from mt4ssl_core.distributed import World
    from mt4ssl_core.training.state import Training

    (tmp_path / "run").mkdir()
    cfg = toy.configuration(speech, tmp_path / "run")
    pretraining = config.load(tmp_path / "shape.yaml", ["data.train=x"])
    state = Training(pretraining, World(0, 1, torch.device("cpu"))).state_dict()
    checkpoint.save(tmp_path / "run" / "last.pt", state)
    with pytest.raises(ValueError, match=r"a checkpoint of pre-training.* as encoder\.init$"):
        finetune(cfg)
    cfg.run.out = pretraining.run.out = str(tmp_path / "other")
    cfg.optim.max_updates = 1
    finetune(cfg)
    with pytest.raises(ValueError, match=r"a checkpoint of `mt4ssl finetune`.* run\.out$"):
        pretrain(pretraining)


@pytest.mark.slow
def test_transformers_writes_what_transcribe_writes(speech, tmp_path):
    """The program on the card of an exported run, on a WAV file that the run has not heard."""
    import soundfile

    import mt4ssl

    changes = {"optim__max_updates": 60, "optim__head_lr": 1e-2, "encoder__blank_bias": 0.0}
    last = finetune(toy.configuration(speech, tmp_path / "run", **changes))
    out = convert.export(last, tmp_path / "hf")
    other = next(toy.corpus(tmp_path / "other", utterances=1, seed=1).rglob("*.flac"))
    wave, rate = soundfile.read(other)
    soundfile.write(tmp_path / "speech.wav", wave, rate)
    program = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENV, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    text = mt4ssl.transcribe(last, tmp_path / "speech.wav").text
    assert done.stdout.strip() == text and set("ABC") & set(text)


def test_the_same_from_python(speech, tmp_path):
    import mt4ssl

    words = dict(word.split("=", 1) for word in toy.overrides(speech, tmp_path / "run"))
    settings = {**words, "run.out": tmp_path / "run", "run.loggers": [], "optim.max_updates": 1}
    last = mt4ssl.finetune("tiny_ctc", settings)
    assert load_ctc(last).encoder.dim == 16
