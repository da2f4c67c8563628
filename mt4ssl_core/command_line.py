"""The guard around every command: what goes wrong is one line on stderr and an exit code.

0 done, 1 our mistake, 2 a mistake in the input (or a full disk, a missing file, ...), 130 Ctrl-C,
141 nobody reads the output any more (``mt4ssl store ls | head -1``). ``MT4SSL_DEBUG=1`` shows the
traceback as well.
"""

import errno
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

FAILED, REFUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141  # exit codes
LONGEST = 500  # characters of a text that is not ours
OURS = (
    *("mt4ssl", "mt4ssl_cli", "mt4ssl_core", "upstream", "analysis"),
    *("mini_superb", "downstream_configs"),
)


def guarded(
    program: str,
    body: Callable[[], int | None],
    interrupted: str = "the same command goes on where it stopped",
) -> int:
    """Call ``body`` and return the exit code of ``program``; no exception leaves but SystemExit.

    ``interrupted`` is said after Ctrl-C, unless the interrupt says otherwise itself. An error that
    a loader's worker raised counts as its own.
    """
    try:
        code = body() or 0
        _flush()
        return code
    except KeyboardInterrupt as error:
        _say(program, f"interrupted; {error if str(error) else interrupted}")
        return INTERRUPTED
    except BrokenPipeError as error:
        if _read():
            return _failed(program, error)
        _silence()
        return UNREAD
    except Exception as error:
        return _failed(program, error)


def printable(text: str) -> str:
    """Return ``text`` without characters that could steer a terminal or fake another line.

    They are shown escaped, as in ``\\x1b``. The lines of a list of problems, which begin with two
    spaces, stay lines.
    """
    lines = re.split(r"\n(?=  )", text)
    return "\n".join("".join(map(_shown, line)) for line in lines)


def message_of(error: BaseException) -> tuple[str, str]:
    """Return the name of an error's type and its text; of one out of a loader's worker, that
    worker's.
    """
    name, text = type(error).__name__, str(error).strip()
    if text.startswith("Caught ") and " in DataLoader worker process" in text:
        found = list(re.finditer(r"^(?:\w+\.)*(\w+)(?:: |$)", text, re.MULTILINE))
        if found:
            return found[-1][1], text[found[-1].end() :].strip()
    return name, text


def _failed(program: str, error: Exception) -> int:
    if os.environ.get("MT4SSL_DEBUG"):
        traceback.print_exception(error)
    name, text = message_of(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        text = f"{str(error.filename)[:LONGEST]} ...: a longer name than files can have; shorten it"
    if isinstance(error, ValueError | OSError):
        _say(program, f"error: {text or name}")
        return REFUSED
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in OURS:
        _say(program, f'error: {text}; install it, e.g. with pip install "mt4ssl[superb,analysis]"')
        return REFUSED
    text = " ".join(text.split())
    text = f"{text[:LONGEST]} ..." if len(text) > LONGEST else text
    what = f"{name}: {text}" if text else name
    _say(program, f"unexpected error: {what}; MT4SSL_DEBUG=1 shows where; please report it")
    return FAILED


def _say(program: str, text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens
        print(f"{program}: {printable(text)}", file=sys.stderr, flush=True)


def _shown(character: str) -> str:
    """A character as it can be printed: not in the categories of control, format, surrogate."""
    return character if character.isprintable() else ascii(character)[1:-1]


def _flush() -> None:
    """Write what was printed.

    Raises:
        BrokenPipeError: nobody reads it.
        OSError: it cannot be written; says where.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        raise OSError(f"standard output: cannot be written ({error.strerror})") from None


def _read() -> bool:
    """Whether somebody still reads what this process prints."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, closed, or not a file
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                return False
    return True


def _silence() -> None:
    """Let Python's own last flush go nowhere, instead of failing with a message of its own."""
    with suppress(AttributeError, OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows (the first is the head) with their columns below each other."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
