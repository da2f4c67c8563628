"""Lines on a terminal that nothing tears: one that is redrawn, and what is printed above it."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from mt4ssl_core.command_line import printable

FIRST, LONGEST = 10.0, 600.0  # seconds between lines, where there is no terminal
REDRAW = 0.1  # seconds, on a terminal
_COLUMNS = 80  # of a terminal that does not say
_REST = "\x1b[K"  # clears the rest of a terminal's line, such as an echoed ^C


class Line:
    """A line of text that changes. ``show``: at all; ``leave``: on a terminal, when it ends."""

    def __init__(self, show: bool = True, leave: bool = True, stream: Any = None) -> None:
        first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes
        self.show = show and first and "TQDM_DISABLE" not in os.environ
        self._stream, self._leave = stream or sys.stderr, leave
        self._shown, self._wait = time.monotonic(), FIRST
        self.written = False  # whether anything was, where there is no terminal
        self._painter: Any = None
        if self.show and is_terminal(self._stream):
            self._painter = tqdm(file=self._stream, bar_format="{desc}", leave=leave, ncols=0)
            self._shown = 0.0

    @property
    def redrawn(self) -> bool:
        """Whether it is on a terminal."""
        return self._painter is not None

    def change(self, text: Callable[[int | None], str], now: bool = False) -> bool:
        """Show ``text`` if it is time, or ``now``; it gets the columns there are, None: any.

        Returns whether it was shown.
        """
        passed = time.monotonic() - self._shown
        if not self.show or not (now or passed >= (REDRAW if self.redrawn else self._wait)):
            return False
        columns = width(self._stream) if self.redrawn else None
        line = printable(text(columns))[:columns]
        with suppress(OSError, ValueError):  # nobody is there any more
            if self.redrawn:
                self._painter.set_description_str(line + _REST)
            else:
                self._wait = min(2 * self._wait, LONGEST)
                self.written = True
                print(line, file=self._stream, flush=True)
        self._shown = time.monotonic()
        return True

    def close(self, text: Callable[[int | None], str], again: bool = True) -> None:
        """End with ``text``: on a terminal if it is to stay, else if any was shown, ``again``."""
        if self._leave if self.redrawn else self.written and again:
            self.change(text, now=True)
        if self.redrawn:
            with suppress(OSError, ValueError):
                self._painter.close()
        self.show = False


class Above:
    """A terminal, of which each line comes above what is drawn there."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        """Print the whole lines; keep what is begun of the next."""
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        if lines:
            with tqdm.external_write_mode(file=sys.stderr):
                self._stream.write("".join(f"{line}{_REST}\n" for line in lines))
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Do nothing: a begun line would stand where others are drawn."""

    def close(self) -> None:
        """Print what was begun of a line."""
        self._stream.write(self._begun)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: str, stream: Any = None) -> None:
    """Print a line (None: on stdout) without breaking what is drawn on a terminal."""
    with suppress(OSError):  # nobody is there any more
        rest = _REST if is_terminal(stream or sys.stdout) else ""
        tqdm.write(printable(text) + rest, file=stream)


def say_once(text: str) -> None:
    """Print a line on stdout; of torchrun's processes, the first does."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def width(stream: Any) -> int:
    """Return how many columns of a terminal can be written without wrapping, with room for ^C."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        columns = 0
    return max(1, (columns or _COLUMNS) - 3)


def is_terminal(stream: Any) -> bool:
    """Whether somebody sees what is written there at once."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def duration(seconds: float) -> str:
    """Return a time as minutes and seconds, or hours, minutes and seconds."""
    return str(tqdm.format_interval(seconds))
