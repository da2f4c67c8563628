"""What is asked of one task: run_downstream's command line as an object, which Python makes too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mt4ssl_core.files import user_path
from mt4ssl_core.settings import bounds
from mt4ssl_core.settings.bounds import NUMPY_SEEDS, choice, number
from upstream.door import cache, hub
from upstream.store.options import StoreOptions

SEED = 1337  # s3prl's
NONE, STANDARDIZE, WHITEN = TRANSFORMS = ("none", "standardize", "whiten")  # of features
_PATHS = ("root", "config", "past_exp", "expdir", "upstream_ckpt")


def transform_of(args: Any) -> str:
    """Return which transform of features s3prl's arguments, given or stored with a head, name."""
    kind: str = getattr(args, "feature_transform", NONE)
    return kind


@dataclass
class TaskRequest:
    """What is asked of one task; names are those of s3prl's arguments where it has them.

    Raises:
        ValueError: a seed or a transform that cannot be.
    """

    mode: str | None = None  # train, evaluate or inference
    task: str | None = None  # a name in downstream_configs
    root: str | None = None  # the folder that holds the corpus
    upstream: str | None = None
    upstream_ckpt: str | None = None
    downstream: str | None = None  # s3prl's folder; None: the task's
    config: str | None = None  # None: the task's
    expdir: str | None = None
    expname: str | None = None
    past_exp: str | None = None  # a checkpoint to go on with, or its folder
    auto_resume: bool = False
    seed: int | None = number(None, **NUMPY_SEEDS)  # None: SEED, or that of what is gone on with
    device: str | None = None  # None: the GPU if there is one
    hub: str | None = None
    feature_transform: str | None = choice(None, *TRANSFORMS)  # None: none, or as stored
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the config, by dotted key
    override: str | None = None  # as -o has it; it wins over ``changes``
    then_test: bool = False
    stages: list[str] | None = None  # after training; None: all that are not optional
    stage: str | None = None  # of an evaluation; None: the test
    store: StoreOptions = field(default_factory=StoreOptions)
    others: dict[str, Any] = field(default_factory=dict)  # of s3prl's arguments

    def __post_init__(self) -> None:
        """Put the home folder in the place of ``~``, and let an encoder of the user's run."""
        bounds.check(self, lambda name: f"--{name.replace('_', '-')}")
        self.upstream, self.upstream_ckpt = hub.own(self.upstream, self.upstream_ckpt)
        for name in _PATHS:
            value = getattr(self, name)
            if value is not None and not cache.is_url(str(value)):
                setattr(self, name, str(user_path(value)))
        for name, value in self.others.items():
            if isinstance(value, str) and value.startswith("~"):
                self.others[name] = str(user_path(value))
