"""Runs in the hands of SLURM: handed over once, and gone on with after preemption or a time limit.

submitit sends the signal USR2 some time before a job ends, and `scontrol requeue` puts it back into
the queue. In between the loop saves; what is started again goes on from there.
"""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core import config, slurm
from mt4ssl_core.command_line import guarded
from mt4ssl_core.files import read_json, write_json
from mt4ssl_core.locks import lock
from mt4ssl_core.settings import finetuning
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.saving import LAST
from mt4ssl_core.training.starting import check_new

NOTE, FOLDER = "slurm.json", "slurm"  # in run.out: which job, and submitit's files
_DEFAULTS = {"timeout_min": 3 * 24 * 60, "cpus_per_task": 8, "mem_gb": 64, "nodes": 1}
_LOCK = ".submit.lock"
_PATIENCE = 20.0  # seconds
_ASKS = (signal.SIGUSR1, signal.SIGUSR2)  # to save and be started again


@dataclass(frozen=True)
class Job:
    """What each process of a job does; submitit pickles it."""

    loop: str
    config: str
    overrides: tuple[str, ...]

    def __call__(self) -> None:
        """Train; put the job back into the queue when its time is over.

        Raises:
            SystemExit: it was not finished.
        """
        handlers = {128 + number: signal.getsignal(number) for number in _ASKS}
        package = slurm.submitit("slurm", "use torchrun")
        package.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        code: Any
        try:
            code = guarded("mt4ssl", self._train)
        except SystemExit as left:
            code = left.code
        again = handlers.get(code)
        if callable(again):
            again(code - 128, None)  # submitit's; it returns on processes other than the first,
            time.sleep(_PATIENCE)  # whose end could end the first one
        if code:
            raise SystemExit(code)

    def _train(self) -> None:
        if self.loop == "pretrain":
            from mt4ssl_core.training import pretrain

            pretrain.pretrain(config.load(self.config, self.overrides, files=True))
        else:
            from mt4ssl_core.finetuning import finetune

            finetune.finetune(finetuning.load(self.config, self.overrides, files=True))

    def checkpoint(self) -> Any:
        """What submitit starts when the job comes out of the queue again."""
        package = slurm.submitit("slurm", "use torchrun")
        return package.helpers.DelayedSubmission(self)


def submit(
    loop: str,
    name: str,
    overrides: Sequence[str],
    given: Sequence[str],
    cluster: str = slurm.SLURM,
) -> str:
    """Hand a run to SLURM, unless it has it; returns a line that says where it is.

    loop: one of `slurm.LOOPS`. name, overrides: of its config. given: ``key=value`` words for
        submitit.

    Of several processes that hand it over at once, one does, and the others wait for that.

    Raises:
        ValueError: a bad config or parameter, other files in ``run.out``, no SLURM here, or SLURM
            refuses.
    """
    cfg = (config if loop == "pretrain" else finetuning).load(name, overrides, files=True)
    package = slurm.submitit("slurm", "use torchrun")
    out = Path(cfg.run.out)
    if not (out / LAST).exists():
        check_new(out)
    gpus = 0 if cfg.run.device == "cpu" else 1
    named = {"name": f"{loop}-{out.name}", "gpus_per_node": gpus}
    wanted = {**_DEFAULTS, **named, **slurm.parameters(given)}
    each = wanted["gpus_per_node"]
    wanted.setdefault("tasks_per_node", each if isinstance(each, int) and each > 0 else 1)
    made = slurm.executor(package, out / FOLDER, wanted, "--slurm", cluster)
    with lock(out / _LOCK, f"handing over the run in {out}", _PATIENCE):
        if (here := _status(package, out, cfg.optim.max_updates)) is not None:
            return here
        try:
            job = made.submit(Job(loop, name, tuple(overrides)))
        except package.core.utils.FailedJobError as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"sbatch refused the run in {out}: {reason}; correct --slurm"
            ) from error
        write_json(out / NOTE, {"job": str(job.job_id), "cluster": cluster})
    return f"{out}: job {job.job_id}; the same command says how far it is; log: {job.paths.stdout}"


def _status(package: Any, out: Path, last: int) -> str | None:
    """How far a run is whose job is still there, else None."""
    if not (out / NOTE).is_file():
        return None
    note = read_json(out / NOTE)
    if not isinstance(note, dict) or not str(note.get("job", "")).isdigit():
        raise ValueError(f"{out / NOTE}: not as `mt4ssl submit` wrote it; remove it")
    if note.get("cluster") != slurm.SLURM:
        return None
    job = package.SlurmJob(folder=out / FOLDER, job_id=note["job"])
    if job.done(force_check=True):
        return None
    log = out / "log.jsonl"
    records = read_jsonl(log) if log.is_file() else []
    made = records[-1]["update"] if records else 0
    return f"{out}: job {note['job']} is {job.state}, update {made:,} of {last:,}; log: " + str(
        job.paths.stdout
    )
