"""What typer leaves to us: several words after one option, one-line errors, examples in help."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mt4ssl_cli import earlier
from mt4ssl_core.command_line import FAILED, printable

COMPLETING = "_MT4SSL_COMPLETE"  # in the environment: a shell asks what could come next
HELP = "--help"
_SETTING = re.compile(r"[a-z_]+((\.[a-z_]+)+=.*|=null)", re.DOTALL)


class Group(TyperGroup):
    """Commands of one subject; alone it shows its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words up to the command."""
        return super().parse_args(ctx, args or [HELP])


class Command(TyperCommand):
    """A command whose options may be followed by several words, where they take more than one."""

    def hint(self, option: str) -> str | None:
        """Say what may have been meant by an option that is spelled like none."""
        return None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command."""
        path = ctx.command_path
        words = earlier.renamed(path, args)
        ctx.allow_extra_args = path in earlier.WORDS
        several = [p for p in self.params if p.param_type_name == "option" and p.multiple]
        repeated = {flag for p in several if str(p.metavar).endswith("...") for flag in p.opts}
        settings = any(p.param_type_name == "argument" and p.nargs == -1 for p in self.params)
        super().parse_args(ctx, _each_with_its_option(words, repeated, settings))
        if ctx.args and not ctx.resilient_parsing:
            earlier.take_words(ctx)
        return ctx.args


class Passed(TyperCommand):
    """A command whose words go on unread, in ``ctx.args``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words as they are."""
        ctx.args = [*args]
        return ctx.args


def _each_with_its_option(words: Sequence[str], repeated: set[str], settings: bool) -> list[str]:
    """``--set a b`` as ``--set a --set b``.

    Where a command takes ``settings`` of pre-training, one of these ends such a list.
    """
    out: list[str] = []
    current = None
    for word in words:
        if settings and _SETTING.fullmatch(word):
            current = None
        if word.startswith("-"):
            current = word if word in repeated else None
            out += [] if current else [word]
        else:
            out += [current, word] if current else [word]
    return out


def group(name: str | None = None, **settings: Any) -> typer.Typer:
    """Return a group that commands are added to."""
    return typer.Typer(name=name, cls=Group, rich_markup_mode=None, **settings)


def command(
    place: typer.Typer,
    example: str,
    name: str | None = None,
    cls: type[TyperCommand] = Command,
    resumes: bool = False,
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Make a function a command, with the first line of its docstring and an example as help.

    Where it does not resume, an interrupt says that it starts over.
    """

    def add(function: Callable[..., int | None]) -> Callable[..., int | None]:
        first = (function.__doc__ or "").splitlines()[0]
        lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
        shown = f"\b\nExample:\n{lines}"
        body = function if resumes else _starting_over(function)
        return place.command(name, cls=cls, short_help=first, epilog=shown)(body)

    return add


def _starting_over(function: Callable[..., int | None]) -> Callable[..., int | None]:
    @wraps(function)
    def body(*args: Any, **kwargs: Any) -> int | None:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(str(error) or "the same command starts over") from None

    return body


def run(app: typer.Typer, argv: Sequence[str]) -> int | None:
    """Run the command that ``argv`` asks for and return its exit code.

    Raises:
        ValueError: the words are not those of a command; says what may have been meant.
    """
    root = typer.main.get_command(app)
    if COMPLETING in os.environ:
        root.main(args=[*argv], prog_name="mt4ssl")
    try:
        with root.make_context("mt4ssl", [*argv]) as ctx:
            code: int | None = root.invoke(ctx)
            return code
    except typer.Exit as left:
        return left.exit_code
    except typer.TyperException as error:
        raise ValueError(_said(error)) from None


def _said(error: Any) -> str:
    """What is wrong with the words, on one line, and where to look."""
    ctx, text = getattr(error, "ctx", None), error.format_message().strip().rstrip(".")
    if isinstance(error, typer.BadParameter) and error.message and error.param:
        names = error.param.opts if error.param.param_type_name == "option" else [error.param.name]
        text = f"{'/'.join(names)}: {error.message}"
    if ctx is None:
        return text
    option = getattr(error, "option_name", None)
    if option and isinstance(ctx.command, Command) and not getattr(error, "possibilities", True):
        text = f"{text}; {ctx.command.hint(option)}" if ctx.command.hint(option) else text
    return f"{text}; see `{ctx.command_path} {HELP}`"


def incomplete(problems: Sequence[str]) -> int:
    """Say on stderr what was left out; the exit code is 0 only where there is nothing."""
    sys.stdout.flush()
    for problem in problems:
        print(f"mt4ssl: {printable(problem)}", file=sys.stderr)
    return FAILED if problems else 0
