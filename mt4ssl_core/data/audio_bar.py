"""How far work on a corpus has come, what of it is left out, and files that are read ahead."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Any

from mt4ssl_core.bars import Bar
from mt4ssl_core.data.manifest import Manifest, check_share
from mt4ssl_core.lines import say
from mt4ssl_core.threads import thread_pool


class AudioBar:
    """Progress in seconds of audio (so its rate is times real time), and the files left out.

    used: utterances done. failed: files that could not be read or encoded.
    """

    def __init__(
        self,
        what: str,
        hours: float,
        skipped: Iterable,
        show: bool,
        failed: int = 0,
        stream: Any = None,
    ) -> None:
        """Begin; ``skipped`` are (path, reason) of files that were left out before.

        What is said goes to ``stream``; None: standard output.
        """
        self.stream = stream
        self.skipped = [[str(path), str(reason)] for path, reason in skipped]
        self.show = show
        self.used, self.failed, self._ended = 0, failed, False
        self._bar = Bar(what, hours * 3600, unit=" s", audio=True, show=show)
        for path, reason in self.skipped:
            self.say(f"skipped {path}: {reason}")

    @classmethod
    def over(cls, what: str, manifest: Manifest, show: bool, stream: Any = None) -> "AudioBar":
        """Begin with what is known about a corpus."""
        bar = cls(what, manifest.hours, manifest.skipped, show, manifest.unreadable, stream)
        for note in manifest.notes:
            bar.say(note)
        return bar

    def advance(self, seconds: float) -> None:
        """Count the audio of an utterance as done."""
        self.used += 1
        self._bar.advance(seconds)

    def skip(self, path: str, reason: str) -> None:
        """Name a file that is left out, and why."""
        self.failed += 1
        self.skipped.append([path, reason])
        self.say(f"skipped {path}: {reason}")

    def say(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        if self.show:
            say(text, self.stream)

    def __enter__(self) -> "AudioBar":
        """End it when the body does, so that an error begins on a line of its own."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the bar and count what was left out; once."""
        ended, self._ended = self._ended, True
        self._bar.close()
        if self.skipped and not ended:
            count = len(self.skipped)
            self.say(f"{count} files were skipped" if count > 1 else "1 file was skipped")

    def check(self, what: str, most: float, remedy: str) -> None:
        """Raise ValueError when more than the share ``most`` of the files failed."""
        first = f"such as {': '.join(self.skipped[-1])}; " if self.failed and self.skipped else ""
        check_share(what, self.failed, self.used + self.failed, most, first + remedy)


def ahead(
    items: Iterable, work: Callable, workers: int, whole_operations: bool
) -> Generator[tuple[Any, Future], None, None]:
    """Yield (item, future of its work) in order, working a few items ahead."""
    pending: deque[tuple[Any, Future]] = deque()
    with thread_pool(workers, split_operations=not whole_operations) as pool:
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) >= 4 * workers:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
