"""Where the jobs of a suite run: in this process, in processes of this machine, or under SLURM.

An executor starts batches (`jobs.Work`, or any callable that can be pickled) and says when they are
over. How one went is for the caller to see from what it left behind. `local` and `slurm` go through
submitit, which pickles the callable into a folder of its own; nothing else is unpickled there.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import upstream
from mt4ssl_core import slurm
from mt4ssl_core.threads import cores
from upstream.door.stand_in import StandIn
from upstream.suite.scheduling import Executor, Handle, JobBatch

INLINE, LOCAL, SLURM = "inline", "local", slurm.SLURM
NAMES = (INLINE, LOCAL, SLURM)
_YEAR = 366 * 24 * 60  # minutes; submitit stops a local job after two by default
_SLURM = {"timeout_min": 3 * 24 * 60, "cpus_per_task": 8, "mem_gb": 32}
_CORES = ("OMP_NUM_THREADS", "MT4SSL_CORES")  # of torch, and of QbE's processes
_CONTROLLER = "controller.log"  # what submitit's process says that starts a batch's
_PATIENCE = 5.0  # seconds for a process to end after SIGINT


class _Over:
    def over(self) -> bool:
        return True

    def stop(self) -> None:
        pass

    def error(self) -> str:
        return ""

    def clean(self) -> None:
        pass


class Inline:
    """In this process, one after another."""

    slots = 1

    def start(self, batch: JobBatch) -> Handle:
        """Do the batch; returns when it is over."""
        batch.work(None)()
        return _Over()


class _Submitted:
    """A batch in the hands of submitit."""

    def __init__(self, job: Any, after: Callable[[], None] = lambda: None, keep: bool = False):
        self.job, self.after, self.keep = job, after, keep
        self.ended = False

    def over(self) -> bool:
        if not self.ended and self.job.done():
            self.ended = True
            self.after()
        return self.ended

    def stop(self) -> None:
        if self.keep or self.ended:
            return
        self.job.cancel(check=False)
        process = getattr(self.job, "_process", None)
        if process is not None:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:  # begun by a shell whose jobs ignore SIGINT
                process.kill()

    def error(self) -> str:
        for path in (self.job.paths.stderr, self.job.paths.folder / _CONTROLLER):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            if text.strip():
                return text.strip().splitlines()[-1]
        return ""

    def clean(self) -> None:
        shutil.rmtree(self.job.paths.folder, ignore_errors=True)


class Local:
    """One process per GPU of this machine (or ``slots`` of them, on a CPU by default one)."""

    def __init__(self, folder: Path, gpus: Sequence[str], slots: int | None = None) -> None:
        self.folder, self.slots = folder, slots or max(1, len(gpus))
        self.free = [gpus[i % len(gpus)] if gpus else None for i in range(self.slots)]

    def start(self, batch: JobBatch) -> Handle:
        """Start a process for the batch."""
        gpu = self.free.pop(0)
        submitit = _submitit()
        place = _fresh(self.folder, batch)
        executor = submitit.LocalExecutor(place)
        executor.update_parameters(timeout_min=_YEAR)
        with _environment(self.slots), _aside(place / _CONTROLLER):
            job = executor.submit(batch.work("" if gpu is None else gpu))
        return _Submitted(job, lambda: self.free.append(gpu))


class Slurm:
    """One SLURM job per batch; stopping the suite leaves them in the queue."""

    def __init__(
        self,
        folder: Path,
        parameters: Mapping[str, Any],
        slots: int | None = None,
        cluster: str = SLURM,
    ) -> None:
        self.folder, self.slots, self.cluster = folder, slots or 10_000, cluster
        self.parameters = {**_SLURM, **parameters}
        with tempfile.TemporaryDirectory() as place:
            self._executor(Path(place))  # wrong parameters are found before anything starts

    def _executor(self, folder: Path) -> Any:
        said = "--executor slurm"
        return slurm.executor(_submitit(), folder, self.parameters, said, self.cluster)

    def start(self, batch: JobBatch) -> Handle:
        """Hand the batch to SLURM, unless an earlier suite did and it is still there."""
        note = self.folder / f"{batch.name.replace('/', '.')}.txt"
        if note.is_file() and self.cluster == SLURM:
            there, number = note.read_text(encoding="utf-8").split("\n")[:2]
            job = _submitit().SlurmJob(folder=there, job_id=number)
            if Path(there).is_dir() and not job.done(force_check=True):
                return _Submitted(job, keep=True)
        place = _fresh(self.folder, batch)
        executor = self._executor(place)
        executor.update_parameters(name=f"superb-{batch.name.replace('/', '-')}")
        try:
            with _environment(None):
                job = executor.submit(batch.work(None))
        except _submitit().core.utils.FailedJobError as error:
            raise ValueError(
                f"sbatch refused {batch.name}: {' '.join(str(error).split())}; correct --slurm, "
                "or run the same command again when the queue takes it"
            ) from error
        note.write_text(f"{place}\n{job.job_id}\n", encoding="utf-8")
        return _Submitted(job, keep=True)


def make(
    name: str,
    folder: Path,
    device: str,
    slots: int | None = None,
    parameters: Sequence[str] = (),
) -> Executor:
    """Return the executor of a name; its files go into ``folder``.

    Raises:
        ValueError: no such executor, wrong parameters, or no SLURM here.
    """
    if slots is not None and slots < 1:
        raise ValueError(f"--jobs {slots}: give 1 or a larger whole number")
    if name not in NAMES:
        raise ValueError(f"--executor {name}: choose one of {', '.join(NAMES)}")
    if parameters and name != SLURM:
        raise ValueError(f"--slurm goes with --executor slurm, not with {name}")
    if name == INLINE:
        return Inline()
    on_cpu = device == "cpu"
    if name == LOCAL:
        return Local(folder, [] if on_cpu else visible_gpus(), slots)
    given = {"gpus_per_node": 0 if on_cpu else 1, **slurm.parameters(parameters)}
    return Slurm(folder, given, slots)


def visible_gpus() -> list[str]:
    """Return the GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.device_count():
        return []
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


@contextlib.contextmanager
def _environment(slots: int | None) -> Iterator[None]:
    """What the processes inherit: where this package is, and a fair share of the cores."""
    here, before = str(Path(upstream.__file__).parent.parent), dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, before.get("PYTHONPATH")]))
    share = {} if slots is None else dict.fromkeys(_CORES, str(max(1, cores() // slots)))
    os.environ.update({name: count for name, count in share.items() if name not in before})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _aside(log: Path) -> Iterator[None]:
    """Give submitit's own process a session of its own, with ``log`` in place of the terminal.

    What is typed there is for the suite, which stops what runs.
    """
    from submitit.local import local

    with open(log, "ab") as file:
        aside = {"stdout": file, "stderr": file, "start_new_session": True}
        vars(local)["subprocess"] = StandIn(subprocess, Popen=partial(subprocess.Popen, **aside))
        try:
            yield
        finally:
            vars(local)["subprocess"] = subprocess


def _fresh(folder: Path, batch: JobBatch) -> Path:
    """Return a folder that no other batch uses: submitit names files by process ids."""
    name = f"{batch.name.replace('/', '.')}-{uuid.uuid4().hex[:8]}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    return folder / name


def _submitit() -> Any:
    return slurm.submitit("superb", "use --executor inline")
