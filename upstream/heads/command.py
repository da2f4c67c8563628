"""run_downstream's command line: s3prl's flags and ours, checked before s3prl sees them."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upstream.door import cache, hub, overrides, tasks
from upstream.heads import arguments
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


def resolve(argv: list[str]) -> Command:
    """Turn a command line with our options into one of s3prl alone.

    What is wrong with it is found before torch or s3prl is imported, as far as possible.

    Raises:
        ValueError: what is asked for cannot be; says why.
    """
    args, rest, passed = arguments.parse(argv)
    expdir = Path(args.expdir or f"result/downstream/{args.expname}").absolute()
    past = _past(args, expdir)
    changes: dict[str, Any] = {}
    if past is None:
        header = arguments.find_task(args)
    else:
        header = past["Config"].get("superb")
        _check_same(args, passed, past)
        _keep_explicit(args, changes)
    if args.root is not None:
        if not header:
            raise ValueError(
                "--root: this config has no superb: block that says which keys it sets; use -o"
            )
        changes |= {f"config.{key}": v for key, v in tasks.paths_under(header, args.root).items()}
    if args.stages is not None:
        args.stages = [
            stage["name"] for stage in tasks.stages(header or {}, args.stages.split(","))
        ]
    if args.stage is not None:
        (stage,) = tasks.stages(header or {}, [args.stage])
        rest += ["--evaluate_split", stage["split"]]
        passed.evaluate_split = stage["split"]
        changes |= {f"config.{key}": value for key, value in stage.get("override", {}).items()}
    parts = [f"{key}={value!r}" for key, value in changes.items()]
    if args.override and args.override.lower() != "none":
        overrides.parse(args.override)
        parts.append(args.override)  # the user's own word comes last, and wins
    if past is None:
        arguments.check(args, passed, ",,".join(parts))
        check_upstream(args)
    return _command(args, rest, parts, expdir)


def _command(args: argparse.Namespace, rest: list[str], parts: list[str], expdir: Path) -> Command:
    from mt4ssl_core.distributed import choose_device

    out = ["--device", str(choose_device(args.device or "auto"))]
    out += ["--override", ",,".join(parts)] if parts else []
    if args.expdir or args.expname:
        out += ["--expdir", str(expdir)]
    for name in ("mode", "past_exp", "config", "downstream", "upstream", "upstream_ckpt", "seed"):
        if (value := getattr(args, name)) is not None:
            out += [f"--{name}", str(value)]
    out += ["--auto_resume"] if args.auto_resume else []
    named = expdir if args.expdir or args.expname else None
    return Command(
        out + rest,
        named,
        mode=args.mode or "",
        then_test=args.then_test,
        store=StoreOptions.of(args),
        stages=args.stages,
        stage=args.stage or tasks.TEST,
    )


def _past(args: argparse.Namespace, expdir: Path) -> dict[str, Any] | None:
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


def check_upstream(args: Any) -> None:
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


def _check_same(args: argparse.Namespace, passed: argparse.Namespace, past: dict[str, Any]) -> None:
    """See that what is given of --task, -u, -d, -c, --seed, -f, -s and -l is as stored."""
    stored = past["Args"]
    header = past["Config"].get("superb") or {"code": stored.downstream}
    config = str(Path(stored.config).absolute()) if stored.config else None
    for flag, given, kept in (
        ("--task", args.task, header["code"]),
        ("-u", args.upstream, stored.upstream),
        ("-d", args.downstream, stored.downstream),
        ("-c", args.config and str(Path(args.config).absolute()), config),
        ("--seed", args.seed, getattr(stored, "seed", args.seed)),
        *((f"--{key}", getattr(passed, key), getattr(stored, key, None)) for key in _SAME),
    ):
        if given is not None and given != kept:
            raise ValueError(
                f"{flag} {given}: the stored experiment has {kept}; leave {flag} out to go on "
                "with it (-o changes single keys), or start a new one: no -e, another -p"
            )


def _keep_explicit(args: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Let -k and -p given with -e or -a win over those stored in the checkpoint."""
    if args.upstream_ckpt and not cache.is_url(args.upstream_ckpt):
        from upstream.door import expert

        args.upstream_ckpt = str(expert.local_path(args.upstream_ckpt).absolute())
    if args.upstream_ckpt:
        changes["args.upstream_ckpt"] = args.upstream_ckpt
    if args.expdir or args.expname:
        changes["args.expdir"] = str(
            Path(args.expdir or f"result/downstream/{args.expname}").absolute()
        )
