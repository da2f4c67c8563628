"""argparse for people: the nearest command or option is named."""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mt4ssl_core.command_line import printable

CHOICES = re.compile(r"(invalid choice: '?(.*?)'?) \(choose from (.*)\)$", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser whose errors say what may have been meant; so are those of its subcommands.

    Args:
        rest: the list that words go to which stand behind an option.
        hint: what to say about an option that is spelled like none that is known.
    """

    def __init__(
        self,
        *args: Any,
        rest: str | None = None,
        hint: Callable[[str], str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.rest, self.hint = rest, hint

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is not known where it is known what is."""
        found, extra = super().parse_known_args(args, namespace)
        if self.rest is not None:
            words = [word for word in extra if not word.startswith("-")]
            setattr(found, self.rest, [*getattr(found, self.rest), *words])
            extra = [word for word in extra if word.startswith("-")]
        if extra:
            self.error(f"{' '.join(extra)}: not known{self._meant(extra)}")
        return found, []

    def error(self, message: str) -> NoReturn:
        """Say what may have been meant, and exit with 2."""
        if found := CHOICES.search(message):
            near = _nearest(found[2], re.findall(r"[\w.-]+", found[3]))
            if near:
                message = f"{message[: found.end(1)]}; did you mean {near}? (all: {found[3]})"
        super().error(printable(message))

    def _meant(self, words: Sequence[str]) -> str:
        """What may be said about words that no argument takes."""
        word = next((word for word in words if word.startswith("-")), None)
        if word is None:
            return "; there is no place for so many words"
        option = word.partition("=")[0]
        known = re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", self.format_help())
        near = _nearest(option, known)
        if self.hint is not None and near is None:
            return f"; {self.hint(option)}"
        return f"; did you mean {near}?" if near else "; see --help"


def _nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word spelled most alike; one with a part of the same name, too."""
    plain = word.replace("_", "-")
    if near := difflib.get_close_matches(plain, known, 1, 0.6):
        return near[0]
    parts = set(plain.strip("-").split("-"))
    return next((name for name in known if parts & set(name.strip("-").split("-"))), None)
