"""Spellings of the version before: they work, with a note that names the new one.

All of it goes with the next version.
"""

import sys
from collections.abc import Sequence
from typing import Any

from mt4ssl_cli.readers import path_of
from mt4ssl_core.command_line import printable

OPTIONS = {  # command: {old spelling: new one}
    "mt4ssl kmeans fit": {"-k": "--clusters"},
    "mt4ssl store fill": {"--task": "--tasks"},
    "mt4ssl leaderboard": {"--set": "--score-set"},
    "mt4ssl report": {"--set": "--score-set"},
    "mt4ssl convergence": {"--superb": "--tasks"},
}
WORDS = {  # command: (parameter that was a word, its option)
    "mt4ssl superb prepare": ("tasks", "--tasks"),
    "mt4ssl superb run": ("ckpt", "-k"),
    "mt4ssl superb doctor": ("ckpt", "-k"),
    "mt4ssl store fill": ("ckpt", "-k"),
    "mt4ssl probe": ("ckpt", "-k"),
}


def renamed(command: str, words: Sequence[str]) -> list[str]:
    """Return the words of a command with its options as they are called now."""
    out: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        if not word.startswith("--"):
            flag, equals, value = word[:2], word[2:3], word[2:]
        new = OPTIONS.get(command, {}).get(flag)
        if new is not None:
            note(f"{flag} is now {new}")
            out += [new, value] if equals else [new]
        else:
            out.append(word)
    return out


def take_words(ctx: Any) -> None:
    """Put a word that stands alone where the option would put it; more are too many."""
    name, option = WORDS[ctx.command_path]
    given = ctx.params[name] != next(p.default for p in ctx.command.params if p.name == name)
    if given or len(ctx.args) > 1:
        ctx.fail(f"{' '.join(ctx.args)}: there is no place for so many words")
    ctx.params[name] = path_of(ctx.args.pop()) if name == "ckpt" else ctx.args.pop()
    note(f"a {'checkpoint' if name == 'ckpt' else 'list of tasks'} is now given with {option}")


def note(text: str) -> None:
    """Say on stderr what is spelled otherwise now."""
    said = f"mt4ssl: note: {text}; the old spelling goes with the next version"
    print(printable(said), file=sys.stderr)
