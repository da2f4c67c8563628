"""``pkg_resources``, which pyworld asks for its own version.

What: ``import pyworld`` (the score of VC) is ModuleNotFoundError: pkg_resources.
Why: pyworld reads its version with setuptools' pkg_resources, which setuptools has dropped.
Since: pyworld 0.3.5 with setuptools 82.
Here: where there is no pkg_resources, a module of that name with the one function that it calls.
Delete when: pyworld uses importlib.metadata.
"""

import importlib.metadata
from types import SimpleNamespace

from upstream.compat._modules import is_there, put


def install() -> bool:
    """Put the module on the path, unless setuptools has it."""
    if is_there("pkg_resources"):
        return False
    put("pkg_resources", get_distribution=get_distribution)
    return True


def get_distribution(name: str) -> SimpleNamespace:
    """Return an object with the version of an installed distribution."""
    return SimpleNamespace(version=importlib.metadata.version(name))
