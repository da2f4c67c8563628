"""The YAML files of a config: where one is, and the chain that it extends."""

from pathlib import Path
from typing import Any

from mt4ssl_core import configs
from mt4ssl_core.files import user_path
from mt4ssl_core.settings import values as setting_values


def find_config(name: str | Path, beside: Path | None = None) -> Path:
    """Return the YAML file of this path (relative to the folder ``beside``), or of the shipped
    configuration of this name.

    Raises:
        ValueError: neither is there, or both are.
    """
    file = (beside or Path()) / user_path(name)
    is_name = len(Path(name).parts) == 1 and not file.suffix
    own = file.with_suffix(".yaml") if is_name else file
    if file.is_file():
        return file
    if is_name and beside is not None and own.is_file() and configs.has(str(name)):
        raise ValueError(
            f"{beside}: extends {name}: a file {own.name} is here, and a shipped configuration has "
            f"this name; write {own.name}, or rename the file"
        )
    if is_name:
        return configs.path(str(name))
    raise ValueError(
        f"{file}: no such config; give the path of a YAML file, or the name of a shipped one: "
        f"{', '.join(configs.names())}"
    )


def chain(path: Path) -> list[tuple[str, Any]]:
    """Return [(file, values), ...] from the outermost ``extends`` to ``path`` itself.

    Raises:
        ValueError: a file that is not there, is no mapping of sections, or extends itself.
    """
    chain: list[tuple[str, Any]] = []
    seen: set[Path] = set()
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise ValueError(f"{current}: extends itself; remove one of the `extends` lines")
        seen.add(current.resolve())
        values = setting_values.read(current)
        if not isinstance(values, dict):
            raise ValueError(
                f"{current}: expected a mapping of sections, e.g. `optim: {{lr: 5e-4}}`"
            )
        parent = values.pop("extends", None)
        if not isinstance(parent, str | None):
            raise ValueError(f"{current}: extends: expected one path or name")
        chain.insert(0, (current.name, values))
        current = find_config(parent, current.parent) if parent else None
    return chain
