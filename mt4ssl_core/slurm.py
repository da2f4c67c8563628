"""SLURM through submitit, which is optional: what a user gives, and an executor made of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.settings.values import of_word

LOOPS = ("pretrain", "finetune")  # that SLURM is given
SLURM = "slurm"  # submitit's name of it; `local` and `debug` are for tests
_REQUEUES = 100  # a job that was timed out goes on from its checkpoint
_COMMON = {  # parameters that are no one cluster's
    *("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node"),
    *("tasks_per_node", "stderr_to_stdout"),
}


def submitit(extra: str, otherwise: str) -> Any:
    """Return the package; ValueError: it is missing, with the ``extra`` that brings it."""
    try:
        import submitit
    except ImportError as error:
        raise ValueError(
            f'submitit is not installed; pip install "mt4ssl[{extra}]", or {otherwise}'
        ) from error
    return submitit


def parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` words into submitit's parameters.

    Raises:
        ValueError: a word without ``=``.
    """
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"--slurm {pair}: expected key=value, such as partition=gpu")
        found[key.removeprefix("slurm_")] = of_word(text)
    return found


def executor(
    package: Any, folder: Path, given: Mapping[str, Any], said: str, cluster: str = SLURM
) -> Any:
    """Return submitit's executor of these parameters; its files go into ``folder``.

    Raises:
        ValueError: wrong parameters, or no SLURM here; begins with what was ``said``.
    """
    many = {"slurm_max_num_timeout": _REQUEUES} if cluster == SLURM else {}
    named = {key if key in _COMMON else f"slurm_{key}": value for key, value in given.items()}
    try:
        made = package.AutoExecutor(folder, cluster=cluster, **many)
        made.update_parameters(**named)
    except (RuntimeError, NameError, AssertionError, ValueError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{said}: {first}; run it where sbatch and srun are, with --slurm key=value as "
            "submitit names them (timeout_min, mem_gb, cpus_per_task, gpus_per_node, nodes, "
            "partition, account, qos, ...)"
        ) from error
    return made
