"""The console script ``mt4ssl``: a command parses, makes the typed request and calls one function.

In: the words of a command line. Out: an exit code (see `mt4ssl_core.command_line`). No room that
needs torch is imported before a command runs, so that help and completion are quick.
"""

from mt4ssl_cli.commands import main

__all__ = ["main"]
