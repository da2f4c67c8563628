"""The name under which the VC task reports its loss.

What: s3prl's VC expert reports its loss under a name that holds the value itself
    (``example/dev-0.734``), so that no curve can be drawn and no reader finds it.
Why: the f-string has ``{loss}`` where it means the word.
Since: s3prl 0.4.18.
Here: the value is reported as ``example/dev-loss``.
Delete when: s3prl's a2o-vc-vcc2020/expert.py names it.
"""

import functools
import importlib
from typing import Any


def install() -> bool:
    """Wrap the logger that s3prl's VC expert is handed."""
    expert = importlib.import_module("s3prl.downstream.a2o-vc-vcc2020.expert").DownstreamExpert
    if getattr(expert.log_records, "named", False):
        return False
    expert.log_records = _named(expert.log_records)
    return True


class _Logger:
    def __init__(self, logger: Any, split: str) -> None:
        self._logger, self._split = logger, split

    def add_scalar(self, tag: str, value: Any, *args: Any, **kwargs: Any) -> None:
        task = tag.split("/")[0]
        self._logger.add_scalar(f"{task}/{self._split}-loss", value, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


def _named(original: Any) -> Any:
    @functools.wraps(original)
    def log_records(self: Any, split: str, records: Any, logger: Any, *args: Any, **kw: Any) -> Any:
        return original(self, split, records, _Logger(logger, split), *args, **kw)

    log_records.named = True  # type: ignore[attr-defined]
    return log_records
