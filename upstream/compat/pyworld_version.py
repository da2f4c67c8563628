"""``pkg_resources``, which pyworld asks for its own version.

What: ``import pyworld`` (the score of VC) is ModuleNotFoundError: pkg_resources.
Why: pyworld reads its version with setuptools' pkg_resources, which setuptools has dropped.
Since: pyworld 0.3.5 with setuptools 82.
Here: where there is no pkg_resources, a module of that name with the one function that it calls.
Delete when: pyworld uses importlib.metadata.
"""

import importlib.metadata
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any


def install() -> bool:
    """Put the module on the path, unless setuptools has it."""
    if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources") is not None:
        return False
    module: Any = ModuleType("pkg_resources", __doc__)
    module.get_distribution = get_distribution
    sys.modules["pkg_resources"] = module
    return True


def get_distribution(name: str) -> SimpleNamespace:
    """Return an object with the version of an installed distribution."""
    return SimpleNamespace(version=importlib.metadata.version(name))
