"""Files: written whole or not at all, read with their name in every error."""

import errno
import json
import os
import re
import resource
import secrets
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

TEMPORARY = re.compile(r"\.([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}\.tmp")  # machine, process
JSON_LIMIT = 1 << 28  # bytes; no JSON file that we read is near this


def user_path(path: str | Path) -> Path:
    """Return ``path`` with a leading ``~`` or ``~user`` replaced by that home folder.

    Raises ValueError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: no such home folder; write the path out") from None


# ---- Writing


def temporary_beside(path: str | Path) -> Path:
    """Return a new hidden name in ``path``'s folder: short, and unique over hosts and processes."""
    name = f".{machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    return Path(path).with_name(name)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it to
    ``path``.

    When the body raises, the temporary file is removed and ``path`` stays what it was.
    Parent folders are made. The file's mode follows the umask, whoever writes it.

    Raises:
        OSError: it cannot be written (disk full, quota, file-size limit, no permission); names
            ``path`` and the reason, also where a library hides it behind an error of its own.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        with writing(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            mode = os.fstat(descriptor).st_mode & 0o777
            os.close(descriptor)
            yield temporary
            os.chmod(temporary, mode)
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)  # the rename itself survives a power cut
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def duplicate(source: str | Path, target: str | Path, link: bool = False) -> None:
    """Make ``target`` a copy of ``source``, atomically; ``link``: another name of the same file,
    where the file system has such.

    Raises:
        OSError: as of `atomic_path`.
    """
    made = temporary_beside(target)
    if link:
        try:
            os.link(source, made)
            os.replace(made, target)
            return
        except OSError:  # no links here
            pass
        finally:
            made.unlink(missing_ok=True)  # stays when both names are of one file already
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def flush(path: Path) -> None:
    """Bring a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: str | Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is written (into ``temporary``) into one clear OSError.

    Other errors of the body, such as a ValueError about its input, pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.strerror is None:  # says all that it has to say
            raise
        reason = error.strerror or str(error)
        mine = {str(path), str(temporary), str(Path(path).parent), "None"}
        if str(error.filename) not in mine:
            raise
        raise _unwritten(path, error.errno, reason) from error
    except (RuntimeError, SafetensorError) as error:
        if type(error) not in (RuntimeError, SafetensorError):
            raise
        number = _write_failure(Path(path), temporary, str(error))
        if number is None:
            raise
        raise _unwritten(path, number, os.strerror(number)) from error


def _unwritten(path: str | Path, number: int, reason: str) -> OSError:
    error = OSError(
        f"{path}: cannot be written ({reason}); free or raise what is short, or write elsewhere; "
        "what was there before is unchanged"
    )
    error.errno = number
    return error


def _write_failure(path: Path, temporary: Path | None, text: str) -> int | None:
    """The errno behind a library's own error while writing, None if it was about something else."""
    named = [n for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.strerror(n) in text]
    if named:
        return named[0]
    limit, size = resource.getrlimit(resource.RLIMIT_FSIZE)[0], 0
    with suppress(OSError, AttributeError):
        size = temporary.stat().st_size  # type: ignore[union-attr]
    if limit != resource.RLIM_INFINITY and size >= limit // 2:
        return errno.EFBIG
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < 1 << 24:
            return errno.ENOSPC
    hints = ("writing", "write", "file_writer", "PytorchStreamWriter", "No space", "I/O error")
    return errno.EIO if any(hint in text for hint in hints) else None


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON (NaN refused), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_out(out: str | Path | None, option: str = "--out") -> None:
    """See that a folder can be written, before the work is done that is to go there.

    ``option``: what gave it, for errors.

    Raises:
        ValueError: it is a file, or would lie in one or in a folder that cannot be written.
    """
    if out is None:
        return
    place = user_path(out)
    there = next(path for path in (place, *place.parents) if path.exists())
    if not there.is_dir():
        is_file = "a file" if there == place else f"{there} is a file"
        raise ValueError(f"{option} {out}: {is_file}; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {out}: {there} cannot be written; give another folder")


def refuse_others(what: str, folder: Path, mark: str, own: Collection[str] = ()) -> None:
    """See that a folder is one of ours, with the file ``mark`` in it, or has nothing of others.

    ``own``: names of ours that may be there without the mark. Hidden files do not count.

    Raises:
        ValueError: it holds something else; begins with ``what``.
    """
    if not folder.is_dir() or (folder / mark).is_file():
        return
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if names - {*own}:
        raise ValueError(f"{what}: holds other files and no {mark}; give another folder")


def plain_cell(value: Any) -> Any:
    """Return a CSV cell that no spreadsheet takes for a formula: such text gets a ``'`` before it.

    Numbers, and text that does not begin with ``= + - @``, tab or carriage return, stay as they
    are.
    """
    if not isinstance(value, str):
        return value
    formula = value.startswith(("=", "+", "-", "@", "\t", "\r"))
    value = value.replace("\r", "\\r")  # not quoted by csv, and a new row for a spreadsheet
    return f"'{value}" if formula else value


def remove_leftovers(folder: str | Path, all_hosts: bool = False) -> list[Path]:
    """Remove the temporary files of dead writers directly in ``folder``; returns them.

    Files of living processes of this machine stay. Those of other machines stay as well, unless
    ``all_hosts`` says that nobody else writes here (the caller holds the folder's `lock`).
    """
    removed = []
    for path in Path(folder).glob(".*.tmp"):
        name = TEMPORARY.fullmatch(path.name)
        if name is None or path.is_symlink():  # not of ours
            continue
        if alive(int(name[2])) if name[1] == machine() else not all_hosts:
            continue
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed.append(path)
    return removed


# ---- Who wrote it


@cache
def machine() -> str:
    """Eight characters that are equal for processes that can see each other's numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return blake2b("/".join(parts).encode(), digest_size=4).hexdigest()


def alive(pid: int) -> bool:
    """Whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


# ---- Reading


@contextmanager
def reading(
    path: str | Path, remedy: str = "give another or copy it again", *besides: str | Path
) -> Iterator[None]:
    """Make whatever goes wrong while a foreign file is read a ValueError that names it.

    ValueError and OSError whose text names ``path`` already, or a path read ``besides``, pass
    unchanged.
    """
    try:
        yield
    except Exception as error:  # foreign data can raise anything
        named = any(str(known) in str(error) for known in (path, *besides))
        if isinstance(error, ValueError | OSError) and named:
            raise
        text = " ".join(str(error).split())[:200]
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise ValueError(f"{path}: cannot be read ({reason}); {remedy}") from error


def read_json(
    path: str | Path, limit: int = JSON_LIMIT, remedy: str = "copy the file again"
) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises ValueError naming it: missing, larger, not UTF-8, not JSON, nested too deeply.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; correct the path")
    if path.stat().st_size > limit:
        raise ValueError(
            f"{path}: {path.stat().st_size:,} bytes, more than the {limit:,} that such a JSON file "
            "can need; give another"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: JSON nested too deeply; {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {remedy}") from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def stamp(path: str | Path) -> list[int] | None:
    """Return what changes when a file does: its size, and its times in ns; None without a file.

    The time of the inode's last change is among them: nobody can set that back.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def cache_folder() -> Path:
    """Return our cache folder: $MT4SSL_CACHE, else mt4ssl under $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("MT4SSL_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mt4ssl")
