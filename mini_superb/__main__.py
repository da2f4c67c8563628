"""``python -m mini_superb OUT --tasks ks,sid,pr``: make the corpora and say where they are."""

import argparse
import json
import os
import sys
from pathlib import Path

from mini_superb.corpus import DONE, TASKS, make
from mini_superb.plan import SIZES


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, 2 for a mistake in the request, 1 for one of ours, 130: Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m mini_superb",
        description="Synthesise small corpora in SUPERB's layouts and speech to pre-train on.",
    )
    parser.add_argument("out", type=Path, help="folder to make them in")
    choices = [name for name in TASKS if name != "pretrain"]
    parser.add_argument("--tasks", default=",".join(choices), help="comma-separated (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="other seeds, other corpora (%(default)s)"
    )
    parser.add_argument(
        "--size", default="default", help=f"one of {', '.join(SIZES)} (%(default)s)"
    )
    parser.add_argument("--jobs", type=int, help="processes (one per core)")
    arguments = parser.parse_args(argv)
    tasks = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    out = arguments.out
    try:
        out = _at_home(out)
        make(out, tasks, arguments.seed, arguments.size, arguments.jobs)
    except (ValueError, OSError) as error:
        print(f"mini_superb: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mini_superb: interrupted; run it again to start over", file=sys.stderr)
        return 130
    except (
        Exception
    ) as error:  # the guard of our other commands is not for a room that stands alone
        if os.environ.get("MT4SSL_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        advice = "MT4SSL_DEBUG=1 shows where; please report it"
        print(f"mini_superb: unexpected error: {what}; {advice}", file=sys.stderr)
        return 1
    made = json.loads((out / DONE).read_text(encoding="utf-8"))["tasks"]
    for name, splits in made.items():
        counts = ", ".join(
            f"{split} {s['clips']} clips {s['hours'] * 60:.1f} min" for split, s in splits.items()
        )
        print(f"{out / name}: {counts}")
    return 0


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: no such home folder; write the path out") from None


if __name__ == "__main__":
    sys.exit(main())
