"""The progress bars of s3prl.

What: with TQDM_DISABLE in the environment (any value, even 0) training never ends; and bars are
    drawn by s3prl's runner, its datasets and its experts each in their own way, a new one with
    every epoch, also into files.
Why: the runner reads its step from ``pbar.n``, and a disabled bar does not count.
Since: tqdm 4.66, which reads that variable.
Here: all modules of s3prl, also those imported later, get a bar that is shown as ours are
    (`mt4ssl_core.bars`) and counts even when it is not shown. Its per-epoch bars are left out,
    since a small corpus has thousands of epochs; the bar over all steps stays.
Delete when: s3prl counts its steps itself, and shows one bar.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import tqdm

from mt4ssl_core.bars import Bar
from mt4ssl_core.lines import say
from upstream.compat import no_code
from upstream.door.stand_in import StandIn

EPOCH = "train"  # what s3prl calls the bar of one epoch
NAMES = {"overall": "step"}


def install() -> bool:
    """Give all modules of s3prl the counting bar."""
    from s3prl.downstream import runner

    if runner.tqdm is CountingBar:
        return False
    no_code.visit(_exchange)
    return True


def _exchange(module: ModuleType) -> None:
    if vars(module).get("tqdm") is tqdm.tqdm:
        vars(module)["tqdm"] = CountingBar
    elif vars(module).get("tqdm") is tqdm:
        vars(module)["tqdm"] = StandIn(tqdm, tqdm=CountingBar)


class CountingBar:
    """What s3prl uses of a tqdm bar: ``n`` goes up with every update, shown or not."""

    def __init__(
        self, iterable: Any = None, desc: str | None = None, total: Any = None, **options: Any
    ) -> None:
        self.iterable = iterable
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)
        show = not options.get("disable") and desc != EPOCH
        self.bar = Bar(NAMES.get(desc or "", desc or "item"), total, show=show)
        if desc == EPOCH:
            self.bar.close()

    @property
    def n(self) -> float:
        """What was counted."""
        return self.bar.done

    @n.setter
    def n(self, done: float) -> None:
        self.bar.go_on_from(done)

    @property
    def total(self) -> float | None:
        """How much there is to count."""
        return self.bar.total

    def update(self, n: float = 1) -> None:
        """Count ``n`` steps."""
        self.bar.advance(n)

    def close(self) -> None:
        """End it."""
        self.bar.close()

    def __iter__(self) -> Iterator[Any]:
        """Yield the items, each counted when the next is asked for."""
        items: Iterable[Any] = self.iterable
        return self.bar.over(items)

    @staticmethod
    def write(text: str, **_: Any) -> None:
        """Print a line."""
        say(text)
