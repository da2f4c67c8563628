"""Batches run in this process, in others, and under a made-up SLURM; and in the right order."""

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from upstream.suite import executors
from upstream.suite.scheduling import JobBatch, schedule


def batch(folder, name, needs=(), fails=False, script="pass"):
    """A batch that leaves what it was given in a file of its name."""

    def work(gpu):
        def leave():  # by value: this module is not known to the process
            import os

            exec(script)
            if fails:
                raise SystemExit(3)
            threads, cuda = (os.environ.get(k) for k in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"))
            with open(folder / f"{name}.tmp", "w") as file:
                file.write(f"{os.getpid()} {gpu} {threads} {cuda}")
            os.replace(folder / f"{name}.tmp", folder / name)

        return leave

    return JobBatch(name, work, needs, [name])


def run(batches, executor, folder):
    """Run batches; returns the names of those begun and ended, in order."""
    begun, ended = [], []
    schedule(
        batches,
        executor,
        lambda name: (folder / name).exists(),
        lambda batch: begun.append(batch.name),
        lambda batch, handle: ended.append(batch.name),
        interval=0.02,
    )
    return begun, ended


class Dry:
    """Takes two rounds for every batch; those called bad leave nothing."""

    def __init__(self, folder, slots):
        self.folder, self.slots, self.most, self.running = folder, slots, 0, 0
        self.stopped = []

    def start(self, batch):
        self.running += 1
        self.most = max(self.most, self.running)
        outer, rounds = self, iter(range(100))

        class Handle:
            ended = False

            def over(self):
                if not self.ended and next(rounds) >= 2:
                    self.ended = True
                    outer.running -= 1
                    if not batch.name.startswith("bad"):
                        (outer.folder / batch.name).touch()
                return self.ended

            def stop(self):
                outer.stopped.append(batch.name)

        return Handle()


def test_order_slots_and_what_a_failure_leaves_out(tmp_path):
    names = ["a1", "a2", "bad1", "b2", "c1"]
    batches = [batch(tmp_path, name) for name in names]
    batches.insert(2, batch(tmp_path, "a-test", ["a1", "a2"]))
    batches.append(batch(tmp_path, "b-test", ["bad1", "b2"]))
    batches.append(batch(tmp_path, "b-after", ["b-test"]))
    executor = Dry(tmp_path, 2)
    begun, ended = run(batches, executor, tmp_path)
    assert begun == ["a1", "a2", "a-test", "bad1", "b2", "c1"] and executor.most == 2
    assert sorted(ended) == sorted(begun)


def test_what_was_done_before_counts(tmp_path):
    (tmp_path / "a1").touch()
    begun, _ = run([batch(tmp_path, "a-test", ["a1"])], Dry(tmp_path, 1), tmp_path)
    assert begun == ["a-test"]


def test_an_interruption_stops_what_runs(tmp_path):
    executor = Dry(tmp_path, 3)

    def begun(batch):
        if batch.name == "c":
            raise KeyboardInterrupt

    batches = [batch(tmp_path, name) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        schedule(batches, executor, lambda name: True, begun, lambda *_: None, interval=0.0)
    assert executor.stopped == ["a", "b"]


def test_inline_is_this_process(tmp_path):
    run([batch(tmp_path, "a")], executors.Inline(), tmp_path)
    assert (tmp_path / "a").read_text().split()[0] == str(os.getpid())


def test_local_processes_share_gpus_and_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(executors, "cores", lambda: 6)
    executor = executors.Local(tmp_path / "submitit", ["4", "7"], None)
    assert executor.slots == 2
    meet = (  # so that both GPUs are in use at once
        "import pathlib, time\n"
        "folder, name = pathlib.Path({!r}), {!r}\n"
        "(folder / (name + '.begun')).touch()\n"
        "while len(list(folder.glob('*.begun'))) < 2: time.sleep(0.01)"
    )
    batches = [
        batch(tmp_path, name, script=meet.format(str(tmp_path), name)) for name in ("a", "b")
    ]
    begun, _ = run([*batches, batch(tmp_path, "bad", fails=True)], executor, tmp_path)
    assert begun == ["a", "b", "bad"]
    left = [(tmp_path / name).read_text().split() for name in ("a", "b")]
    assert {words[1] for words in left} == {"4", "7"} and len({words[0] for words in left}) == 2
    assert [words[2] for words in left] == ["3", "3"]
    assert not (tmp_path / "bad").exists()
    assert "OMP_NUM_THREADS" not in os.environ
    assert sorted(gpu for gpu in executor.free if gpu) == ["4", "7"]


def test_a_local_batch_can_be_stopped_and_its_error_read(tmp_path):
    executor = executors.Local(tmp_path / "submitit", [], None)
    assert (executor.slots, executor.free) == (1, [None])
    handle = executor.start(batch(tmp_path, "a", script="import time; time.sleep(600)"))
    assert not handle.over()
    handle.stop()
    started = time.monotonic()
    while not handle.over():
        assert time.monotonic() - started < 300
        time.sleep(0.05)
    assert not (tmp_path / "a").exists()
    failing = executor.start(batch(tmp_path, "b", script="raise RuntimeError('no such corpus')"))
    while not failing.over():
        time.sleep(0.05)
    assert "no such corpus" in failing.error()
    failing.clean()
    assert not list((tmp_path / "submitit").glob("b-*"))


def test_what_a_process_can_import(tmp_path, monkeypatch):
    """This package, wherever the suite is started; not the modules in it by their short names."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with executors._environment(1):
        folder = Path(os.environ["PYTHONPATH"])
    assert (folder / "upstream" / "suite").is_dir() and not (folder / "results.py").exists()


def test_visible_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert executors.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, MIG-1")
    assert executors.visible_gpus() == ["3", "MIG-1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert executors.visible_gpus() == []


def test_make_refuses_what_cannot_be(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--executor pbs: choose one of inline, local, slurm"):
        executors.make("pbs", tmp_path, None)
    with pytest.raises(ValueError, match="--jobs 0: give 1"):
        executors.make("local", tmp_path, None, 0)
    with pytest.raises(ValueError, match="--slurm goes with --executor slurm"):
        executors.make("local", tmp_path, None, None, ["partition=gpu"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r'"srun".*run it where sbatch and srun are'):
        executors.make("slurm", tmp_path, None)
    assert executors.make("local", tmp_path, "cpu", 3).slots == 3
    assert not list(tmp_path.iterdir())


def test_submitits_debug_executor(tmp_path):
    """The same path as under SLURM, in this process."""
    executor = executors.Slurm(tmp_path / "submitit", {}, cluster="debug")
    begun, ended = run([batch(tmp_path, "a"), batch(tmp_path, "t", ["a"])], executor, tmp_path)
    assert begun == ended == ["a", "t"]
    assert (tmp_path / "t").read_text().split()[0] == str(os.getpid())


COMMANDS = {
    "srun": "import sys; sys.exit(1)",
    # keeps the script that it was given, and does what its last line would do, in the background
    "sbatch": """
import os, re, shlex, subprocess, sys
here = os.environ["FAKE_SLURM"]
number = str(100 + len(os.listdir(here)))
text = open(sys.argv[-1]).read()
open(os.path.join(here, number + ".sh"), "w").write(text)
line = [line for line in text.splitlines() if line.startswith("srun")][-1]
command = shlex.split(line.replace("%j", number).replace("%t", "0"))
log = open(os.path.join(here, number + ".log"), "w")
env = {**os.environ, "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": number}
if "--partition=full" in text:
    sys.exit("sbatch: error: Batch job submission failed: QOSMaxSubmitJobPerUserLimit")
if not os.environ.get("FAKE_SLURM_PENDING"):
    subprocess.Popen(command[command.index("-u") - 1:], env=env, stdout=log, stderr=log)
print("Submitted batch job", number)
""",
    "sacct": """
import os, sys
here = os.environ["FAKE_SLURM"]
print("JobID|State|NodeList")
for word in sys.argv[1:]:
    if word.isdigit():
        failed = os.path.exists(os.path.join(here, word + ".failed"))
        print(word + "|" + ("FAILED" if failed else "RUNNING") + "|node")
""",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A made-up SLURM on the PATH; returns the folder of the scripts it was given."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "given").mkdir()
    for name, text in COMMANDS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "given"))
    return tmp_path / "given"


def test_slurm(tmp_path, slurm):
    words = ["partition=gpu", "timeout_min=60", "account=lab", "mem_gb=4"]
    executor = executors.make("slurm", tmp_path / "submitit", None, None, words)
    begun, ended = run(
        [batch(tmp_path, "ks"), batch(tmp_path, "er"), batch(tmp_path, "t", ["ks", "er"])],
        executor,
        tmp_path,
    )
    assert begun == ["ks", "er", "t"] and sorted(ended) == ["er", "ks", "t"]
    first = min(slurm.glob("*.sh")).read_text()
    for line in (
        "#SBATCH --partition=gpu",
        "#SBATCH --time=60",
        "#SBATCH --account=lab",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=4GB",
        "#SBATCH --job-name=superb-ks",
    ):
        assert line in first
    with pytest.raises(ValueError, match="--slurm partition: expected key=value"):
        executors.make("slurm", tmp_path, None, None, ["partition"])
    with pytest.raises(ValueError, match="Unknown argument 'partitoin'"):
        executors.make("slurm", tmp_path, None, None, ["partitoin=gpu"])


def test_what_sbatch_refuses(tmp_path, slurm):
    executor = executors.make("slurm", tmp_path / "submitit", None, None, ["partition=full"])
    with pytest.raises(ValueError, match=r"refused ks: .*QOSMaxSubmit.*; correct --slurm"):
        executor.start(batch(tmp_path, "ks"))


def test_a_job_that_slurm_has_already_is_not_submitted_twice(tmp_path, slurm, monkeypatch):
    monkeypatch.setenv("FAKE_SLURM_PENDING", "1")
    asked = batch(tmp_path, "ks")

    def start():
        return executors.make("slurm", tmp_path / "submitit", "cpu").start(asked)

    handle = start()
    handle.stop()  # leaves it in the queue
    assert not start().over() and len(list(slurm.glob("*.sh"))) == 1
    (slurm / "100.failed").touch()
    handle = start()
    first, second = sorted(slurm.glob("*.sh"))
    assert first.stem == "100" and "#SBATCH --gpus-per-node=0" in second.read_text()
    folder, number = (tmp_path / "submitit" / "ks.txt").read_text().splitlines()
    assert number == second.stem and Path(folder).is_dir()
