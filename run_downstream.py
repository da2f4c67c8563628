#!/usr/bin/env python
"""Score an upstream on a SUPERB task with s3prl's own code.

    python run_downstream.py -m train --task ks --root DIR -u mt4ssl -k CKPT -p EXPDIR --then-test

Takes s3prl's flags and ours (see --help); results are JSON in EXPDIR/results.json.
"""

import sys


def main(argv: list[str]) -> int:
    """Patch s3prl, register our upstreams, resolve --task, hand over; return the exit code."""
    import upstream
    from upstream import command, tasks

    help_wanted = not argv or bool({"-h", "--help"} & set(argv))
    try:
        if help_wanted:
            print(command.OURS.format(tasks=", ".join(tasks.names())))
        upstream.register()
        from upstream import runner

        asked = command.Command(["--help"]) if help_wanted else command.resolve(argv)
        records = runner.launch(asked)
    except (ValueError, OSError) as error:
        # from a loader's worker comes the whole traceback; the message is its last line
        message = str(error).strip()
        if message.startswith("Caught "):
            message = message.splitlines()[-1].partition(": ")[2]
        print(f"run_downstream: error: {message}", file=sys.stderr)
        return 2
    for record in records:
        print(f"{record['task']} {record['split']} {record['metric']} = {record['value']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
