"""``mt4ssl``: its commands, and the guard around them."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from mt4ssl_cli import framework
from mt4ssl_cli.analyses import analyses
from mt4ssl_cli.data import data
from mt4ssl_cli.kmeans import kmeans
from mt4ssl_cli.recognition import recognition
from mt4ssl_cli.small import small
from mt4ssl_cli.store import store
from mt4ssl_cli.superb import superb
from mt4ssl_cli.task import task
from mt4ssl_cli.training import training
from mt4ssl_core.command_line import guarded

app = framework.group(
    help="Pre-train speech encoders, and score them on SUPERB.",
    context_settings={"help_option_names": ["-h", framework.HELP]},
    epilog="\b\nExample:\n  mt4ssl pretrain tiny data.train=speech offline=null",
)


def _say_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        print(f"mt4ssl {version('mt4ssl')}")
    except PackageNotFoundError:  # run from a checkout
        print("mt4ssl (not installed)")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="print it and leave"),
    ] = False,
) -> None:
    pass


for commands in (training, recognition, kmeans, data, superb, task, store, analyses, small):
    app.add_typer(commands)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (see `mt4ssl_core.command_line`)."""
    words = sys.argv[1:] if argv is None else argv
    return guarded("mt4ssl", lambda: framework.run(app, words))
