"""SUPERB from Python: what `mt4ssl superb run` does, asked for by the same request."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt4ssl.encoder import Encoder
from mt4ssl_core.files import user_path
from mt4ssl_core.settings import hub_names
from upstream.door import cache, hub
from upstream.suite import own_task, run_folder, suite
from upstream.suite.own_task_request import OwnTaskRequest
from upstream.suite.suite_request import ALL, SuiteRequest

if TYPE_CHECKING:
    import pandas as pd


class Records(list[dict[str, Any]]):
    """The lines of results.jsonl: one per task and metric."""

    def frame(self) -> "pd.DataFrame":
        """Return them as a table, a row each."""
        import pandas as pd

        return pd.DataFrame(list(self))


def evaluate(
    encoder: Encoder | str | Path,
    *,
    roots: str | Path,
    out: str | Path,
    tasks: str | Sequence[str] = ALL,
    **settings: Any,
) -> Records:
    """Train and test heads on a frozen encoder, task by task; what is done is not done again.

    Args:
        encoder: what `load` gave, or takes; or a name on s3prl's hub, such as "fbank".
        roots: a YAML file of lines "task: folder", or one folder that holds all corpora.
        out: folder for results.jsonl and all else.
        tasks: such as ["ks", "pr"].
        settings: whatever else `upstream.suite.suite_request.SuiteRequest` has: ``smoke``,
            ``seed``, ``device``, ``jobs``, ``executor``, ``rates``, ``set``, ``store``, ...

    Raises:
        ValueError: something that is asked for cannot be; or, in the end, a task without results
            (those of the others are in ``out``).
        TypeError: no such setting.
    """
    names = tasks if isinstance(tasks, str) else ",".join(tasks)
    request = SuiteRequest(Path(out), str(roots), tasks=names, **_named(encoder), **settings)
    return _records(request, suite.run(request))


def train_task(
    csv: str | Path,
    *,
    kind: str,
    encoder: Encoder | str | Path,
    out: str | Path,
    **settings: Any,
) -> Records:
    """Train one of SUPERB's heads on clips of one's own, and test it, as `mt4ssl task train` does.

    Args:
        csv: a table with the columns path, label (or text, or speaker) and split.
        kind: "classify", "ctc", "tokens" or "verify".
        encoder: what `load` gave, or takes; or a name on s3prl's hub, such as "fbank".
        out: folder for results.jsonl and all else.
        settings: whatever else `upstream.suite.own_task_request.OwnTaskRequest` has: ``trials``,
            ``steps``, and what `evaluate` takes.

    Raises:
        ValueError: something that is asked for cannot be, or a job failed.
        TypeError: no such setting.
    """
    request = OwnTaskRequest(Path(out), str(csv), kind=kind, **_named(encoder), **settings)
    return _records(request, own_task.run(request))


def _records(request: SuiteRequest, code: int) -> Records:
    """Return what a request that ended with this exit code left behind."""
    found = [r for r in run_folder.read_results(request.out) if r["task"] in request.names]
    if code:
        raise ValueError(
            f"{request.out}: not all of {', '.join(request.names)} could be done, for the reasons "
            f"above; mend them and call again. {run_folder.RESULTS} has what there is"
        )
    return Records(sorted(found, key=lambda record: request.names.index(record["task"])))


def _named(encoder: Encoder | str | Path) -> dict[str, Any]:
    """Return what the request calls an encoder."""
    if isinstance(encoder, Encoder):
        encoder.check_unchanged()
        return {"upstream" if encoder.source in hub.defined() else "ckpt": encoder.source}
    path = str(encoder)
    named = isinstance(encoder, Path) or cache.is_url(path) or hub_names.is_name(path)
    if named or cache.exists(user_path(path)):
        return {"ckpt": path}
    hub.check_quickly(path)
    return {"upstream": path}
