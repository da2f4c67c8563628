"""What `mt4ssl superb run` is asked for."""

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mt4ssl_core.files import user_path
from mt4ssl_core.settings.values import of_word
from upstream.door import cache, hub, overrides, tasks
from upstream.door import s3prl_names as named
from upstream.heads.task_request import NONE, SEED, TRANSFORMS
from upstream.store.options import StoreOptions
from upstream.suite import executors, recipe, roots
from upstream.suite.run_folder import HEADS

ALL = roots.ALL
MOST_SEEDS = 100
OFFICIAL = "official"  # heads: those of the protocol
_WITH_VALUES = ("executor", "seed", "seeds", "device", "jobs", "feature_transform", "protocol")


@dataclass
class SuiteRequest:
    """What `mt4ssl superb run` is asked for; the defaults are the command's."""

    out: Path
    roots: str
    ckpt: str | None = None
    upstream: str | None = None  # None: mt4ssl
    tasks: str = ALL
    smoke: bool = False
    executor: str = executors.LOCAL
    rates: Sequence[str] = ()  # "1e-3,1e-4" for every task, "ks=1e-3,1e-4" for one
    set: Sequence[str] = ()  # "ks:runner.total_steps=500": not SUPERB's setting any more
    seed: int = SEED
    seeds: int = 1  # of heads, from ``seed`` on: each task is trained and tested with each
    device: str = "auto"
    allow_partial: bool = False
    jobs: int | None = None
    slurm: Sequence[str] = ()
    store: StoreOptions = field(default_factory=StoreOptions)
    stages: Sequence[str] = ()  # optional evaluations to do as well
    heads: Sequence[str] = (OFFICIAL,)  # other kinds are not SUPERB's setting any more
    feature_transform: str = NONE  # one of TRANSFORMS, not SUPERB's setting any more
    protocol: str = recipe.SUPERB  # or another of recipe.NAMES
    names: list[str] = field(init=False)
    rates_of: dict[str, list[float]] = field(init=False)
    changes_of: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Check what can be checked without looking at files; a checkpoint is found."""
        if type(self.seeds) is not int or not 1 <= self.seeds <= MOST_SEEDS:
            raise ValueError(f"--seeds {self.seeds}: give a whole number from 1 to {MOST_SEEDS}")
        self.out = user_path(self.out).absolute()
        self.upstream, self.ckpt = hub.named(self.upstream, self.ckpt)
        self.upstream = self.upstream or ("mt4ssl" if self.ckpt else None)
        if self.upstream is None:
            raise ValueError(
                "nothing to score; give a checkpoint, or --upstream with a name on s3prl's hub, "
                "such as fbank"
            )
        if self.upstream in hub.OURS:
            self.ckpt = hub.need_checkpoint(self.upstream, self.ckpt)
        if self.ckpt and not cache.is_url(self.ckpt):
            path = user_path(self.ckpt)
            if not cache.exists(path):
                raise ValueError(f"{self.ckpt}: no such checkpoint; check the path")
            self.ckpt = str(path.absolute())
        if self.store.folder:
            self.store = replace(self.store, folder=str(self.store.place))
        self._settle_tasks()

    def _settle_tasks(self) -> None:
        """Check which tasks are asked for, and what is changed of these."""
        self.names = roots.pick(self.tasks)
        self._check_protocol()
        self._check_heads()
        self._check_stages()
        self._check_transform()
        self.rates_of = read_rates(self.rates, self.names)
        self.changes_of = read_changes(self.set, self.names)
        for name, changes in self.changes_of.items():
            if "optimizer.lr" in changes and tasks.header(name)["learning_rates"]:
                self.rates_of[name] = [float(changes.pop("optimizer.lr"))]

    def _check_protocol(self) -> None:
        """Check the protocol; of all tasks keep those that it has a recipe for."""
        if self.protocol not in recipe.NAMES:
            raise ValueError(f"--protocol {self.protocol}: give one of {', '.join(recipe.NAMES)}")
        done = [name for name in self.names if recipe.has(tasks.header(name), self.protocol)]
        lacking = [name for name in self.names if name not in done]
        if lacking and (self.tasks != ALL or not done):
            raise ValueError(
                f"--protocol {self.protocol}: has no recipe for {', '.join(lacking)}; leave it out"
            )
        self.names, given = done, f"--protocol {self.protocol}"
        if self.protocol != recipe.SUPERB and list(self.heads) != [OFFICIAL]:
            raise ValueError(f"{given}: has heads of its own; leave --heads out")
        if self.protocol != recipe.SUPERB and self.transformed:
            raise ValueError(
                f"{given}: normalises the features itself; leave --feature-transform out"
            )
        self.store = recipe.stored(self.protocol, self.store)

    def _check_heads(self) -> None:
        """Check the kinds of heads; with one kind alone, leave out what has none of it."""
        self.heads = [kind for word in self.heads for kind in word.split(",")]
        known = [OFFICIAL, *dict.fromkeys(k for h in tasks.headers().values() for k in _kinds(h))]
        if (odd := [kind for kind in self.heads if kind not in known]) or not self.heads:
            near = difflib.get_close_matches(odd[0], known, 1) if odd else []
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"--heads {','.join(self.heads)}: choose among {', '.join(known)}.{hint}"
            )
        for kind in self.heads:
            lacking = [name for name in self.names if not self._has(name, kind)]
            if lacking and (self.tasks != ALL or len(lacking) == len(self.names)):
                raise ValueError(
                    f"--heads {kind}: there is no such head of {', '.join(lacking)}; leave it out "
                    "of --tasks"
                )

    def _has(self, name: str, kind: str) -> bool:
        return kind == OFFICIAL or kind in _kinds(tasks.headers()[name])

    def of_kind(self, kind: str) -> "SuiteRequest":
        """Return what is asked of one kind of heads; others lie in a subfolder."""
        if kind == OFFICIAL:
            return replace(self, heads=[kind])
        names = [name for name in self.names if self._has(name, kind)]
        shared: dict[str, Any] = {f: self._words(f, names) for f in ("rates", "set", "stages")}
        out = self.out / f"{HEADS}{kind}"
        return replace(self, heads=[kind], tasks=",".join(names), out=out, **shared)

    @property
    def other_heads(self) -> str | None:
        """Return the kind of heads, where these are not SUPERB's."""
        return self.heads[0] if len(self.heads) == 1 and self.heads[0] != OFFICIAL else None

    def _check_stages(self) -> None:
        headers = [tasks.header(name) for name in self.names] if self.stages else []
        known = {stage["name"]: None for h in headers for stage in tasks.all_stages(h)}
        if unknown := [name for name in self.stages if name not in known]:
            raise ValueError(
                f"--stages {', '.join(unknown)}: none of the tasks has such an evaluation; they "
                f"have {', '.join(known)}"
            )

    def _check_transform(self) -> None:
        if self.feature_transform not in TRANSFORMS:
            raise ValueError(
                f"--feature-transform {self.feature_transform}: give one of {', '.join(TRANSFORMS)}"
            )
        untrained = [name for name in self.names if tasks.header(name).get("select") == "layer"]
        if self.transformed and untrained:
            raise ValueError(
                f"--feature-transform {self.feature_transform}: {', '.join(untrained)} trains "
                "nothing that it could be fitted for; leave it out of --tasks"
            )

    @property
    def transformed(self) -> dict[str, str]:
        """What a transform of features adds to what a result is; empty without one."""
        kind = self.feature_transform
        return {} if kind == NONE else {"feature_transform": kind}

    def command(self, names: Sequence[str]) -> str:
        """Return the command line that does the same for some of the tasks."""
        words = self._command_head(names)
        words += ["--upstream", str(self.upstream)] if self.upstream != "mt4ssl" else []
        for flag in ("smoke", "allow_partial"):
            words += [f"--{flag.replace('_', '-')}"] if getattr(self, flag) else []
        for flag in _WITH_VALUES:
            value, default = getattr(self, flag), type(self).__dataclass_fields__[flag].default
            words += [f"--{flag.replace('_', '-')}", str(value)] if value != default else []
        words += self.store.argv()
        for flag in ("rates", "set", "slurm", "stages"):
            values = self._words(flag, names)
            words += [f"--{flag}", *values] if values else []
        words += ["--heads", kind] if (kind := self.other_heads) else []
        return shlex.join(words)

    def _words(self, flag: str, names: Sequence[str]) -> list[str]:
        """Return the words of an option that concern some of the tasks."""
        stages = {stage["name"] for name in names for stage in tasks.all_stages(tasks.header(name))}
        fits = {
            "rates": lambda word: "=" not in word or word.split("=")[0] in names,
            "set": lambda word: word.split(":")[0] in names,
            "stages": lambda word: word in stages,
        }.get(flag, lambda word: True)
        return list(filter(fits, getattr(self, flag)))

    def _command_head(self, names: Sequence[str]) -> list[str]:
        words = ["mt4ssl", "superb", "run", *(["-k", self.ckpt] if self.ckpt else [])]
        out = self.out.parent if self.other_heads else self.out
        return [
            *words,
            *("--tasks", ",".join(names), "--roots", str(self.roots), "--out", str(out)),
        ]


def _kinds(header: Mapping[str, Any]) -> list[str]:
    return [*header.get("heads", {})]


def read_changes(words: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``ks:runner.total_steps=500`` into changed settings by task.

    Raises:
        ValueError: not of this form, a task that is not asked for, or a key or kind of value that
            the task's config does not have.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        task, colon, setting = word.partition(":")
        key, equals, value = setting.partition("=")
        if not colon or not equals:
            raise ValueError(f"--set {word}: expected TASK:KEY=VALUE, as ks:runner.total_steps=500")
        if task not in names:
            raise ValueError(f"--set {word}: {task} is not among --tasks ({', '.join(names)})")
        found.setdefault(task, {})[key] = of_word(value)
    for task, changes in found.items():
        config = tasks.read(tasks.path_of(task))
        overrides.override(overrides.render(changes), None, config, quiet=True)
        named.check_config(config["superb"]["s3prl"], config)
    return found


def read_rates(words: Sequence[str], names: Sequence[str]) -> dict[str, list[float]]:
    """Read ``1e-3,1e-4`` (for every task) and ``ks=1e-3`` (for one) into rates by task.

    Raises:
        ValueError: not positive numbers, a task that is not asked for, or the same twice.
    """
    found: dict[str, list[float]] = {}
    said = set()
    for word in words:
        task, equals, numbers = word.rpartition("=")
        if task in said:
            raise ValueError(
                f"--rates {word}: {task or 'every task'} has rates already; put a comma between "
                "them, as in 1e-3,1e-4"
            )
        said.add(task)
        if equals and task not in names:
            raise ValueError(f"--rates {word}: {task} is not among --tasks ({', '.join(names)})")
        if equals and tasks.header(task).get("select", "rate") != "rate":
            raise ValueError(f"--rates {word}: {task} does not choose among learning rates")
        try:
            rates = [float(number) for number in numbers.split(",")]
        except ValueError:
            rates = []
        if not rates or not all(0 < rate < float("inf") for rate in rates):
            raise ValueError(f"--rates {word}: expected numbers such as 1e-3,1e-4, or ks=1e-3")
        for name in [task] if equals else names:
            if equals or name not in found:
                found[name] = rates
    return found
