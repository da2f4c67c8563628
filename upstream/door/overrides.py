"""``-o``: settings changed on the command line, read without eval(), unknown ones refused.

The syntax is s3prl's: ``config.optimizer.lr=1e-3,,args.seed=3``.
"""

import difflib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from mt4ssl_core.files import user_path
from mt4ssl_core.settings.values import of_word

# settings that s3prl reads when they are there, and that a config may leave out
OPTIONAL = {
    "runner.fp16",
    "runner.evaluate_ratio",
    "runner.train_dataloader",
    "scheduler",
    "scheduler.name",
    "scheduler.num_warmup_steps",
    "specaug",
    "specaug.apply_time_warp",
    "specaug.apply_time_mask",
    "specaug.apply_freq_mask",
    "specaug.time_warp_window",
    "specaug.time_mask_width_range",
    "specaug.freq_mask_width_range",
    "specaug.num_freq_mask",
    "specaug.num_time_mask",
}


def parse(text: str) -> list[tuple[str, Any]]:
    """Read ``key=value,,key=value`` into pairs of a key and a value (see `of_word`).

    Raises:
        ValueError: a part without ``=``, or a key that begins with neither ``args.`` nor
            ``config.``.
    """
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(",,"))):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise ValueError(f"-o {part!r}: expected key=value; separate several by two commas")
        if not key.startswith(("args.", "config.")):
            hint = _suggest(f"config.{key}", [f"config.{key}"] if "." in key else [])
            raise ValueError(f"-o {key}: a key begins with args. or config.{hint}")
        pairs.append((key, _at_home(of_word(value.strip()))))
    return pairs


def _at_home(value: Any) -> Any:
    """Replace a leading ``~`` of a path, or of paths in a list."""
    if isinstance(value, list):
        return [_at_home(part) for part in value]
    return str(user_path(value)) if isinstance(value, str) and value.startswith("~") else value


def render(pairs: dict[str, Any]) -> str:
    """Write dotted config keys and their values so that `parse` reads them back."""
    return ",,".join(one(f"config.{key}", value) for key, value in pairs.items())


def one(key: str, value: Any) -> str:
    """Write a key, which begins with args. or config., and its value as a part of ``-o``.

    Raises:
        ValueError: the value, such as the path of a corpus, would be read as several parts.
    """
    if ",," in repr(value):
        raise ValueError(f"{key}: the value {value!r} holds two commas in a row; rename the path")
    return f"{key}={value!r}"


def override(string: str, args: Any, config: dict[str, Any], quiet: bool = False) -> None:
    """Apply ``-o`` to s3prl's arguments and config, in place of s3prl's function of this name.

    Raises:
        ValueError: an unknown key (with the nearest known one), or a value of another kind than the
            one it replaces; nothing is changed then.
    """
    pairs = parse(string)
    for key, value in pairs:
        _check(key, value, args, config)
    for key, value in pairs:
        if not quiet:
            print(f"[Override] - {key} = {value}", file=sys.stderr)
        kind, *path = key.split(".")
        if kind == "args":
            setattr(args, path[0], value)
            continue
        section = config
        for name in path[:-1]:
            section = section.setdefault(name, {})
        section[path[-1]] = value


def _check(key: str, value: Any, args: Any, config: dict[str, Any]) -> None:
    kind, _, name = key.partition(".")
    if kind == "args":
        if name not in vars(args):
            raise ValueError(f"-o {key}: no such argument{_suggest(name, vars(args))}")
        _check_kind(key, vars(args)[name], value)
        return
    known = dict(flatten(config))
    if name in known:
        _check_kind(key, known[name], value)
    elif name not in OPTIONAL and name not in _optimizer_keys(name, config):
        near = [k for k in (*known, *sorted(OPTIONAL)) if not k.startswith("superb")]
        raise ValueError(f"-o {key}: the config has no such key{_suggest(name, near)}")


def _check_kind(key: str, old: Any, new: Any) -> None:
    number = (int, float)
    for kind, what in (((bool,), "true or false"), (number, "a number"), ((list,), "a list")):
        if isinstance(old, kind):
            fits = isinstance(new, kind) and isinstance(new, bool) == isinstance(old, bool)
            if not fits:
                raise ValueError(f"-o {key}={new}: expected {what}, as in the config ({old!r})")
            return
    if isinstance(old, dict) and not isinstance(new, dict):
        raise ValueError(f"-o {key}={new}: this is a section; set one of {', '.join(old)} below it")


def flatten(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key of nested dicts, sections included, with its value."""
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")


def _optimizer_keys(name: str, config: dict[str, Any]) -> set[str]:
    if not name.startswith("optimizer."):
        return set()
    import torch

    kind = getattr(torch.optim, str(config.get("optimizer", {}).get("torch_optim_name")), None)
    return {f"optimizer.{name}" for name in inspect.signature(kind).parameters} if kind else set()


def _suggest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.5)
    return f". Did you mean {near[0]}?" if near else ""
