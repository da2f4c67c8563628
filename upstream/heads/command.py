"""What is asked of one task, checked, and made s3prl's command line."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from upstream.door import cache, hub, overrides, tasks
from upstream.heads import arguments
from upstream.heads.task_request import TaskRequest, transform_of
from upstream.store.options import StoreOptions

# s3prl's flags that, given again, must be those of the stored experiment
_SAME = (
    *("upstream_trainable", "upstream_feature_selection", "upstream_layer_selection"),
    "upstream_feature_normalize",
)


@dataclass
class Command:
    """What to hand to s3prl: its command line, and what to do beside."""

    argv: list[str]
    expdir: Path | None = None
    mode: str = "evaluate"
    then_test: bool = False
    store: StoreOptions = field(default_factory=StoreOptions)
    stages: list[str] | None = None  # after training; None: all that are not optional
    stage: str = tasks.TEST  # of -m evaluate
    feature_transform: str | None = None  # of a new training; else it is the head's


def resolve(argv: list[str]) -> Command:
    """Return what to hand to s3prl for a command line with our options; as `settle`."""
    return settle(arguments.parse(argv))


def settle(request: TaskRequest) -> Command:
    """Return what to hand to s3prl.

    What is wrong with a request is found before torch or s3prl is imported, as far as possible.

    Raises:
        ValueError: what is asked for cannot be; says why.
    """
    asked = replace(request, others=dict(request.others))
    arguments.refuse(asked)
    expdir = Path(asked.expdir or f"result/downstream/{asked.expname}").absolute()
    past = _past(asked, expdir)
    changes: dict[str, Any] = {}
    if past is None:
        header = arguments.find_task(asked)
    else:
        header = past["Config"].get("superb")
        _check_same(asked, past)
        _keep_explicit(asked, expdir, changes)
    if asked.root is not None:
        if not header:
            raise ValueError(
                "--root: this config has no superb: block that says which keys it sets; use -o"
            )
        changes |= {f"config.{key}": v for key, v in tasks.paths_under(header, asked.root).items()}
    if asked.stages is not None:
        asked.stages = [stage["name"] for stage in tasks.stages(header or {}, asked.stages)]
    if asked.stage is not None:
        (stage,) = tasks.stages(header or {}, [asked.stage])
        asked.others["evaluate_split"] = stage["split"]
        changes |= {f"config.{key}": value for key, value in stage.get("override", {}).items()}
    parts = [overrides.one(key, value) for key, value in changes.items()]
    parts += [overrides.render(dict(asked.changes))] if asked.changes else []
    if asked.override and asked.override.lower() != "none":
        overrides.parse(asked.override)
        parts.append(asked.override)  # the user's own word comes last, and wins
    if past is None:
        arguments.check(asked, ",,".join(parts))
        resolve_upstream(asked)
    named = expdir if asked.expdir or asked.expname else None
    kept = (asked.mode or "", asked.then_test, asked.store, asked.stages, asked.stage or tasks.TEST)
    return Command(_argv(asked, parts, named), named, *kept, asked.feature_transform)


def _argv(asked: TaskRequest, parts: list[str], expdir: Path | None) -> list[str]:
    """Return the words that s3prl's own command line takes."""
    from mt4ssl_core.distributed import choose_device

    given: dict[str, Any] = {"device": choose_device(asked.device or "auto"), "expdir": expdir}
    given["override"] = ",,".join(parts) or None
    for name in ("mode", "past_exp", "config", "downstream", "upstream", "upstream_ckpt", "seed"):
        given[name] = getattr(asked, name)
    out = ["--auto_resume"] if asked.auto_resume else []
    for name, value in {**given, **asked.others}.items():
        if value is not None:
            out += [f"--{name}", *([] if value is True else [str(value)])]
    return out


def _past(args: TaskRequest, expdir: Path) -> dict[str, Any] | None:
    """Return the s3prl checkpoint that this command goes on from, with -e or -a, if any."""
    path = Path(args.past_exp) if args.past_exp else None
    if path is None and args.auto_resume and next(expdir.glob("states-*.ckpt"), None):
        path = expdir
    if path is None:
        return None
    if not path.exists():
        raise ValueError(f"-e {path}: no such checkpoint; check the path")
    from upstream.heads import states

    return states.read(path)


def resolve_upstream(args: Any) -> None:
    """See that the upstream is on s3prl's hub and its checkpoint there; make its path absolute.

    Raises:
        ValueError: it is not.
    """
    arguments.check_upstream(args.upstream, args.upstream_ckpt)
    import upstream
    from upstream.door import expert

    upstream.register()
    hub.check(args.upstream)
    if args.upstream.startswith("mt4ssl"):
        ckpt = expert.need_checkpoint(args.upstream, args.upstream_ckpt)
        if not cache.is_url(ckpt):
            args.upstream_ckpt = str(expert.local_path(ckpt).absolute())


def _check_same(args: TaskRequest, past: dict[str, Any]) -> None:
    """See that what is given of the flags that make an experiment what it is is as stored."""
    stored = past["Args"]
    header = past["Config"].get("superb") or {"code": stored.downstream}
    config = str(Path(stored.config).absolute()) if stored.config else None
    for flag, given, kept in (
        ("--task", args.task, header["code"]),
        ("-u", args.upstream, stored.upstream),
        ("-d", args.downstream, stored.downstream),
        ("-c", args.config and str(Path(args.config).absolute()), config),
        ("--seed", args.seed, getattr(stored, "seed", args.seed)),
        ("--feature-transform", args.feature_transform, transform_of(stored)),
        *((f"--{key}", args.others.get(key), getattr(stored, key, None)) for key in _SAME),
    ):
        if given is not None and given != kept:
            raise ValueError(
                f"{flag} {given}: the stored experiment has {kept}; leave {flag} out to go on "
                "with it (-o changes single keys), or start a new one: no -e, another -p"
            )


def _keep_explicit(args: TaskRequest, expdir: Path, changes: dict[str, Any]) -> None:
    """Let -k and -p given with -e or -a win over those stored in the checkpoint.

    Without -p, what is written goes to the folder that the head lies in.
    """
    if args.upstream_ckpt and not cache.is_url(args.upstream_ckpt):
        from upstream.door import expert

        args.upstream_ckpt = str(expert.local_path(args.upstream_ckpt).absolute())
    if args.upstream_ckpt:
        changes["args.upstream_ckpt"] = args.upstream_ckpt
    if args.expdir or args.expname or not args.past_exp:
        changes["args.expdir"] = str(expdir)
    else:  # where the head lies now, not where it says that it was made
        past = Path(args.past_exp).absolute()
        changes["args.expdir"] = str(past if past.is_dir() else past.parent)
