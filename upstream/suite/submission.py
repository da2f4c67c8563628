"""The zip that SUPERB's leaderboard takes: predictions under the names of s3prl's submit.py."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.files import atomic_path
from upstream.door import tasks
from upstream.suite import protocol, roots, run_folder, work

FILE = "predict.zip"


@dataclass(frozen=True)
class Part:
    """One folder of the zip. ``{variant}`` stands for a fold's name."""

    folder: str  # below predict/
    name: str  # of the file there; empty: the files of a folder keep theirs
    source: str  # in the experiment's folder
    stage: str = tasks.TEST


PARTS: dict[str, list[Part]] = {
    "pr": [Part("pr_public", "predict.ark", "test-hyp.ark")],
    "asr": [
        Part("asr_public", "predict.ark", "test-clean-noLM-hyp.ark"),
        Part("asr_lm_public", "predict.ark", "test-clean-LM-hyp.ark", stage="lm"),
    ],
    "ks": [Part("ks_public", "predict.txt", "test_predict.txt")],
    "qbe": [Part("qbe_public", "benchmark.stdlist.xml", "benchmark.stdlist.xml")],
    "sid": [Part("sid_public", "predict.txt", "test_predict.txt")],
    "asv": [Part("sv_public", "predict.txt", "test_predict.txt")],
    "sd": [Part("sd_public", "", "scoring/predictions")],
    "ic": [Part("ic_public", "predict.csv", "test_predict.csv")],
    "sf": [Part("sf_public", "predict.ark", "test-hyp.ark")],
    "er": [Part("er_{variant}_public", "predict.txt", "test_{variant}_predict.txt")],
    "se": [Part("se_public", "metrics.txt", "test_metrics.txt")],
    "ss": [Part("ss_public", "metrics.txt", "test_metrics.txt")],
    "st": [Part("st_public", "predict.tsv", "output-st-test.tsv")],
}


def submit(
    run: str | Path, asked: str = roots.ALL, out: str | Path | None = None, force: bool = False
) -> Path:
    """Write the zip of a suite's folder; returns its path (default: predict.zip in the folder).

    Args:
        run: folder that `mt4ssl superb run` filled.
        asked: tasks to submit, ``pr,ks``; all that the leaderboard takes.
        out: the zip to write.
        force: also results of a smoke run, of other settings, of mini_superb or of a part of a
            corpus.

    Raises:
        ValueError: no such folder, results that are none of SUPERB, or something missing: all of it
            at once.
    """
    folder = Path(run).absolute()
    owner = run_folder.read_owner(folder)
    records = run_folder.read_results(folder)
    names = _names(asked)
    for record in records:
        for key in ("protocol", "feature_transform"):
            if record["task"] in names and record.get(key):
                flag = f"--{key.replace('_', '-')}"
                raise ValueError(
                    f"{folder}: {record['task']} was scored with {flag}, which is never a result "
                    "of SUPERB; score it without, or leave it out with --tasks"
                )
    if not force:
        _refuse_unofficial(folder, owner, [r for r in records if r["task"] in names])
    files: list[tuple[str, Path]] = []
    problems: list[str] = []
    for name in names:
        found, lacking = _files(folder, name, records)
        files += found
        problems += lacking
    if problems:
        raise ValueError(
            "\n  ".join([f"{folder}: {len(problems)} thing(s) missing:", *problems])
            + "\n  run these tasks, or leave them out with --tasks"
        )
    target = Path(out).absolute() if out else folder / FILE
    with (
        atomic_path(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for inside, source in files:
            archive.write(source, f"predict/{inside}")
    return target


def _names(asked: str) -> list[str]:
    if asked == roots.ALL:
        return roots.in_order(PARTS)
    names = roots.pick(asked)
    if other := [name for name in names if name not in PARTS]:
        raise ValueError(
            f"--tasks: the leaderboard takes no {', '.join(other)}; choose among "
            f"{', '.join(roots.in_order(PARTS))}"
        )
    return names


def _refuse_unofficial(
    folder: Path, owner: Mapping[str, Any], records: list[dict[str, Any]]
) -> None:
    wrong = ["a smoke run"] if owner["smoke"] else []
    for record in records:
        if record["overrides"] and not owner["smoke"]:
            wrong.append(f"{record['task']} with changed settings")
        if (record.get("store") or {}).get("crops"):
            wrong.append(f"{record['task']} with crops from a bank (--store-crops)")
        if record["corpus"]["kind"] != "real":
            wrong.append(f"{record['task']} on a {record['corpus']['kind']} corpus")
    if wrong:
        raise ValueError(
            f"{folder}: no results of SUPERB: {', '.join(dict.fromkeys(wrong))}; run the tasks "
            "whole on the real corpora, or try the zip out with --force"
        )


def _files(
    folder: Path, name: str, records: list[dict[str, Any]]
) -> tuple[list[tuple[str, Path]], list[str]]:
    """Return (place in the zip, file) of a task, and what is missing."""
    header = tasks.header(name) if name in tasks.names() else {}
    variants = (header.get("variants") or {}).get("values", [None])
    found: list[tuple[str, Path]] = []
    problems = []
    if not any(record["task"] == name for record in records):
        return [], [f"{name}: not in {run_folder.RESULTS}"]
    for part in PARTS[name]:
        for variant in variants:
            try:
                found += _files_of_part(folder, name, part, variant)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return found, problems


def _files_of_part(
    folder: Path, name: str, part: Part, variant: str | None
) -> list[tuple[str, Path]]:
    job = "/".join(filter(None, (name, variant, "test")))
    state = run_folder.read_state(folder, job)
    if state.get("state") != work.DONE:
        raise ValueError(f"{job} is not done")
    first = tasks.header(name)["metrics"][0]["name"]  # whose best head is reported
    there = state.get("result", {}).get("records", [])
    records = [record for record in there if record["stage"] == part.stage]
    tested = [record for record in records if record["metric"] == first] or records
    if not tested:
        raise ValueError(f"{job}: the evaluation {part.stage} was not done")
    best = protocol.best_of(tested)
    source = folder / best["folder"] / part.source.format(variant=variant)
    inside = part.folder.format(variant=variant)
    if part.name:
        if not source.is_file() or not source.stat().st_size:
            raise ValueError(f"{source} is not there or empty")
        return [(f"{inside}/{part.name}", source)]
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"{source} is not there or empty")
    return [(f"{inside}/{path.relative_to(source)}", path) for path in files]
