"""What `mt4ssl task train` is asked for."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mt4ssl_core.files import user_path
from upstream.door import tasks
from upstream.suite.suite_request import SuiteRequest, read_changes, read_rates

CSV, TRIALS = "downstream_expert.datarc.csv", "downstream_expert.datarc.trials"
EVALUATIONS = 20  # on dev, with a number of steps that is asked for


@dataclass
class OwnTaskRequest(SuiteRequest):
    """What `mt4ssl task train` is asked for; ``roots`` is the table of clips.

    Raises:
        ValueError: no such kind of task, or as of `SuiteRequest`.
    """

    kind: str = ""
    trials: str | None = None  # of kind verify: pairs of test clips
    steps: int | None = None  # of training; None: as in downstream_configs/own

    def _settle_tasks(self) -> None:
        known = tasks.own_names()
        if self.kind not in known:
            near = difflib.get_close_matches(self.kind, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"--kind {self.kind}: choose one of {', '.join(known)}.{hint}")
        if self.trials is not None and self.kind != "verify":
            raise ValueError(f"--trials goes with --kind verify, not with {self.kind}")
        self.roots, self.names = str(user_path(self.roots).absolute()), [self.kind]
        self._check_protocol()
        self.rates_of = read_rates(self.rates, self.names)
        prefix = f"{self.kind}:"
        self.set = [word if word.startswith(prefix) else prefix + word for word in self.set]
        changes = read_changes(self.set, self.names).get(self.kind, {})
        if "optimizer.lr" in changes:
            self.rates_of[self.kind] = [float(changes.pop("optimizer.lr"))]
        self.changes_of = {self.kind: {**self._paths(), **self._lengths(), **changes}}

    def _paths(self) -> dict[str, Any]:
        if self.trials is None:
            return {CSV: self.roots}
        return {CSV: self.roots, TRIALS: str(user_path(self.trials).absolute())}

    def _lengths(self) -> dict[str, int]:
        if self.steps is None:
            return {}
        between = max(1, self.steps // EVALUATIONS)
        keys = ("eval_step", "save_step", "log_step")
        return {"runner.total_steps": self.steps, **{f"runner.{key}": between for key in keys}}

    def _command_head(self, names: Sequence[str]) -> list[str]:
        words = ["mt4ssl", "task", "train", self.roots, "--kind", self.kind]
        words += ["-k", self.ckpt] if self.ckpt else []
        words += ["--trials", self.trials] if self.trials else []
        words += ["--steps", str(self.steps)] if self.steps else []
        return [*words, "--out", str(self.out)]
