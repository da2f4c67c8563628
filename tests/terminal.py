"""Commands on a terminal of a certain width, and what is then to be seen there."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

LINES, PATIENCE = 40, 120.0  # seconds


def on_terminal(
    argv: Sequence[str], columns: int, interrupt_at: bytes | None = None, cwd: str | None = None
) -> tuple[int, str]:
    """Return the exit code and all that a command wrote, both streams, to a terminal.

    Ctrl-C is typed once ``interrupt_at`` has been written.
    """
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        argv,
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(child)
    written, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            block = os.read(parent, 65536)
        except OSError:  # the end
            break
        written += block
        if not block:
            break
        if interrupt_at is not None and interrupt_at in written:
            os.write(parent, b"\x03")
            interrupt_at = None
    os.close(parent)
    return process.wait(PATIENCE), written.decode()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # what is typed is for this process
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a background job began the tests


def drawn(written: str) -> list[str]:
    """Return every piece that was written between moves of the cursor."""
    return [piece for piece in re.split(r"\r|\n|\x1b\[[AK]", written) if piece]


def screen(written: str) -> list[str]:
    """Return the lines that are to be seen in the end, without blank ones."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[AK]|\r|\n|[^\r\n\x1b]+", written):
        if piece == "\x1b[A":
            row = max(0, row - 1)
        elif piece == "\x1b[K":
            lines[row] = lines[row][:column]
        elif piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + piece + line[column + len(piece) :]
            column += len(piece)
    return [line.rstrip() for line in lines if line.strip()]
