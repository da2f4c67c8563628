"""Targets by name: each is registered beside its settings, by us or by another package.

A file of ``mt4ssl_core/model/targets`` is found because it lies there, a module of another package
because its entry point in the group ``mt4ssl.targets`` names it. Nothing here imports torch.
"""

import dataclasses
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

GROUP = "mt4ssl.targets"  # of entry points; docs/extend.md names it
OURS = "mt4ssl_core.model.targets"
TAKEN = ("run", "data", "encoder", "masking", "targets", "optim", "extends")
Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class TargetKind:
    """A target: the name of its section, the dataclass of that, its class, whether it is on unless
    the config says otherwise.
    """

    name: str
    settings: type
    target: Any  # a subclass of `mt4ssl_core.model.targets.Target`
    on: bool


_kinds: dict[str, TargetKind] = {}
_searched: set[str] = set()  # modules; a failed one is tried again


def register(name: str, settings: type, on: bool = False) -> Callable[[Class], Class]:
    """Return a decorator that makes a class the target called ``name``, with the config section
    ``settings``: a dataclass whose fields have defaults, one of them ``weight``.

    Raises:
        ValueError: the name is taken or no identifier, or the settings are of another form.
    """

    def keep(target: Class) -> Class:
        where = f"{target.__module__}.{target.__qualname__}"
        there = _kinds.get(name)
        if there and f"{there.target.__module__}.{there.target.__qualname__}" != where:
            other = f"{there.target.__module__}.{there.target.__qualname__}"
            raise ValueError(f"two targets are called {name!r}: {other} and {where}; rename one")
        if name in TAKEN:
            raise ValueError(f"target {name!r}: a section of the config ({where}); rename it")
        fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
        if not name.isidentifier() or "weight" not in {item.name for item in fields}:
            raise ValueError(
                f"target {name!r} ({where}): expected an identifier as name and a dataclass with a "
                "field `weight` as settings"
            )
        target.name = name  # type: ignore[attr-defined]
        _kinds[name] = TargetKind(name, settings, target, on)
        return target

    return keep


def known() -> dict[str, TargetKind]:
    """Return all targets, those that are on by default first.

    Raises:
        ValueError: a module of another package that should register one cannot be imported.
    """
    _import_ours()
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.value not in _searched:
            _import(point)
    return {kind.name: kind for kind in sorted(_kinds.values(), key=lambda k: (not k.on, k.name))}


def _import_ours() -> None:
    if OURS not in _searched:
        for module in pkgutil.iter_modules(importlib.import_module(OURS).__path__):
            importlib.import_module(f"{OURS}.{module.name}")
        _searched.add(OURS)


def _import(point: importlib.metadata.EntryPoint) -> None:
    package = point.dist.name if point.dist else "?"
    try:
        point.load()
    except Exception as error:  # somebody else's code
        raise ValueError(
            f"the target {point.name!r} ({point.value} of the package {package}) cannot be "
            f"imported: {type(error).__name__}: {error}; repair or uninstall {package}"
        ) from error
    if point.name not in _kinds:
        raise ValueError(
            f"{point.value} of the package {package} registers no target {point.name!r}; give its "
            f'class the decorator @register("{point.name}", ...), or rename the entry point'
        )
    _searched.add(point.value)
