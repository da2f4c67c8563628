"""The few things that several processes agree on; all are no-ops for one process."""

import gc
import os
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_LOST = re.compile(r"gloo|nccl", re.IGNORECASE)
_PATIENCE = timedelta(minutes=30)  # torch's own
_LOOK = 0.05  # seconds between two looks for the first process


@dataclass(frozen=True)
class World:
    """This process among all: rank 0..size - 1, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, by rank; any value that can be pickled."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def on_main(self, work: Callable[[], object]) -> None:
        """Let the first process do ``work`` while the others wait.

        Raises:
            ValueError, OSError: those of ``work``; on the other processes a ValueError that says
                the same.
        """
        self.each(work if self.is_main else lambda: None)

    def each(self, work: Callable[[], object]) -> None:
        """Let every process do its ``work`` and wait for the others.

        Raises:
            ValueError, OSError: those of ``work``; where it went well, but not everywhere, a
                ValueError that says what the first other process met.
        """
        problem: Exception | None = None
        try:
            work()
        except (ValueError, OSError) as error:
            problem = error
        said = self.gather(None if problem is None else str(problem))
        if problem is not None:
            raise problem
        for text in said:
            if text is not None:
                raise ValueError(text)

    def barrier(self) -> None:
        """Wait for every process."""
        if self.size > 1:
            dist.barrier()


def choose_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` -> a device that exists.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r}: unknown; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: this machine has no usable GPU; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} GPU(s), counted from "
            "0; choose one of them"
        )
    return device


def start(device: str, patience: timedelta | None = None) -> World:
    """Join the other processes when launched by torchrun, else be alone.

    A process waits for the others at most ``patience`` (torch's default: minutes).
    """
    size = _of_torchrun("WORLD_SIZE", 1)
    if size == 1:
        return World(0, 1, choose_device(device))
    on_gpu = choose_device(device).type == "cuda"
    local = _of_torchrun("LOCAL_RANK", 0)
    if on_gpu and device not in ("auto", "cuda"):
        raise ValueError(f"run.device={device}: torchrun gives each process its GPU; use cuda")
    chosen = choose_device(f"cuda:{local}") if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"  # host facts do not wait for a GPU
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            rank, wait = _of_torchrun("RANK", 0), patience or _PATIENCE
            address, port = os.environ["MASTER_ADDR"], _of_torchrun("MASTER_PORT", 0)
            shared = dist.TCPStore(address, port, size, is_master=False, timeout=wait)
            store = of_this_start(shared, rank, size, wait)
            dist.init_process_group(
                backend, timeout=patience, store=store, rank=rank, world_size=size
            )
        else:
            dist.init_process_group(backend, timeout=patience)
    return World(dist.get_rank(), size, chosen)


def of_this_start(
    shared: "dist.Store", rank: int, size: int, patience: timedelta
) -> "dist.PrefixStore":
    """The part of a store of torchrun that the processes of this start have to themselves.

    torchrun keeps one store for all its restarts. Without this a process would find the addresses
    that the former ones left there, and wait for these.

    Raises:
        DistError: the others did not come in time.
    """
    store, mine = dist.PrefixStore("mt4ssl", shared), secrets.token_hex(8)
    if rank == 0:
        store.set("start", mine)
        for other in range(1, size):
            store.wait([f"{mine}/{other}"], patience)
            theirs = store.get(f"{mine}/{other}").decode()
            store.set(f"{mine}/{other}/{theirs}", "here")
        return dist.PrefixStore(mine, store)
    end = time.monotonic() + patience.total_seconds()
    while True:
        named = store.get("start").decode()  # perhaps of a former one, which answers no more
        store.set(f"{named}/{rank}", mine)
        if store.check([f"{named}/{rank}/{mine}"]):
            return dist.PrefixStore(named, store)
        if time.monotonic() > end:
            raise dist.DistStoreError(f"the first process did not come in {patience}")
        time.sleep(_LOOK)


@contextmanager
def joined(device: str, out: str, minutes: float) -> Iterator[World]:
    """Train with the other processes of the run in ``out`` while the body runs.

    minutes: that a process waits for the others before it takes them for lost.

    Raises:
        ConnectionError: another process of the run cannot be reached.
    """
    with leaving(out):
        yield start(device, timedelta(minutes=minutes))


@contextmanager
def leaving(out: str) -> Iterator[None]:
    """Leave the other processes of the run in ``out``, if any were met, however the body ends.

    Raises:
        ConnectionError: another one cannot be reached.
    """
    try:
        with peers(out):
            yield
    except BaseException as error:
        if together():
            _let_go(error)
        raise
    finally:
        stop()


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error came through: they hold DDP, and it the process group."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@contextmanager
def peers(out: str) -> Iterator[None]:
    """Turn what the backend says when another process is gone into a line that says so.

    Raises:
        ConnectionError: another process of the run in ``out`` cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:  # the backends' own errors are RuntimeErrors
        rank, size = _of_torchrun("RANK", 0), _of_torchrun("WORLD_SIZE", 1)
        if size == 1 or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"process {rank} of {size} of the run in {out} lost another one, which was killed, "
            f"stopped or never came (out of memory? see its own message, and dmesg); {_next()} "
            f"from what was saved last ({reason[:200]})"
        ) from error


def _next() -> str:
    """What comes after the loss of a process."""
    most, made = _of_torchrun("TORCHELASTIC_MAX_RESTARTS", 0), "TORCHELASTIC_RESTART_COUNT"
    if _of_torchrun(made, 0) < most:
        return "torchrun starts all of them again, which go on"
    return "run the same command again: it goes on"


def _of_torchrun(name: str, alone: int) -> int:
    """A number that torchrun tells its processes; ``alone`` where it does not.

    Raises:
        ValueError: something else has set it.
    """
    text = os.environ.get(name, str(alone))
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name}={text!r:.40}: not a number; start with torchrun, or unset {name}")
    return int(text)


def stop() -> None:
    """Leave the other processes."""
    if together():
        gc.collect()  # a DDP that outlives the group may wait for ever for the group's threads
        dist.destroy_process_group()


def together() -> bool:
    """Whether this process has met others."""
    return dist.is_available() and dist.is_initialized()
