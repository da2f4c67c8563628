"""One owner at a time: a lock file with a name in it, for folders that two runs must not share."""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mt4ssl_core.files import alive, machine, temporary_beside, writing

BEAT, SILENCE = 30.0, 600.0  # seconds between two signs of life; after which a lock is taken over


@contextmanager
def lock(path: str | Path, what: str, patience: float = 0.0) -> Iterator[str]:
    """Hold the lock file ``path`` while the body runs; ``what`` names the locked thing in errors.

    Yields a token by which other processes can see with `held` whether this one still has it.
    ``patience``: seconds to wait for another owner.

    The file says which process of which host has had it since when. It needs no flock, so it works
    on every file system, and on several hosts. The lock of a process of this machine that is gone,
    or of another machine that has given no sign of life for 10 minutes, is taken over.

    Raises:
        ValueError: somebody else has it; says who, and what to do.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    mine = {
        "host": socket.gethostname(), "pid": os.getpid(), "machine": machine(), "token": token,
        "process_started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }  # fmt: skip
    deadline = time.monotonic() + patience
    while not _create(path, json.dumps(mine)):
        owner, beat = _owner(path)
        if owner is None:
            continue  # released between two looks
        if not _gone(path, owner, beat):
            if time.monotonic() < deadline:
                time.sleep(min(0.2, patience))
                continue
            raise ValueError(
                f"{what} is in use by process {owner.get('pid')} on {owner.get('host')} since "
                f"{owner.get('since')}; wait for it or stop it. If it is no longer running, "
                f"remove {path}"
            )
        _remove_stale(path, owner)
    done = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, token, done), daemon=True)
    heart.start()
    try:
        yield token
    finally:
        done.set()
        owner, _ = _owner(path)
        if owner is not None and owner.get("token") == token:
            path.unlink(missing_ok=True)


def held(path: str | Path, token: str) -> bool:
    """Whether the process that got this ``token`` from `lock` is still there and has the lock."""
    owner, beat = _owner(Path(path))
    return owner is not None and owner.get("token") == token and not _gone(Path(path), owner, beat)


def _remove_stale(path: Path, owner: dict[str, Any]) -> None:
    """Remove the lock of an owner that is gone; of several processes that want to, one does."""
    mutex = path.with_name(f"{path.name}.takeover")
    try:
        mutex.mkdir()
    except FileExistsError:
        with suppress(OSError):
            if time.time() - mutex.stat().st_mtime > SILENCE:
                mutex.rmdir()
        time.sleep(0.01)
        return
    try:
        if _owner(path)[0] == owner:  # or somebody was faster
            path.unlink()
    finally:
        mutex.rmdir()


def _create(path: Path, text: str) -> bool:
    """Make the lock file with its text in one step; False if there is one."""
    made = temporary_beside(path)
    with writing(path, made):
        made.write_text(text)
        try:
            os.link(made, path)  # appears with its text, or not at all
            return True
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            return _create_alone(path, text)
        finally:
            made.unlink(missing_ok=True)


def _create_alone(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return True


def _owner(path: Path) -> tuple[dict[str, Any] | None, float]:
    """What a lock file says, and when it gave its last sign of life; None if there is no file."""
    try:
        beat = path.stat().st_mtime
        owner = json.loads(path.read_text())
    except FileNotFoundError:
        return None, 0.0
    except ValueError:
        owner = {}
    return (owner if isinstance(owner, dict) else {}), beat


def _gone(path: Path, owner: dict[str, Any], beat: float) -> bool:
    """Whether the process that made a lock is gone."""
    if owner.get("machine") == machine():
        pid = owner.get("pid")
        return not (
            type(pid) is int and alive(pid) and _started(pid) == owner.get("process_started")
        )
    if abs(time.time() - beat) < SILENCE / 2:
        return False
    probe = temporary_beside(path)  # its time is the file server's, as the lock's is
    probe.touch()
    try:
        return probe.stat().st_mtime - beat > SILENCE
    finally:
        probe.unlink(missing_ok=True)


def _beat(path: Path, token: str, done: threading.Event) -> None:
    while not done.wait(BEAT):
        owner, _ = _owner(path)
        if owner is None or owner.get("token") != token:
            return
        with suppress(OSError):
            os.utime(path)


def _started(pid: int) -> str | None:
    """When a process began, as the kernel counts it: its number may be another's by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]  # Z: ended, its parent has not noticed
    except (OSError, IndexError):
        return None
