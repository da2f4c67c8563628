#!/usr/bin/env python
"""Score an upstream on a SUPERB task with s3prl's own code.

    python run_downstream.py -m train --task ks --root DIR -u mt4ssl -k CKPT -p EXPDIR --then-test

Takes s3prl's flags and ours (see --help); results are JSON in EXPDIR/results.json.
"""

import sys

from mt4ssl_core.command_line import guarded


def main(argv: list[str], program: str = "run_downstream") -> int:
    """Patch s3prl, register our upstreams, resolve --task, hand over; return the exit code."""
    again = "the same command with -a goes on from its last checkpoint"
    return guarded(program, lambda: _run(argv), again)


def _run(argv: list[str]) -> None:
    from upstream.door import signals, tasks
    from upstream.heads import arguments, command
    from upstream.store.options import StoreOptions

    help_wanted = not argv or bool({"-h", "--help"} & set(argv))
    if help_wanted:
        gigabytes = StoreOptions.gigabytes
        print(arguments.OURS.format(tasks=", ".join(tasks.names()), gigabytes=gigabytes))
    asked = command.Command(["--help"]) if help_wanted else command.resolve(argv)
    from upstream.heads import runner  # imports torch and s3prl

    with signals.like_ctrl_c():
        records = runner.launch(asked)
    for record in records:
        print(f"{record['task']} {record['split']} {record['metric']} = {record['value']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
