"""Before anything runs: packages and corpora are there, and what s3prl needs of these is made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt4ssl_core.bars import Bar
from upstream import corpora
from upstream.door import tasks
from upstream.suite import roots


def lacking_packages(names: Sequence[str]) -> dict[str, list[str]]:
    """Return, by task, what the tasks import that is not installed, with the remedy."""
    problems = {}
    for name in names:
        header = tasks.header(name)
        if lacking := tasks.missing_packages(header):
            remedy = f'pip install "mt4ssl[{header["extra"]}]"'
            problems[name] = [f"needs {', '.join(lacking)}; install it with: {remedy}"]
    return problems


def require_packages(names: Sequence[str]) -> None:
    """See that everything the tasks import is installed.

    Raises:
        ValueError: something is not; names it for every task, and the extras to install.
    """
    if problems := lacking_packages(names):
        raise ValueError(told(problems, "cannot be run here"))


def told(problems: Mapping[str, Sequence[str]], what: str) -> str:
    """Say in lines what is wrong with some tasks."""
    lines = [f"{name}: {problem}" for name, found in problems.items() for problem in found]
    return "\n  ".join([f"{len(problems)} task(s) {what} ({len(lines)} problem(s)):", *lines])


def prepare_some(
    asked: str, root: str | None, given_roots: str | None, allow_partial: bool = False
) -> None:
    """Survey and prepare the corpora of some tasks and say what they are.

    Raises:
        ValueError: all that is wrong with any of them; the others are prepared.
    """
    names = roots.pick(asked)
    if (root is None) == (given_roots is None):
        raise ValueError("give the corpus with --root DIR, or the corpora with --roots roots.yaml")
    folders, problems = roots.read_each(root or given_roots or "", names)
    found, wrong = prepare(list(folders), folders, allow_partial)
    for name, corpus in found.items():
        counts = ", ".join(f"{split} {count}" for split, count in corpus["counts"].items())
        print(f"{name}: {corpus['name']} ({corpus['kind']}): {counts}; ready for s3prl")
    if problems := {**problems, **wrong}:
        raise ValueError(told(problems, "without a corpus that is ready"))


def prepare(
    names: Sequence[str], folders: Mapping[str, Path], allow_partial: bool = False
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Survey the corpora and make what s3prl needs from them.

    Returns, by task, what the corpora are that are ready, and all that is wrong with the others.
    """
    found, problems = {}, dict[str, list[str]]()
    bar = Bar("corpora", len(names))
    for name in bar.over(names):
        bar.show(task=name)
        try:
            corpus, wrong = survey(name, folders[name], allow_partial)
            if not wrong:
                corpora.prepare(name, folders[name])
                tasks.paths_under(tasks.header(name), folders[name])
        except Exception as error:  # foreign files can raise anything
            wrong = [_said(error, folders[name])]
        if wrong:
            problems[name] = wrong
        else:
            found[name] = corpus
    return found, problems


def _said(error: Exception, folder: Path) -> str:
    text = " ".join(str(error).split())
    ours = type(error) is ValueError and "; " in text  # ends with its remedy
    if ours or isinstance(error, OSError):
        return text
    return (
        f"{folder}: cannot be read ({type(error).__name__}: {text}); get the corpus again, or "
        "correct the file"
    )


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
        accept = "" if problems else ", or accept what is there with --allow-partial"
        problems += [f"{line}{accept}" for line in seen.lacking]
    if kind == "partial" and not allow_partial and not problems:
        sources = ", ".join(header["corpus"]["source"])
        problems.append(
            f"{base}: {', '.join(corpora.compare_counts(seen.counts, published))}; get the whole "
            f"corpus ({sources}), or accept it with --allow-partial"
        )
    corpus = {
        "name": header["corpus"]["name"],
        "kind": kind,
        "counts": seen.counts,
        **(corpora.is_mini(base) or {}),
    }
    return {**corpus, "fingerprint": value_fingerprint(corpus), "hours": seen.hours}, problems


def value_fingerprint(value: Any) -> str:
    """Return 16 hex digits that tell one plain value from another."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
