"""``sox.Transformer``.

What: the ASV dataset does ``from sox import Transformer``; s3prl does not install that package, and
    the name is never used.
Why: a left-over import.
Since: s3prl 0.4.18.
Here: where the package is not installed, a module of that name with a class that does nothing.
Delete when: s3prl no longer imports it.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any


def install() -> bool:
    """Put the module on the path, unless the package is installed."""
    if "sox" in sys.modules or importlib.util.find_spec("sox") is not None:
        return False
    module: Any = ModuleType("sox", __doc__)
    module.Transformer = type("Transformer", (), {"__doc__": "Never used."})
    sys.modules["sox"] = module
    return True
