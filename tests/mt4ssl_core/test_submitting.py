"""Runs handed to SLURM: what it is given, what is said of them, and how they go on."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import toy

from mt4ssl_core import slurm, submitting
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.files import write_json
from mt4ssl_core.training.journal import read_jsonl

COMMANDS = {  # a made-up SLURM that keeps what it is given in the folder FAKE_SLURM
    "srun": "",
    "sbatch": """
import os, shutil, sys
if "partition=full" in open(sys.argv[-1]).read():
    sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
shutil.copy(sys.argv[-1], os.path.join(os.environ["FAKE_SLURM"], "given.sh"))
open(os.path.join(os.environ["FAKE_SLURM"], "count"), "a").write("1")
print("Submitted batch job 7")
""",
    "sacct": """
import os
state = open(os.path.join(os.environ["FAKE_SLURM"], "state")).read()
print("JobID|State|NodeList")
print("7|" + state + "|node")
""",
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path))
    (tmp_path / "state").write_text("RUNNING")
    slurm.submitit("slurm", "").SlurmJob.watcher.clear()  # of what jobs of other tests were
    return tmp_path


@pytest.fixture
def words(tmp_path):
    return toy.overrides(toy.corpus(tmp_path / "corpus", 8), tmp_path / "run")


def test_a_run_is_handed_over_once(fake, words):
    given = ["nodes=2", "gpus_per_node=4", "partition=gpu", "timeout_min=60"]
    said = submitting.submit("pretrain", "tiny", words, given)
    run = fake / "run"
    assert said.startswith(f"{run}: job 7; ") and said.endswith("7_0_log.out")
    script = (fake / "given.sh").read_text()
    for line in ("nodes=2", "gpus-per-node=4", "ntasks-per-node=4", "partition=gpu", "time=60"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --job-name=pretrain-run\n" in script and "#SBATCH --signal=USR2@90" in script
    (fake / "given.sh").unlink()
    (run / "log.jsonl").write_text('{"update": 4, "loss": 1.0}\n')
    said = submitting.submit("pretrain", "tiny", words, given)
    assert said.startswith(f"{run}: job 7 is RUNNING, update 4 of 10; log: ")
    assert not (fake / "given.sh").exists()
    (fake / "state").write_text("TIMEOUT")
    slurm.submitit("slurm", "").SlurmJob.watcher.clear()
    assert "update 4" not in submitting.submit("pretrain", "tiny", words, [*given, "name=mine"])
    assert "#SBATCH --job-name=mine\n" in (fake / "given.sh").read_text()


def test_of_several_that_hand_a_run_over_at_once_one_does(fake, words):
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda _: submitting.submit("pretrain", "tiny", words, []), range(2)))
    assert (fake / "count").read_text() == "1"
    assert sum("the same command says how far it is" in line for line in said) == 1
    assert sum("job 7 is RUNNING, update 0 of 10" in line for line in said) == 1


def test_a_folder_of_something_else_is_not_given_to_slurm(fake, words):
    (fake / "run").mkdir()
    (fake / "run" / "photo.jpg").touch()
    with pytest.raises(ValueError, match=r"^run\.out .*: holds other files and no log\.jsonl"):
        submitting.submit("pretrain", "tiny", words, [])
    assert [path.name for path in (fake / "run").iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["partition"], "--slurm partition: expected key=value"),
        (["gpus_per_node=a100:4"], r"--slurm: .*gpus_per_node.*a100:4.*sbatch and srun"),
        (["partitoin=gpu"], r"--slurm: .*partitoin.*run it where sbatch and srun are"),
        (["gpus_per_node=h100:4"], r"--slurm: .*run it where sbatch and srun are"),
        (["partition=full"], r"sbatch refused the run in .*QOSMaxSubmit.*; correct --slurm"),
    ],
)
def test_what_slurm_cannot_take_is_refused(fake, words, given, said):
    with pytest.raises(ValueError, match=said):
        submitting.submit("pretrain", "tiny", words, given)
    assert not (fake / "run" / submitting.NOTE).exists()


def test_a_name_and_a_mapping_reach_slurm(fake, words):
    given = ["name=mine", "additional_parameters={nice: 5}"]
    submitting.submit("pretrain", "tiny", words, given)
    script = (fake / "given.sh").read_text()
    assert "#SBATCH --job-name=mine\n" in script and "#SBATCH --nice=5\n" in script
    words = ["comment=a: b", "account=010", "time=1:30", "partition=on", "slurm_exclusive=true"]
    said = {"comment": "a: b", "account": "010", "time": "1:30", "partition": "on"}
    assert slurm.parameters(words) == said | {"exclusive": True}


def test_a_note_that_is_not_ours_and_a_missing_package(fake, words, monkeypatch):
    write_json(fake / "run" / submitting.NOTE, {"job": "7; rm"})
    with pytest.raises(ValueError, match=r"slurm.json: not as `mt4ssl submit` wrote it; remove it"):
        submitting.submit("pretrain", "tiny", words, [])
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r'pip install "mt4ssl\[slurm\]", or use torchrun'):
        submitting.submit("pretrain", "tiny", words, [])


def _until(happened, seconds=280):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_job_whose_time_is_over_saves_and_comes_again(tmp_path, monkeypatch):
    """By submitit's executor of this machine: two processes, and the signal that SLURM sends."""
    monkeypatch.setenv("PYTHONPATH", str(toy.ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data, run, made = toy.corpus(tmp_path / "corpus"), tmp_path / "run", []
    monkeypatch.setattr(slurm, "executor", lambda *given: made.append(EXECUTOR(*given)) or made[-1])
    changes = {"optim__max_updates": 60, "run__save_every": 1000, "run__validate_every": 0}
    words = toy.overrides(data, run, data__batch_seconds=2.0, **changes)
    submitting.submit("pretrain", "tiny", words, ["tasks_per_node=2"], cluster="local")
    log = run / "log.jsonl"
    _until(lambda: log.exists() and log.read_text().count("\n") >= 5)
    job = int(next((run / submitting.FOLDER).glob("*_0_log.out")).name.split("_")[0])
    for task in Path(f"/proc/{job}/task/{job}/children").read_text().split():
        os.kill(int(task), signal.SIGUSR2)
    _until((run / "last.pt").exists)
    saved = checkpoint.load(run / "last.pt")["progress"]["update"]
    assert 0 < saved < 60
    _until(lambda: checkpoint.load(run / "last.pt")["progress"]["update"] == 60)
    said = "".join(path.read_text() for path in (run / submitting.FOLDER).glob("*_log.out"))
    assert f"resumed from {run / 'last.pt'} at update {saved}" in said
    assert [r["update"] for r in read_jsonl(log) if "loss" in r] == list(range(1, 61))


EXECUTOR = slurm.executor
