"""Where the VC task keeps the mean and variance of the target speaker's spectra.

What: s3prl writes them to a folder of the config, under the name of the speaker alone: another
    corpus, or the same one completed since, silently gets the old numbers; two runs write into one
    file; an interrupted write breaks every later run.
Why: the file's name leaves out the corpus, and it is written in place.
Since: s3prl 0.4.18.
Here: the folder is a temporary one of the run, so that the numbers are computed from the
    corpus at hand each time (seconds); ``stats_root`` is not read.
Delete when: s3prl's a2o-vc-vcc2020/expert.py keys the file by its arguments.
"""

import functools
import importlib
import tempfile
from typing import Any


def install() -> bool:
    """Redirect the files of s3prl's VC expert."""
    expert = importlib.import_module("s3prl.downstream.a2o-vc-vcc2020.expert").DownstreamExpert
    if getattr(expert.__init__, "redirected", False):
        return False
    expert.__init__ = _redirect(expert.__init__)
    return True


def _redirect(original: Any) -> Any:
    @functools.wraps(original)
    def init(
        self: Any,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Any,
        *args: Any,
        **kw: Any,
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="mt4ssl-vc-") as folder:
            datarc = {**downstream_expert["datarc"], "stats_root": folder}
            config = {**downstream_expert, "datarc": datarc}
            original(self, upstream_dim, upstream_rate, config, *args, **kw)

    init.redirected = True  # type: ignore[attr-defined]
    return init
