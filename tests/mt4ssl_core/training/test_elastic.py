"""Processes that are killed or lost: the others end with a line, and the run goes on exactly."""

import os
import subprocess
import sys

import finetuning_runs
import pytest
import ranks
import toy
from test_train import same

from mt4ssl_core.checkpoints import checkpoint

LOST = "lost another one, which was killed"
# each process of torchrun: the second is killed in an update, then the first while it saves
KILLED = """
import os, signal, sys
from torch.optim.optimizer import register_optimizer_step_post_hook as after_each_step
from mt4ssl_core.checkpoints import torch_files

rank, steps, marks = os.environ["RANK"], [], [os.environ["MARK"] + name for name in ("1", "2")]

def die(mark):
    if not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)

def killed(*_):
    steps.append(1)
    if rank == "1" and len(steps) == 7:
        die(marks[0])

def read_back(path):
    if rank == "0" and os.path.exists(marks[0]):
        die(marks[1])  # written beside last.pt, and not yet renamed
    return is_whole(path)

after_each_step(killed)
is_whole, torch_files.is_whole = torch_files.is_whole, read_back
import mt4ssl_cli
sys.exit(mt4ssl_cli.main())
"""
# of `ranks`: the first process of fine-tuning is killed once; the second of a run falls silent
HURT = """
import signal, time
from torch.optim.optimizer import register_optimizer_step_post_hook as after_each_step
steps = []

def hurt(*_):
    steps.append(1)
    text, mark = " ".join(words), os.environ["MARK"]
    if "hurt" in text and os.environ["RANK"] == "0" and len(steps) == 7:
        if not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    if "silent" in text and os.environ["RANK"] == "1" and len(steps) == 2:
        time.sleep(8)

after_each_step(hurt)
"""


@pytest.mark.slow
def test_what_is_killed_is_started_again_and_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    data = toy.corpus(tmp_path / "corpus")
    shared = {"run__validate_every": 0, "data__batch_seconds": 3.0}
    whole = toy.overrides(data, tmp_path / "whole", **shared)
    silent = toy.overrides(data, tmp_path / "silent", run__timeout=0.05, **shared)
    speech = finetuning_runs.corpus(tmp_path / "speech")
    finetuned, hurt = (
        [
            "finetune", "tiny_ctc",
            *finetuning_runs.overrides(speech, tmp_path / name, run__save_every=5),
        ]
        for name in ("finetuned", "hurt")
    )  # fmt: skip
    given = ["pretrain", "tiny", *whole], finetuned, hurt, hurt, ["pretrain", "tiny", *silent]
    said, codes = ranks.together(*((2, words) for words in given), before=HURT)
    assert codes == [[0, 0], [0, 0], [-9, 2], [0, 0], [2, 2]], said
    assert said.count(LOST) == 3 and "Traceback" not in said
    same(*(checkpoint.load(tmp_path / name / "last.pt") for name in ("finetuned", "hurt")))

    (tmp_path / "killed.py").write_text(KILLED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=6"]
    cut = toy.overrides(data, tmp_path / "cut", run__timeout=0.5, **shared)
    done = subprocess.run(
        [*torchrun, "--nproc-per-node=2", tmp_path / "killed.py", "pretrain", "tiny", *cut],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(toy.ROOT)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    # what torchrun ends sooner says nothing
    assert done.stderr.count(LOST) == done.stderr.count("torchrun starts all of them again")
    assert (tmp_path / "mark2").exists()
    assert done.stdout.count("checkpoint: ") == 1
    states = [checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "cut")]
    for state in states:
        state["config"]["run"]["timeout"] = None
    same(*states)
    left = {path.name for path in (tmp_path / "cut").iterdir()}
    assert left == {"config.yaml", "last.pt", "log.jsonl", "previous.pt", "tensorboard"}
