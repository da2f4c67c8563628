"""run_downstream's command line: s3prl's flags and ours, checked before s3prl sees them."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt4ssl_core.distributed import choose_device
from upstream import cache, compat, expert, hub, names, overrides, states, store_options, tasks
from upstream.store_options import StoreOptions

OURS = """usage: run_downstream.py [our options] [s3prl's options]

our options:
  --task TASK    a SUPERB task ({tasks}): fills -d and -c from downstream_configs/TASK.yaml
  --root DIR     the folder that holds the task's corpus
  --then-test    after training, evaluate the best checkpoint on the test split
  --stages A,B   with --then-test: which of the task's evaluations (asr: test,lm); default: all but
                 the optional
  --stage NAME   with -m evaluate: which evaluation; sets -t and what the config needs for it
  --store MODE   keep a frozen upstream's features on disk: auto (default): of ks, ic, sid and er
                 where that changes nothing; frames: of the other tasks too; off
  --store-dir DIR, --store-gb GB        where, and at most how much (default: 20)
  --store-precision fp16|fp32|int8      of frames (fp16 and int8 are near-exact)
  --store-crops N                       random crops in training come from N kept ones per file
  --store-alone                         also for an upstream whose features depend on the batch
  -u mt4ssl -k CKPT             our encoder: path or URL of our, a fairseq or an exported checkpoint
  -u mt4ssl_untrained -k CKPT   its architecture with random weights, as a control

differences from s3prl: -o refuses unknown keys; no setting is run as code; --device is the GPU if there
is one, else cpu; with -e or -a, -p wins over the stored folder, and -u, -d, -c, --seed, -f, -s and
-l must agree with what is stored; an interrupted training run again with -a ends as if it had not
been; torchrun trains in several processes; results are written as JSON into the experiment's
folder (results.json).
"""


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

    Raises:
        ValueError: what is asked for cannot be; says why.
    """
    args, rest = _parser().parse_known_args(argv)
    _refuse(args, rest)
    expdir = Path(args.expdir or f"result/downstream/{args.expname}").absolute()
    past = _past(args, expdir)
    changes: dict[str, Any] = {}
    if past is None:
        header = _new_experiment(args)
    else:
        header = past["Config"].get("superb")
        _check_same(args, rest, past)
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
        changes |= {f"config.{key}": value for key, value in stage.get("override", {}).items()}
    parts = [f"{key}={value!r}" for key, value in changes.items()]
    if args.override and args.override.lower() != "none":
        overrides.parse(args.override)
        parts.append(args.override)  # the user's own word comes last, and wins
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


def _refuse(args: argparse.Namespace, rest: list[str]) -> None:
    """Raise ValueError for what cannot work whatever the task."""
    if args.hub == "huggingface":
        raise ValueError(
            "--hub huggingface: s3prl 0.4.18 speaks a protocol of the Hugging Face hub that is "
            "gone; download the model and give its folder with -u mt4ssl -k FOLDER"
        )
    if any(flag.startswith("--push") for flag in rest):
        raise ValueError(
            "--push_to_hf_hub: s3prl 0.4.18 cannot; leave it out and upload the folder"
        )
    if args.then_test and args.mode != "train":
        raise ValueError(
            "--then-test goes with -m train; use -m evaluate -e CKPT for an existing experiment"
        )
    if args.stages is not None and not args.then_test:
        raise ValueError("--stages goes with -m train --then-test; with -m evaluate give --stage")
    if args.stage is not None and args.mode != "evaluate":
        raise ValueError("--stage goes with -m evaluate; with --then-test give --stages")
    if args.mode == "train" and not (args.expname or args.expdir or args.past_exp):
        raise ValueError("-m train: give a folder for the experiment with -p DIR")


def _parser() -> argparse.ArgumentParser:
    """Return a parser of our options and of those of s3prl's that we look at."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("--root")
    parser.add_argument("--then-test", action="store_true")
    parser.add_argument("--stages")
    parser.add_argument("--stage")
    store_options.add_arguments(parser)
    parser.add_argument("-m", "--mode")
    parser.add_argument("-o", "--override")
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-c", "--config")
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-u", "--upstream")
    parser.add_argument("-k", "--upstream_ckpt")
    parser.add_argument("-n", "--expname")
    parser.add_argument("-p", "--expdir")
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--hub")
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int)
    return parser


def _setting(rest: list[str]) -> argparse.Namespace:
    """Return those of s3prl's options that, given again, must be those of the stored experiment."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-f", "--upstream_trainable", action="store_const", const=True)
    parser.add_argument("-s", "--upstream_feature_selection")
    parser.add_argument("-l", "--upstream_layer_selection", type=int)
    parser.add_argument("--upstream_feature_normalize", action="store_const", const=True)
    return parser.parse_known_args(rest)[0]


def _past(args: argparse.Namespace, expdir: Path) -> dict[str, Any] | None:
    """Return the s3prl checkpoint that this command goes on from, with -e or -a, if any."""
    path = Path(args.past_exp) if args.past_exp else None
    if path is None and args.auto_resume and states.newest(expdir):
        path = expdir
    if path is None:
        return None
    return states.read(path)


def _new_experiment(args: argparse.Namespace) -> dict[str, Any] | None:
    """Fill -d and -c from --task, check -d and -u; return the config's ``superb:`` block."""
    if args.task:
        header = tasks.read(tasks.path_of(args.task))["superb"]
        args.config = args.config or str(tasks.path_of(args.task))
        args.downstream = args.downstream or header["s3prl"]
    if not args.config or not args.downstream:
        raise ValueError(
            f"give a task with --task ({', '.join(tasks.names())}), or -d and -c as for s3prl"
        )
    compat.install()
    if args.downstream not in names.tasks():
        raise ValueError(f"-d {args.downstream}: s3prl has no such task; use --task")
    check_upstream(args)
    found: dict[str, Any] | None = tasks.read(args.config).get("superb")
    if args.mode == "train" and found and found.get("select") == "layer":
        raise ValueError(
            f"{found['code']}: nothing is trained, each layer is evaluated; use mt4ssl superb run "
            f"--tasks {found['code']}, or -m evaluate with -l LAYER"
        )
    return found


def check_upstream(args: Any) -> None:
    """See that the upstream is on s3prl's hub and its checkpoint there; make its path absolute.

    Raises:
        ValueError: it is not.
    """
    if not args.upstream:
        raise ValueError("no upstream; give one with -u, such as -u mt4ssl -k CKPT or -u fbank")
    hub.check(args.upstream)
    if args.upstream.startswith("mt4ssl"):
        ckpt = expert.need_checkpoint(args.upstream, args.upstream_ckpt)
        if not cache.is_url(ckpt):
            args.upstream_ckpt = str(expert.local_path(ckpt).absolute())


def _check_same(args: argparse.Namespace, rest: list[str], past: dict[str, Any]) -> None:
    """See that what is given of --task, -u, -d, -c, --seed, -f, -s and -l is as stored."""
    stored, setting = past["Args"], _setting(rest)
    header = past["Config"].get("superb") or {"code": stored.downstream}
    config = str(Path(stored.config).absolute()) if stored.config else None
    for flag, given, kept in (
        ("--task", args.task, header["code"]),
        ("-u", args.upstream, stored.upstream),
        ("-d", args.downstream, stored.downstream),
        ("-c", args.config and str(Path(args.config).absolute()), config),
        ("--seed", args.seed, getattr(stored, "seed", args.seed)),
        *((f"--{key}", value, getattr(stored, key, value)) for key, value in vars(setting).items()),
    ):
        if given is not None and given != kept:
            raise ValueError(
                f"{flag} {given}: the stored experiment has {kept}; leave {flag} out to go on "
                "with it (-o changes single keys), or start a new one: no -e, another -p"
            )


def _keep_explicit(args: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Let -k and -p given with -e or -a win over those stored in the checkpoint."""
    if args.upstream_ckpt and not cache.is_url(args.upstream_ckpt):
        args.upstream_ckpt = str(expert.local_path(args.upstream_ckpt).absolute())
    if args.upstream_ckpt:
        changes["args.upstream_ckpt"] = args.upstream_ckpt
    if args.expdir or args.expname:
        changes["args.expdir"] = str(
            Path(args.expdir or f"result/downstream/{args.expname}").absolute()
        )
