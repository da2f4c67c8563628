"""A page of the API reference for every package, so that moved modules need no edit here."""

import pkgutil
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def packages() -> list[str]:
    """Return the packages that pyproject.toml lists."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(settings["tool"]["setuptools"]["packages"])


def modules(package: str) -> list[str]:
    """Return the public modules that lie directly in a package, itself first."""
    found = pkgutil.iter_modules([str(ROOT.joinpath(*package.split(".")))])
    names = [m.name for m in found if not m.ispkg and not m.name.startswith("_")]
    return [package, *(f"{package}.{name}" for name in names)]


def page(package: str) -> str:
    """Return the Markdown of a package's page."""
    return "\n\n".join([f"# {package}", *(f"::: {module}" for module in modules(package))]) + "\n"


def on_config(config: Any) -> Any:
    """Add the pages to the navigation, below its last entry."""
    config.nav = [*config.nav, {"API": [{name: f"api/{name}.md"} for name in packages()]}]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages themselves."""
    from mkdocs.structure.files import File

    for name in packages():
        files.append(File.generated(config, f"api/{name}.md", content=page(name)))
    return files
