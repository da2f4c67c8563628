"""An encoder of one's own: a class in a Python file, named FILE.py:CLASS in place of a checkpoint.

The file is code, and runs. So it has to be named by whoever starts the command: a stored experiment
or k-means that names one is refused, until its user has named the same file.
"""

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mt4ssl_core.files import user_path

NAMED = re.compile(r"(.+\.py):(\w+)")
_allowed: set[str] = set()


@dataclass(frozen=True)
class PythonFile:
    """A class in a file."""

    path: Path  # absolute
    name: str  # of the class

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def is_named(text: object) -> bool:
    """Tell FILE.py:CLASS from a path to a checkpoint."""
    return str(text).endswith(".py") or NAMED.fullmatch(str(text)) is not None


def read_name(text: object) -> PythonFile:
    """Return which class in which file is meant.

    Raises:
        ValueError: no class is named, or there is no such file.
    """
    found = NAMED.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{text}: which class? give FILE.py:CLASS, as in my_encoder.py:MyEncoder")
    path = user_path(found[1]).absolute()
    if not path.is_file():
        raise ValueError(f"{found[1]}: no such file; check the path of the encoder's Python file")
    return PythonFile(path, found[2])


def allow(text: object) -> PythonFile:
    """Remember that the user named this file, so that `load` may run it; returns it.

    Raises:
        ValueError: as `read_name`.
    """
    named = read_name(text)
    _allowed.add(str(named))
    return named


def of_user(checkpoint: str) -> str:
    """Return what the user named as a checkpoint; FILE.py:CLASS is allowed to run, and absolute.

    Raises:
        ValueError: as `read_name`.
    """
    return str(allow(checkpoint)) if is_named(checkpoint) else checkpoint


def load(text: object) -> tuple[type, str]:
    """Run a file that was allowed; return its class, and the SHA-256 (hex) of its source.

    Raises:
        ValueError: the user has not named it, it fails, or has no such class.
    """
    named = read_name(text)
    if str(named) not in _allowed:
        raise ValueError(
            f"{named}: is code, and is run only where you name it yourself, in place of the "
            "checkpoint, with -u, or of a k-means with --features; read it first"
        )
    source = named.path.read_bytes()
    module = _run(named, source)
    found = getattr(module, named.name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ValueError(f"{named}: no such class; the file has {', '.join(classes) or 'none'}")
    if not isinstance(found, type):
        raise ValueError(f"{named}: a {type(found).__name__}, not a class; name the class itself")
    return found, hashlib.sha256(source).hexdigest()


def _run(named: PythonFile, source: bytes) -> ModuleType:
    """Return the file as a module."""
    name = f"mt4ssl_encoder_{hashlib.sha256(str(named.path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, named.path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        exec(compile(source, str(named.path), "exec"), vars(module))
    except SyntaxError as error:
        raise ValueError(f"{named.path}:{error.lineno}: {error.msg}; correct that line") from error
    except Exception as error:
        raise ValueError(f"{said(named.path, error)}; it has to be importable alone") from error
    return module


def said(path: Path, error: Exception) -> str:
    """Return an error of the user's code, with the line of the file where it arose."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())[:300]
    return f"{path}{line}: {type(error).__name__}{f': {text}' if text else ''}"
