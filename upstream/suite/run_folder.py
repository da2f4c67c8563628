"""The folder of a suite, runs/NAME: whose it is, who works in it, what was done, the results.

::

    suite.json       upstream, checkpoint, seed, smoke, protocol: all in the folder is of these
    results.jsonl    one record per task and metric
    jobs/NAME.json   state of every job: running (and at which step), done or failed
    logs/NAME.log    what a job printed
    heads_NAME/      such a folder, of other heads
    TASK/[seed_N/][VARIANT/]CANDIDATE/   s3prl's experiments; seed_N: of further head seeds
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mt4ssl_core import locks
from mt4ssl_core.files import check_out, read_json, refuse_others, write_json, write_text
from upstream.corpora.texts import read_text

SUITE, RESULTS, JOBS, LOGS, LOCK = "suite.json", "results.jsonl", "jobs", "logs", ".lock"
HEADS = "heads_"  # begins the name of a folder of other heads, which is a suite's in a suite's
FORMAT, VERSION = "mt4ssl superb run", 1
OWNER = ("upstream", "fingerprint", "seed", "smoke", "heads", "protocol")  # what must not be mixed
_NEEDED = ("task", "metric", "value")


def check(out: Path, owner: Mapping[str, Any]) -> None:
    """See that ``out`` can be the folder of a suite of this upstream, or is it already.

    Raises:
        ValueError: it holds something else, or results of another checkpoint, seed or length.
    """
    check_out(out)
    if (out / SUITE).is_file():
        _check_owner(out, read_owner(out), owner)
        return
    refuse_others(f"--out {out}", out, SUITE, [path.name for path in out.glob(f"{HEADS}*")])


def read_owner(out: Path) -> dict[str, Any]:
    """Return what ``out`` belongs to.

    Raises:
        ValueError: it is no folder of a suite.
    """
    path = out / SUITE
    if not path.is_file():
        raise ValueError(f"{out}: no {SUITE} here; give a folder that `mt4ssl superb run` made")
    found = read_json(path, remedy="give another --out")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path}: not written by `mt4ssl superb run`; give another --out")
    if found.get("version") != VERSION:
        raise ValueError(
            f"{path}: version {found.get('version')}, this mt4ssl writes {VERSION}; give another "
            "--out"
        )
    return found


def _check_owner(out: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    wrong = [key for key in OWNER if there.get(key) != asked.get(key)]
    if not wrong:
        return

    def show(owner: Mapping[str, Any]) -> str:
        fingerprint = f" ({owner['fingerprint']})" if owner.get("fingerprint") else ""
        checkpoint = f" -k {owner['ckpt']}{fingerprint}" if owner.get("ckpt") else ""
        smoke = ", smoke" if owner.get("smoke") else ""
        smoke += f", {owner['heads']} heads" if owner.get("heads") else ""
        smoke += f", protocol {owner['protocol']}" if owner.get("protocol") else ""
        return f"{owner.get('upstream')}{checkpoint}, seed {owner.get('seed')}{smoke}"

    raise ValueError(
        f"--out {out} belongs to {show(there)}; asked for is {show(asked)}. Results are not mixed: "
        "give another --out"
    )


@contextmanager
def claimed(out: Path, owner: Mapping[str, Any], patience: float = 5.0) -> Iterator[str]:
    """Be the only suite that works in ``out``; yields a token that tells this one from others.

    Raises:
        ValueError: another one is at work there, or it is another's folder.
    """
    with locks.lock(out / LOCK, f"--out {out}", patience) as token:
        check(out, owner)
        if not (out / SUITE).is_file():
            write_json(out / SUITE, {"format": FORMAT, "version": VERSION, **owner})
        yield token


def of_other_heads(folder: Path) -> bool:
    """Whether a folder is that of other heads in a suite's, which is read with it."""
    return folder.name.startswith(HEADS) and (folder.parent / SUITE).is_file()


def abandoned(out: Path, token: str) -> bool:
    """Whether the suite that locked ``out`` with ``token`` is gone."""
    return not locks.held(out / LOCK, token)


def job_name(task: str, variant: str | None, last: str, seed: int | None = None) -> str:
    """Return the name of a job: "ks/lr_0.001", "er/fold1/test", "ks/seed_7/test".

    ``seed``: of a head beside the suite's own.
    """
    return "/".join(filter(None, (task, f"seed_{seed}" if seed is not None else "", variant, last)))


def state_path(out: Path, job: str) -> Path:
    """Return the file that holds the state of the job of this name, such as "ks/lr_0.001"."""
    return out / JOBS / f"{job.replace('/', '.')}.json"


def log_path(out: Path, job: str) -> Path:
    """Return the file that holds what the job printed."""
    return out / LOGS / f"{job.replace('/', '.')}.log"


def read_state(out: Path, job: str) -> dict[str, Any]:
    """Return the state of a job; empty when it was never begun.

    Raises:
        ValueError: the file is damaged.
    """
    path = state_path(out, job)
    if not path.is_file():
        return {}
    found = read_json(path, remedy=f"remove it to do {job} again")
    if not _is_state(found):
        raise ValueError(f"{path}: not the state of a job; remove it to do {job} again")
    return found


def _is_state(found: Any) -> bool:
    if not isinstance(found, dict) or type(found.get("state")) is not str:
        return False
    sections = [found[key] for key in ("settings", "result") if key in found]
    number = type(found.get("seconds", 0.0)) in (int, float)
    if not number or not all(isinstance(section, dict) for section in sections):
        return False
    records = found.get("result", {}).get("records", [])
    return isinstance(records, list) and all(map(_is_tested, records))


def _is_tested(found: Any) -> bool:
    """Whether this is a record of a test as `jobs.test` keeps it, of a folder in the suite's."""
    texts = ("metric", "direction", "stage", "folder")
    if not isinstance(found, dict) or any(type(found.get(key)) is not str for key in texts):
        return False
    folder = Path(found["folder"])
    below = not folder.is_absolute() and ".." not in folder.parts
    return below and type(found.get("value", "")) in (int, float, type(None))


def write_state(out: Path, job: str, state: Mapping[str, Any]) -> None:
    """Write the state of a job."""
    write_json(state_path(out, job), dict(state))


def read_results(out: Path) -> list[dict[str, Any]]:
    """Read results.jsonl; nothing when there is none.

    Raises:
        ValueError: a line is cut off or is no record; the file is left as it is.
    """
    path = out / RESULTS
    if not path.is_file():
        return []
    found = []
    remedy = f"correct it, or move {path.name} away: it is written anew from {JOBS}/"
    for number, line in enumerate(read_text(path, remedy).splitlines(), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}:{number}: not JSON ({error}); {remedy}") from error
        if not _is_record(record):
            raise ValueError(f"{path}:{number}: not a record with {', '.join(_NEEDED)}; {remedy}")
        found.append(record)
    return found


def _is_record(found: Any) -> bool:
    if not isinstance(found, dict) or any(key not in found for key in _NEEDED):
        return False
    texts = all(type(found[key]) is str for key in ("task", "metric"))
    return texts and type(found["value"]) in (int, float, type(None))


def write_results(out: Path, tasks: Sequence[str], new: Sequence[Mapping[str, Any]]) -> Path:
    """Put the records of ``tasks`` into results.jsonl in place of their older ones."""
    kept = [record for record in read_results(out) if record["task"] not in tasks]
    lines = [json.dumps(record, allow_nan=False) for record in [*kept, *new]]
    write_text(out / RESULTS, "".join(f"{line}\n" for line in lines))
    return out / RESULTS
