"""A peer in a process of its own: it makes an update when asked, or says why it cannot."""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE))
from benchmarks import clones, updates  # noqa: E402
from benchmarks.dispatching import Dispatched  # noqa: E402

ROOT = "MT4SSL_BENCHMARKED"  # the checkout whose code `ours` and `earlier` run
LONGEST = 200  # characters of a reason


class NotRunError(Exception):
    """The peer ``name`` cannot make an update; says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True)
class Setting:
    """What an update is of: utterances, seconds of each, threads, device."""

    count: int
    seconds: float
    threads: int
    device: str

    def options(self) -> list[str]:
        """As the worker reads them."""
        found = vars(self).items()
        return [text for name, value in found for text in (f"--{name}", str(value))]


class Peer:
    """A process that makes updates of ``name``, of a clone in ``folder`` where it needs one.

    ``folder`` of `earlier` is another checkout of this code.
    """

    def __init__(self, name: str, setting: Setting, folder: Path | None = None) -> None:
        self._name, cloned = name, name in clones.UPDATES
        python = clones.interpreter(folder) if cloned and folder else sys.executable
        command = [python, __file__, name, *setting.options(), "--folder", str(folder or HERE)]
        environment = os.environ | ({} if cloned else {ROOT: str(folder or HERE)})
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate()

    def update(self) -> dict[str, float]:
        """Make one update; what it took.

        Raises:
            NotRunError: the peer cannot, or its process was killed.
        """
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):  # it has ended; what it said is read below
            print(file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"failed": self._ended()}
        if "failed" in said:
            raise NotRunError(self._name, said["failed"])
        return said

    def _ended(self) -> str:
        code = self._process.wait()
        killed = f"was killed by signal {-code} (out of memory?)"
        return f"its process {killed if code < 0 else f'ended with {code}'}"


def measured(update: updates.Update, number: int, counts: bool) -> dict[str, float]:
    """Make one update; seconds and memory, and with ``counts`` what is dispatched."""
    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with Dispatched() if counts else nullcontext() as found:
        update(number)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    took, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "wall": took,
        "user": after.ru_utime - before.ru_utime,
        "kernel": after.ru_stime - before.ru_stime,
        "page faults": after.ru_minflt - before.ru_minflt,
        "peak GB": after.ru_maxrss / 1e6,
    }
    return said | ({"operators": found.operators, "reads": found.reads} if found else {})


def work(make: Callable[[], updates.Update], counts: bool) -> int:
    """Make an update for every line that comes in, and say in JSON what it took, or the reason."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no answer
    seen: dict[str, float] = {}  # of the first update
    try:
        update = make()
        for number, _ in enumerate(sys.stdin, 1):
            said = measured(update, number, counts and number == 1)
            seen |= {key: said[key] for key in ("operators", "reads") if key in said}
            print(json.dumps(said | seen), file=answers, flush=True)
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        print(json.dumps({"failed": reason}), file=answers, flush=True)
        return 1
    return 0


def main() -> int:
    """Be a peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*updates.UPDATES, *clones.UPDATES])
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    given = args.count, int(args.seconds * 16_000), args.device
    counts = args.device == "cpu" and args.name != "ours, compiled"
    if args.name in clones.UPDATES:
        return work(partial(clones.UPDATES[args.name], args.folder, *given), counts)
    sys.path.insert(0, os.environ[ROOT])
    return work(partial(updates.UPDATES[args.name], *given), counts)


if __name__ == "__main__":
    sys.exit(main())
