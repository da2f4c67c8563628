"""Where the numbers of log.jsonl go besides: one small class per program that shows them.

``run.loggers`` names them. Each is made with the run's folder, the update after which it begins
and the run's settings; `add` takes what one line of the log has.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from mt4ssl_core.files import write_text, writing

PROJECT = "mt4ssl"  # of runs at W&B and in Trackio


class Logger(Protocol):
    """What a journal needs of a logger."""

    def add(self, values: Mapping[str, float], update: int) -> None:
        """Append named numbers. OSError: they cannot be written; names the folder."""

    def close(self) -> None:
        """Write the rest. OSError: as of the system."""


class TensorBoard:
    """TensorBoard's events of one run from ``start`` on; what came later before is hidden.

    They are written here and not by tensorboardX's thread: when the disk is full that dies, and
    what is given to it afterwards waits for ever.
    """

    def __init__(self, folder: Path, start: int, settings: Mapping[str, Any]):
        self.path, self.flushed = folder / "tensorboard", time.monotonic()
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.events = EventsWriter(str(self.path / "events"), f".{os.getpid()}.{start}")
        self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, values: Mapping[str, float], update: int) -> None:
        """Append named numbers. OSError: they cannot be written; names the folder."""
        for name, value in values.items():
            self._write(Event(step=update, summary=scalar(name, value)))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with writing(self.path):
            self.events.write_event(event)
            if time.monotonic() - self.flushed > 60:
                self.events.flush()
                self.flushed = time.monotonic()

    def close(self) -> None:
        """Write the rest. OSError: as of the system."""
        self.events.close()


class WandB:
    """A run at Weights & Biases; with ``WANDB_MODE=offline`` below ``run.out/wandb`` alone.

    A resumed run goes on there, by the id in ``run.out/wandb_id``.
    """

    def __init__(self, folder: Path, start: int, settings: Mapping[str, Any]):
        import wandb

        file = folder / "wandb_id"
        if not file.exists():
            write_text(file, secrets.token_hex(4))
        try:
            self.run = wandb.init(
                project=PROJECT, name=folder.name, dir=str(folder), config=dict(settings),
                id=file.read_text().strip(), resume="allow",
            )  # fmt: skip
        except Exception as error:  # of wandb's own kinds: no key, no network
            raise ValueError(
                f"run.loggers: wandb does not start: {error}; log in with `wandb login`, set "
                "WANDB_MODE=offline, or leave it out"
            ) from error

    def add(self, values: Mapping[str, float], update: int) -> None:
        """Append named numbers."""
        self.run.log(dict(values), step=update)

    def close(self) -> None:
        """Send the rest."""
        self.run.finish()


class Trackio:
    """A run of Trackio, in its local database."""

    def __init__(self, folder: Path, start: int, settings: Mapping[str, Any]):
        import trackio

        self.run = trackio.init(
            project=PROJECT, name=folder.name, config=dict(settings), resume="allow"
        )

    def add(self, values: Mapping[str, float], update: int) -> None:
        """Append named numbers."""
        self.run.log(dict(values), step=update)

    def close(self) -> None:
        """Write the rest."""
        self.run.finish()


LOGGERS: dict[str, Callable[[Path, int, Mapping[str, Any]], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}
_PACKAGES = {"tensorboard": "tensorboardX"}  # where it has another name


def check(names: Sequence[str]) -> None:
    """Raise ValueError when the package of a logger is not installed."""
    lacking = [name for name in names if find_spec(_PACKAGES.get(name, name)) is None]
    if lacking:
        raise ValueError(
            f"run.loggers: {', '.join(lacking)} is not installed: "
            f"pip install 'mt4ssl[{','.join(lacking)}]', or leave it out of run.loggers"
        )


def open_loggers(names: Sequence[str], folder: Path, update: int, settings: Any) -> list[Logger]:
    """Return the loggers of these names, each once."""
    return [LOGGERS[name](folder, update, settings) for name in dict.fromkeys(names)]
