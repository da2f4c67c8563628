"""Modules of our own under names that s3prl imports, and functions put in the place of others."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def is_there(name: str) -> bool:
    """Return whether a module of this name is loaded or installed."""
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a package that it would be in is not there
        return False


def put(name: str, **content: Any) -> None:
    """Make a module of this name with ``content`` in it, and the packages it is in."""
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        put(parent)
    module: Any = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name, f"Stands in for {name}.")
        module.__path__ = []
        module.__spec__ = ModuleSpec(name, None, is_package=True)
    vars(module).update(content)
    if parent:
        setattr(sys.modules[parent], child, module)


def replace(name: str, function: Callable[..., Any], *modules: str) -> None:
    """Put ``function`` under ``name`` into those of ``modules`` that are loaded."""
    for place in modules:
        if place in sys.modules:
            setattr(sys.modules[place], name, function)
