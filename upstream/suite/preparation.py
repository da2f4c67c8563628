"""Before anything runs: packages and corpora are there, and what s3prl needs of these is made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from upstream import corpora, tasks
from upstream.suite import roots


def require_packages(names: Sequence[str]) -> None:
    """See that everything the tasks import is installed.

    Raises:
        ValueError: something is not; names it for every task, and the extras to install.
    """
    problems, extras = [], []
    for name in names:
        header = tasks.header(name)
        if lacking := tasks.missing_packages(header):
            problems.append(f"{name} needs {', '.join(lacking)}")
            extras.append(header["extra"])
    if problems:
        wanted = ",".join(dict.fromkeys(extras))
        raise ValueError(
            "\n  ".join([f"{len(problems)} task(s) cannot be run here:", *problems])
            + f'\ninstall what is missing with: pip install "mt4ssl[{wanted}]", or leave these '
            "tasks out of --tasks"
        )


def prepare_some(
    asked: str, root: str | None, given_roots: str | None, allow_partial: bool = False
) -> None:
    """Survey and prepare the corpora of some tasks and say what they are.

    Raises:
        ValueError: all that is wrong with them.
    """
    names = roots.pick(asked)
    if (root is None) == (given_roots is None):
        raise ValueError("give the corpus with --root DIR, or the corpora with --roots roots.yaml")
    folders = roots.read(root or given_roots or "", names)
    for name, corpus in prepare(names, folders, allow_partial).items():
        counts = ", ".join(f"{split} {count}" for split, count in corpus["counts"].items())
        print(f"{name}: {corpus['name']} ({corpus['kind']}): {counts}; ready for s3prl")


def prepare(
    names: Sequence[str], folders: Mapping[str, Path], allow_partial: bool = False
) -> dict[str, dict[str, Any]]:
    """Survey the corpora and make what s3prl needs from them; returns what they are, by task.

    Raises:
        ValueError: all that is wrong with all corpora.
    """
    found, problems = {}, []
    for name in tqdm(names, desc="corpora", unit="task", leave=False):
        corpus, wrong = survey(name, folders[name], allow_partial)
        found[name] = corpus
        problems += [f"{name}: {problem}" for problem in wrong]
    _raise_all(problems)
    for name in tqdm(names, desc="preparation", unit="task", leave=False):
        try:
            corpora.prepare(name, folders[name])
            tasks.paths_under(tasks.header(name), folders[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    _raise_all(problems)
    return found


def survey(
    name: str, folder: Path, allow_partial: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return what a task's corpus is (as in results.jsonl) and all that is wrong with it."""
    header = tasks.header(name)
    seen = corpora.survey(name, folder, header)
    base = corpora.base(folder, name)
    published = header["corpus"].get("counts") or {}
    kind = corpora.kind(base, seen.counts, published)
    problems = list(seen.problems)
    if not allow_partial:
        problems += seen.lacking
    if kind == "partial" and not allow_partial and not problems:
        sources = ", ".join(header["corpus"]["source"])
        problems.append(
            f"{base}: {', '.join(corpora.compare(seen.counts, published))}; get the whole corpus "
            f"({sources}), or accept it with --allow-partial"
        )
    corpus = {
        "name": header["corpus"]["name"],
        "kind": kind,
        "counts": seen.counts,
        **(corpora.is_mini(base) or {}),
    }
    return {**corpus, "fingerprint": fingerprint(corpus), "hours": seen.hours}, problems


def fingerprint(value: Any) -> str:
    """Return 16 hex digits that tell one plain value from another."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("\n  ".join([f"{len(problems)} problem(s) with the corpora:", *problems]))
