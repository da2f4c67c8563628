"""What the pages take from the project: API reference, parts of README.md, tables of tasks, plots.

The API reference has a page for every package, so that moved modules need no edit here.
"""

import pkgutil
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PLOTS = ("analysis/scores/convergence", "benchmarks/results")


def packages() -> list[str]:
    """Return the packages below the folders that pyproject.toml ships."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    found = (path.parent for name in shipped for path in ROOT.glob(f"{name}/**/__init__.py"))
    return sorted({".".join(path.relative_to(ROOT).parts) for path in found})


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
    """Add the pages themselves, and the plots that they show."""
    from mkdocs.structure.files import File

    for name in packages():
        files.append(File.generated(config, f"api/{name}.md", content=page(name)))
    for path in sorted(path for room in PLOTS for path in (ROOT / room).glob("*.png")):
        files.append(File.generated(config, f"plots/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in parts of README.md and tables of tasks, and point to the plots of the site."""
    for room in PLOTS:
        markdown = markdown.replace(f"](../{room}/", "](plots/")
    for name, text in PARTS.items():
        if (mark := f"<!-- {name} -->") in markdown:
            markdown = markdown.replace(mark, text())
    return markdown


def limits() -> str:
    """Return README.md's list of what has not been shown, as a warning."""
    lines = README.read_text(encoding="utf-8").splitlines()
    points = [f"    {line[2:]}" for line in lines if line.startswith(("> - ", ">   "))]
    return "\n".join(['!!! warning "What has not been shown"', "", *points])


def three_commands() -> str:
    """Return README.md's block of the three commands."""
    block = README.read_text(encoding="utf-8").split("<!-- test: three commands -->\n")[1]
    return block.partition("\n```\n")[0] + "\n```"


def headers() -> list[dict[str, Any]]:
    """Return the `superb:` block of every task."""
    paths = sorted((ROOT / "downstream_configs").glob("*.yaml"))
    return [yaml.safe_load(path.read_text(encoding="utf-8"))["superb"] for path in paths]


def corpora() -> str:
    """Return the table of tasks with their corpora."""
    rows = [["task", "what", "corpus", "hours", "GB", "metrics", "learning rates"]]
    for header in headers():
        corpus = header["corpus"]
        sources = [f"[{number}]({url})" for number, url in enumerate(corpus["source"], 1)]
        metrics = dict.fromkeys(metric["name"] for metric in header["metrics"])
        rates = ", ".join(f"{r:.0e}".replace("e-0", "e&#8209;") for r in header["learning_rates"])
        size = [str(corpus.get(key, "")) for key in ("hours", "gigabytes")]
        where = f"{corpus['name']} {' '.join(sources)}"
        rows.append([header["code"], header["task"], where, *size, ", ".join(metrics), rates])
    return _table(rows)


def layouts() -> str:
    """Return the table of what every task looks for in its folder."""
    rows = [["task", "what", "looked for", "must hold"]]
    for header in headers():
        for entry in header["root_keys"].values():
            places = " or ".join(f"`{place}`" for place in entry.get("try") or entry["files"])
            holds = ", ".join(f"`{pattern}`" for pattern in entry.get("holds", ()))
            made = " (made by `prepare`)" if entry.get("made") else ""
            made += " (optional)" if entry.get("optional") else ""
            rows.append([header["code"], entry["what"] + made, places, holds])
    return _table(rows)


PARTS = {
    "limits": limits,
    "three commands": three_commands,
    "tasks": corpora,
    "layouts": layouts,
}  # of the pages, by the comments in their place


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
