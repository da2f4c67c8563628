"""``python -m mt4ssl_cli`` is ``mt4ssl``, for torchrun and for checkouts."""

import sys

from mt4ssl_cli import main

if __name__ == "__main__":
    sys.exit(main())
