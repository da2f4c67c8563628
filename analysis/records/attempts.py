"""Several things of which some cannot be read: those are left out and named, the others used."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Attempts:
    """What could not be read of several things.

    ``broken`` gets a line on each, by `close`; None: the first that cannot be read is refused.
    """

    def __init__(self, broken: list[str] | None):
        self.broken = broken
        self._refused: list[Exception] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Read one thing in the body; its ValueError or OSError is kept for `close`."""
        try:
            yield
        except (ValueError, OSError) as error:
            if self.broken is None:
                raise
            self._refused.append(error)

    def close(self, found: Collection) -> None:
        """Name what was left out; ``found`` is what could be read.

        Raises:
            ValueError, OSError: nothing could be; the first reason.
        """
        if self._refused and not found:
            raise self._refused[0]
        if self.broken is not None:
            self.broken += [f"left out: {error}" for error in self._refused]
