"""What stops a run before its end: signals and NaN."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core.data.batch import Batch
from mt4ssl_core.files import write_json
from mt4ssl_core.training.resuming import Resumable
from mt4ssl_core.training.saving import Saver


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that receives the number of a SIGTERM, SIGINT, SIGHUP or SIGUSR1 or 2; a second
    SIGTERM or SIGINT stops without another checkpoint.

    A closed terminal sends SIGHUP, and SLURM a SIGUSR before it ends a job; others may follow, so
    these never count as a first or second one. Where SIGHUP is ignored (``nohup``) it stays so.
    """
    received: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if received and {number, received[0]} <= {signal.SIGTERM, signal.SIGINT}:
            raise KeyboardInterrupt
        received.append(number)

    wanted = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    try:
        old = {s: signal.signal(s, remember) for s in wanted}
    except ValueError:  # not the main thread: signals are somebody else's
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def report_nan(
    training: Resumable,
    saver: Saver,
    micro: list[tuple[Batch, int]],
    parts: Mapping[str, Tensor],
    loss: float,
    grad_norm: float,
    rates: Mapping[str, float],
) -> None:
    """Write what led to a NaN, with the ``parts`` of the last micro-batch's loss, beside the
    checkpoint of the last good weights, then stop.

    Raises:
        ValueError: always; it says where to look and what to change.
    """
    progress, world, out = training.progress, training.world, Path(training.cfg.run.out)
    name = f"nan_at_update_{progress.update + 1}"
    report = out / (f"{name}.json" if world.size == 1 else f"{name}_process_{world.rank}.json")
    facts = {
        "update": progress.update + 1,
        "loss": str(loss),
        "grad_norm": str(grad_norm),
        **rates,
        "last_micro_batch": {name: str(value.item()) for name, value in parts.items()},
        "utterances": [batch.ids for batch, _ in micro],
        "epoch": micro[-1][0].epoch,
    }
    write_json(report, facts)
    kept = "before_nan.pt holds the weights it met"
    try:
        saver.save_aside("before_nan.pt")  # ends on all processes at once, or the first to stop
        # would end the others while they write
    except (OSError, ValueError) as error:
        kept = f"what it met could not be kept ({error})"
    raise ValueError(
        f"the loss or its gradient is not a number at update {progress.update + 1}; {report} names "
        f"the utterances and {kept}; lower optim.lr, set optim.clip_norm, or use run.precision=fp32"
    )
