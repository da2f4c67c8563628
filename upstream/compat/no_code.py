"""s3prl's ``eval``, ``pickle.load`` and ``torch.load(weights_only=False)``.

What: s3prl runs settings and entries of checkpoints as Python code (``select: UtteranceLevel`` in a
    config, ``conv_feature_layers`` in a checkpoint of -u), and unpickles files of some upstreams
    and tasks, which may run code too.
Why: ``eval`` is its way to look up a name.
Since: always.
Here: in all modules of s3prl, also those imported later, ``eval`` knows only names, numbers and
    lists of them, and what is unpickled may hold tensors and plain containers only. (That a name
    is one of those that a task knows is checked in `upstream.door.s3prl_names`.)
Delete when: s3prl has no eval( and no pickle.load( left.
"""

import ast
import builtins
import pickle
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, BinaryIO

import torch

from upstream.door.stand_in import StandIn

LONGEST, LARGEST = 2000, 1000  # characters; times that a list may be repeated
_NODES = (
    *(ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Load, ast.Constant),
    *(ast.Tuple, ast.List, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Mult),
)


def install() -> bool:
    """Guard all modules of s3prl, those that are loaded and those to come."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return False
    for name, module in list(sys.modules.items()):
        if _is_s3prls(name):
            vars(module)["eval"] = lookup
            _guard(module)
    sys.meta_path.insert(0, _Finder())
    torch.load = _checked(torch.load)
    return True


def lookup(text: Any, *scopes: Any) -> Any:
    """``eval`` of a name, a number, or a list of these.

    Raises:
        ValueError: ``text`` is more than that.
    """
    caller = sys._getframe(1)
    if not _is_plain(text):
        where = caller.f_globals.get("__name__")
        raise ValueError(
            f"{where}: s3prl would run {str(text)[:100]!r} as code; only names, numbers and lists "
            "of these are let through; correct the setting or checkpoint that it comes from"
        )
    return builtins.eval(text, *(scopes or (caller.f_globals, caller.f_locals)))


def _is_plain(text: Any) -> bool:
    if type(text) is not str or len(text) > LONGEST:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _NODES) and _is_harmless(node) for node in nodes)


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return not node.id.startswith("__")
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("__")
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return True
    sides = (node.left, node.right)
    times = [side.value for side in sides if isinstance(side, ast.Constant)]
    nested = any(isinstance(part, ast.Mult) for side in sides for part in ast.walk(side))
    return bool(times) and not nested and all(_is_small(number) for number in times)


def _is_small(number: Any) -> bool:
    return isinstance(number, int | float) and abs(number) <= LARGEST


class _Finder:
    """Guards a module of s3prl when it is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if _is_s3prls(name) else None
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        run: Any = getattr(loader, "exec_module", None)

        def exec_module(module: ModuleType) -> None:
            vars(module)["eval"] = lookup
            run(module)
            for visitor in _visitors:
                visitor(module)

        if run is not None:
            loader.exec_module = exec_module
        return spec


def _is_s3prls(name: str) -> bool:
    return name == "s3prl" or name.startswith("s3prl.")


def _guard(module: ModuleType) -> None:
    if vars(module).get("pickle") is pickle:
        vars(module)["pickle"] = StandIn(pickle, load=_load)


_visitors: list[Callable[[ModuleType], None]] = [_guard]


def visit(visitor: Callable[[ModuleType], None]) -> None:
    """Let ``visitor`` see every module of s3prl once it is imported, those that are loaded too."""
    _visitors.append(visitor)
    for name, module in list(sys.modules.items()):
        if _is_s3prls(name):
            visitor(module)


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(
            f"a pickled file asks for {module}.{name}; only plain lists, dicts, numbers and text "
            "are read; remove the file, it is made anew"
        )


def _load(file: BinaryIO) -> Any:
    return _Plain(file).load()


def _checked(load: Any) -> Any:
    def checked(*args: Any, **options: Any) -> Any:
        if _is_s3prls(str(sys._getframe(1).f_globals.get("__name__"))):
            options["weights_only"] = True
        return load(*args, **options)

    return checked
