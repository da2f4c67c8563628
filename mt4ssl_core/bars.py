"""How far long work has come: a line that is redrawn on a terminal, now and then one elsewhere.

All commands show it alike, on stderr: what and how much of it is done, what was measured last, the
speed, the time left. On a terminal a line never wraps: where it is narrow, the measures that come
last are left out. Elsewhere (a pipe, a file) nothing is redrawn: a line is written after 10
seconds, and again after times that double, 10 minutes at most. TQDM_DISABLE in the environment
hides it all; of torchrun's processes the first one shows it.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any, TypeVar, cast

from mt4ssl_core.lines import REDRAW, Above, Line, duration, is_terminal

_RECENT = 50  # times whose mean is the speed, a second apart at least
MB = 1e6  # bytes
_NARROWEST = 10  # columns that the bar itself needs
_REAL_TIME = " real time"
Item = TypeVar("Item")


class Bar:
    """How much of something is done.

    Args:
        what: what is counted or done, such as "update".
        total: how much there is; None when nobody knows.
        done: how much was done before.
        unit: after the count, such as " s".
        audio: whether seconds of audio are counted; then the speed is shown. Who counts something
            else can set ``speed`` (times real time).
        timed: whether lines come by the time; otherwise only `show` with ``now`` writes them
            where there is no terminal.
        show: whether anything is shown.
        stream: where; None: stderr.
    """

    def __init__(
        self,
        what: str,
        total: float | None = None,
        *,
        done: float = 0,
        unit: str = "",
        audio: bool = False,
        timed: bool = True,
        show: bool = True,
        stream: Any = None,
    ) -> None:
        self.what, self.total, self.done, self.unit = what, total, done, unit
        self.audio, self.timed = audio, timed
        self.speed: float | None = None
        self.measures: dict[str, str] = {}
        self._began = time.monotonic()
        self._times = deque([(self._began, done)], _RECENT)
        self._line = Line(show, not _open, stream)
        self._ended, self._seen = False, done
        self._thread = threading.get_ident()
        _open.append(self)
        if self._line.redrawn:
            self.show(now=True)

    def advance(self, amount: float = 1) -> None:
        """Count what was done."""
        self.done += amount
        now = time.monotonic()
        if now - self._times[-1][0] >= 1:
            self._times.append((now, self.done))
        self.show()

    def go_on_from(self, done: float) -> None:
        """Begin to count at ``done``, which tells nothing about the speed."""
        self.done, self._seen = done, done
        self._times.clear()
        self._times.append((time.monotonic(), done))

    def show(self, now: bool = False, **measures: str) -> None:
        """Set what stands behind names such as ``loss``; ``now``: show it at once."""
        self.measures |= measures
        by_time = self.timed or self._line.redrawn
        if (now or by_time) and self._line.change(self.text, now):
            self._seen = self.done

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield ``items`` and count each when the next is asked for; ends the bar."""
        with self:
            for item in items:
                yield item
                self.advance()

    def spent(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._began

    def left(self) -> float | None:
        """Return the seconds that are left, None when nobody knows."""
        (then, before), now = self._times[0], time.monotonic()
        if self.total is None or self.done <= before or now <= then:
            return None
        return max(0.0, (self.total - self.done) * (now - then) / (self.done - before))

    def text(self, columns: int | None = None) -> str:
        """Return the line, in at most so many columns; the last measures go first."""
        measures = [f"{name} {value}" for name, value in self.measures.items()]
        begin, end = [self._count()], [*self._speed(), self._time()]
        text = "  ".join([*begin, *measures, *end])
        if columns is None:
            return text
        if len(text) > columns:
            end = [part.removesuffix(_REAL_TIME) for part in end]
        while len(text := "  ".join([*begin, *measures, *end])) > columns and measures:
            measures.pop()
        room = columns - len(text) - 4
        if self.total and room >= _NARROWEST and not self._ended:
            share = min(1.0, self.done / self.total)
            begin.append(f"|{'#' * int(share * room):<{room}}|")
        return "  ".join([*begin, *measures, *end])[:columns]

    def status(self) -> dict[str, Any]:
        """Return what is shown as plain values."""
        plain = {"what": self.what, "done": self.done, "total": self.total}
        return {**plain, "measures": dict(self.measures)}

    def _count(self) -> str:
        if self.total is None and not self.done:
            return self.what
        total = "" if self.total is None else f"/{self.total:.0f}"
        return f"{self.what} {self.done:.0f}{total}{self.unit}"

    def _speed(self) -> list[str]:
        (then, before), now = self._times[0], time.monotonic()
        if self.audio and now - then >= REDRAW:
            self.speed = (self.done - before) / (now - then)
        return [] if self.speed is None else [f"{self.speed:.3g}x{_REAL_TIME}"]

    def _time(self) -> str:
        spent = duration(self.spent())
        if self.total is None and not self._ended:
            return spent
        if self._ended or (self.total is not None and self.done >= self.total):
            return f"took {spent}"
        left = self.left()
        return "ETA ?" if left is None else f"ETA {duration(left)}"

    def close(self) -> None:
        """End it, once."""
        if not self._ended:
            self._ended = True
            self._line.close(self.text, again=self.done != self._seen)
            if self in _open:
                _open.remove(self)

    def __enter__(self) -> "Bar":
        """Close it at the end, also after an error."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


_open: list[Bar] = []


def measured(measures: Mapping[str, str]) -> None:
    """Show these on the bar that this thread began last, if there is one."""
    for bar in _mine()[-1:]:
        bar.measures |= measures
        bar.show()


@contextmanager
def watched() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Give a function that returns the `Bar.status` of the open bars that this thread began inside.

    It may be called in another thread. The outermost bar comes first.
    """
    thread, outside = threading.get_ident(), _mine()
    yield lambda: [bar.status() for bar in _mine(thread) if bar not in outside]


def _mine(thread: int | None = None) -> list[Bar]:
    """Return the open bars of a thread, by default this one, the outermost first."""
    return [bar for bar in list(_open) if bar._thread == (thread or threading.get_ident())]


@contextmanager
def printing() -> Iterator[None]:
    """Let what others print on a terminal come above what is drawn there, and end their bars."""
    above, outside = Above(sys.stdout), _mine()
    try:
        with redirect_stdout(cast(Any, above)) if is_terminal(sys.stdout) else nullcontext():
            yield
    finally:
        for bar in reversed(_mine()):
            if bar not in outside:
                bar.close()
        above.close()
