"""``python -m mini_superb``, as `mt4ssl mini` was called; it goes with the next version."""

import sys

from mt4ssl_cli import main

if __name__ == "__main__":
    print("mini_superb: note: this is now `mt4ssl mini`", file=sys.stderr)
    sys.exit(main(["mini", *sys.argv[1:]]))
