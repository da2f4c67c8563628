"""What an experiment's folder belongs to, so that two experiments are never mixed in it.

``experiment.json`` is written when an experiment begins: the task, the upstream, the fingerprint of
its checkpoint, the seed, whether the upstream is trained and how its features are transformed.
"""

from pathlib import Path
from typing import Any

from mt4ssl_core.files import read_json, write_json
from upstream.door import cache, processes
from upstream.heads.task_request import transform_of

FILE = "experiment.json"
NAMES = {
    "task": "task",
    "upstream": "upstream (-u)",
    "fingerprint": "checkpoint (-k)",
    "seed": "--seed",
    "upstream_trainable": "fine-tuning (-f)",
    "feature_transform": "--feature-transform",
}


def identity(args: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return what an experiment is, with the path of its upstream's checkpoint for messages."""
    return {
        "task": (config.get("superb") or {}).get("code", args.downstream),
        "upstream": args.upstream,
        "fingerprint": cache.fingerprint_of(args.upstream_ckpt),
        "seed": args.seed,
        "upstream_trainable": args.upstream_trainable,
        "feature_transform": transform_of(args),
        "upstream_ckpt": args.upstream_ckpt,
    }


def read(folder: str | Path) -> dict[str, Any] | None:
    """Return what the experiment in ``folder`` is, if it says so.

    Raises:
        ValueError: experiment.json is not readable.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    found = read_json(path, remedy="give another folder with -p")
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not an experiment's description; give another folder with -p")
    return found


def check(args: Any, config: dict[str, Any]) -> dict[str, Any]:
    """See that the experiment may write into its folder; return what it is.

    Raises:
        ValueError: the folder, or the experiment gone on with, is another one; names both.
    """
    asked = identity(args, config)
    for folder in folders(args):
        _compare(folder, asked)
    return asked


def record(args: Any, found: dict[str, Any]) -> None:
    """Write into the experiment's folder what it is, unless it is written there."""
    past = _past(args)
    # a head that was trained without such a description is not known to be of this checkpoint
    known = args.mode == "train" or past is None or read(past) is not None
    if known and processes.rank() == 0 and read(args.expdir) is None:
        write_json(Path(args.expdir) / FILE, found)


def folders(args: Any) -> list[Path]:
    """Return the folder of the experiment that is gone on with, if any, and its own."""
    return [folder for folder in (_past(args), Path(args.expdir)) if folder is not None]


def _past(args: Any) -> Path | None:
    return Path(args.init_ckpt).parent if args.past_exp else None


def _compare(folder: Path, asked: dict[str, Any]) -> None:
    kept = read(folder) or {}
    for key, name in NAMES.items():
        if key in kept and kept[key] != asked[key]:
            raise ValueError(
                f"{folder}: holds an experiment with {name} {_shown(kept, key)}, but asked for is "
                f"{_shown(asked, key)}; go on with what it holds, or give another folder with -p"
            )


def _shown(experiment: dict[str, Any], key: str) -> str:
    if key != "fingerprint":
        return str(experiment[key])
    return f"{experiment.get('upstream_ckpt')} (fingerprint {experiment[key]})"
