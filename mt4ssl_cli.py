"""The console script ``mt4ssl``: one function per subcommand, rooms imported lazily, no logic."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from upstream import store_options


def pretrain(args: argparse.Namespace) -> None:
    """Pre-train an encoder."""
    from mt4ssl_core import config, configs, train

    path = Path(args.config)
    if not path.suffix and not path.exists():
        path = configs.path(args.config)
    strict = ["data.strict=true"] if args.strict else []
    cfg = config.load(path, [*args.overrides, *strict])
    print(f"checkpoint: {train.pretrain(cfg)}")


def kmeans_fit(args: argparse.Namespace) -> None:
    """Cluster the frames of a corpus."""
    from mt4ssl_core import kmeans

    kmeans.fit_corpus(
        args.audio,
        args.out,
        features=args.features,
        k=args.clusters,
        sample_frames=args.sample_frames,
        iterations=args.iterations,
        seed=args.seed,
        min_seconds=args.min_seconds,
        strict=args.strict,
        device=args.device,
        store=args.store_dir,
        store_gb=args.store_gb,
    )


def kmeans_label(args: argparse.Namespace) -> None:
    """Label every frame of a corpus with its cluster."""
    from mt4ssl_core import kmeans

    kmeans.label_corpus(
        args.model,
        args.audio,
        args.out,
        name=args.name,
        min_seconds=args.min_seconds,
        strict=args.strict,
        device=args.device,
        store=args.store_dir,
        store_gb=args.store_gb,
    )


def export(args: argparse.Namespace) -> None:
    """Write a checkpoint in another format."""
    from mt4ssl_core import convert

    print(f"written: {convert.export_hf(args.checkpoint, args.out)}")


def extract(args: argparse.Namespace) -> None:
    """Write features of audio files."""
    from mt4ssl_core import extract as extraction

    try:
        layers = "all" if args.layers == "all" else [int(i) for i in args.layers.split(",")]
    except ValueError:
        raise ValueError(f"--layers {args.layers}: give all, or numbers such as 0,6,12") from None
    extraction.extract(
        args.checkpoint,
        args.audio,
        args.out,
        layers=layers,
        format=args.format,
        device=args.device,
        strict=args.strict,
    )


def superb_prepare(args: argparse.Namespace) -> None:
    """Check the corpora of SUPERB tasks and make what s3prl needs from them."""
    from upstream.suite import preparation

    preparation.prepare_some(args.tasks, args.root, args.roots, args.allow_partial)


def superb_run(args: argparse.Namespace) -> int:
    """Train and test an upstream on SUPERB tasks."""
    from upstream.store_options import StoreOptions
    from upstream.suite import request, suite

    names = request.Request.__dataclass_fields__
    settings = {key: value for key, value in vars(args).items() if key in names}
    return suite.run(request.Request(**settings, store=StoreOptions.of(args)))


def superb_doctor(args: argparse.Namespace) -> int:
    """Say what is installed, which corpora are complete, and what the tasks will take."""
    from upstream.suite import doctor

    return doctor.doctor(
        args.roots, args.ckpt, args.upstream, args.tasks, args.device, args.allow_partial
    )


def superb_submit(args: argparse.Namespace) -> None:
    """Write the zip that SUPERB's leaderboard takes."""
    from upstream.suite import submission

    written = submission.submit(args.run_folder, args.tasks, args.out, args.force)
    print(f"written: {written}")


def _superb_parser(commands: argparse._SubParsersAction) -> None:
    group = commands.add_parser("superb", help="score checkpoints on SUPERB")
    group = group.add_subparsers(required=True, metavar="COMMAND")
    roots = "YAML file of lines 'task: folder', or one folder that holds all corpora"
    some = {"default": "all", "help": "all, or some such as pr,asr (default: all)"}

    command = group.add_parser("prepare", help=superb_prepare.__doc__)
    command.add_argument("tasks", help="all, or some such as pr,asr")
    command.add_argument("--root", metavar="DIR", help="the folder that holds the corpus")
    command.add_argument("--roots", help=roots)
    command.set_defaults(run=superb_prepare)

    run = group.add_parser("run", help=superb_run.__doc__)
    run.add_argument("--tasks", **some)
    run.add_argument("--roots", required=True, help=roots)
    run.add_argument("--out", required=True, help="folder for results.jsonl and all else")
    run.add_argument("--smoke", action="store_true", help="a few steps per stage, to try it out")
    executors = ["inline", "local", "slurm"]
    run.add_argument("--executor", choices=executors, default="local", help="(default: local)")
    run.add_argument(
        "--rates", nargs="+", default=[], help="learning rates: 1e-3,1e-4 for all, ks=1e-3 for one"
    )
    run.add_argument(
        "--stages", nargs="+", default=[], metavar="NAME", help="optional evaluations, too"
    )
    run.add_argument(
        "--set", nargs="+", default=[], metavar="TASK:KEY=VALUE",
        help="change a task's config, e.g. ks:runner.total_steps=500 (no longer SUPERB's setting)",
    )  # fmt: skip
    run.add_argument("--seed", type=int, default=1337, help="(default: 1337)")
    run.add_argument("--jobs", type=int, help="at the same time (default: one per GPU)")
    run.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="for submitit")
    store_options.add_arguments(run)
    run.set_defaults(run=superb_run)

    doctor = group.add_parser("doctor", help=superb_doctor.__doc__)
    doctor.add_argument("--tasks", **some)
    doctor.add_argument("--roots", required=True, help=roots)
    doctor.set_defaults(run=superb_doctor)
    for parser in (run, doctor):
        parser.add_argument("ckpt", nargs="?", help="ours, fairseq's, or a Hugging Face folder")
        parser.add_argument("-u", "--upstream", help="a name on s3prl's hub (default: mt4ssl)")
        parser.add_argument("--device", help="cpu or cuda (default: the GPU if there is one)")
    for parser in (command, run, doctor):
        parser.add_argument(
            "--allow-partial", action="store_true", help="accept a part of a corpus"
        )

    submit = group.add_parser("submit", help=superb_submit.__doc__)
    submit.add_argument("run_folder", metavar="RUN", help="what --out of `superb run` was")
    submit.add_argument("--tasks", **some)
    submit.add_argument("--out", help="zip to write (default: RUN/predict.zip)")
    submit.add_argument("--force", action="store_true", help="also what is no result of SUPERB")
    submit.set_defaults(run=superb_submit)


def store_fill(args: argparse.Namespace) -> None:
    """Compute the features of SUPERB tasks before training."""
    from upstream import store_fill as filling
    from upstream.store_options import StoreOptions

    names = filling.Asked.__dataclass_fields__
    settings = {key: value for key, value in vars(args).items() if key in names}
    filling.fill(filling.Asked(**settings, store=StoreOptions.of(args)))


def store_ls(args: argparse.Namespace) -> None:
    """Say what a store holds."""
    from upstream import store_upkeep

    store_upkeep.ls(args.store_dir)


def store_verify(args: argparse.Namespace) -> int:
    """Read everything in a store, and say what is spoiled."""
    from upstream import store_upkeep

    return store_upkeep.verify(args.store_dir)


def store_prune(args: argparse.Namespace) -> None:
    """Remove what was not used for longest, and what killed processes left behind."""
    from upstream import store_upkeep

    store_upkeep.prune(args.store_dir, args.store_gb, args.days)


def store_rm(args: argparse.Namespace) -> None:
    """Remove the features of an upstream."""
    from upstream import store_upkeep

    store_upkeep.rm(args.store_dir, args.which)


def _store_parser(commands: argparse._SubParsersAction) -> None:
    group = commands.add_parser("store", help="features of frozen upstreams, computed once")
    group = group.add_subparsers(required=True, metavar="COMMAND")

    command = group.add_parser("fill", help=store_fill.__doc__)
    command.add_argument("ckpt", nargs="?", help="ours, fairseq's, or a Hugging Face folder")
    command.add_argument("--task", dest="tasks", required=True, help="such as ks or ks,sid")
    command.add_argument("--root", metavar="DIR", help="the folder that holds the corpus")
    command.add_argument("--roots", help="YAML file of lines 'task: folder'")
    command.add_argument("-u", "--upstream", help="a name on s3prl's hub (default: mt4ssl)")
    command.add_argument("--device", help="cpu or cuda (default: the GPU if there is one)")
    store_options.add_arguments(command)
    command.set_defaults(run=store_fill)

    some = []
    for name, function in (("ls", store_ls), ("verify", store_verify), ("prune", store_prune),
                           ("rm", store_rm)):  # fmt: skip
        command = group.add_parser(name, help=function.__doc__)
        command.add_argument("--store-dir", metavar="DIR", help=store_options.HELP["folder"])
        command.set_defaults(run=function)
        some.append(command)
    *_, prune, rm = some
    prune.add_argument("--store-gb", type=float, metavar="GB", help="make it this small")
    prune.add_argument("--days", type=float, help="remove what was not used for so long")
    rm.add_argument("which", help="a name or fingerprint as `ls` shows it, or how it begins")


def _kmeans_parser(commands: argparse._SubParsersAction) -> None:
    group = commands.add_parser("kmeans", help="make offline labels").add_subparsers(required=True)
    source = "folder of audio, fairseq .tsv, lhotse CutSet or Shar folder"
    fit = group.add_parser("fit", help=kmeans_fit.__doc__)
    fit.add_argument("audio", help=source)
    fit.add_argument("out", help="k-means file to write, e.g. km.safetensors")
    fit.add_argument("--features", default="mfcc", help="mfcc, or ckpt:PATH:LAYER (default: mfcc)")
    fit.add_argument("-k", "--clusters", type=int, default=500)
    fit.add_argument("--sample-frames", type=int, help="frames to cluster (default: 2 million)")
    fit.add_argument("--iterations", type=int, default=25)
    fit.add_argument("--seed", type=int, default=0)
    fit.set_defaults(run=kmeans_fit)
    label = group.add_parser("label", help=kmeans_label.__doc__)
    label.add_argument("model", help="k-means file that `mt4ssl kmeans fit` wrote")
    label.add_argument("audio", help=source)
    label.add_argument("out", help="folder for NAME.tsv, NAME.km and dict.km.txt")
    label.add_argument("--name", default="train")
    label.set_defaults(run=kmeans_label)
    for parser in (fit, label):
        parser.add_argument("--min-seconds", type=float, default=0.025)
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--strict", action="store_true", help="stop at the first bad file")
        parser.add_argument("--store-dir", metavar="DIR", help="keep hidden layers in this store")
        parser.add_argument("--store-gb", type=float, metavar="GB", help="the most it may hold")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mt4ssl", description=__doc__.split(":")[0])
    try:
        installed = version("mt4ssl")
    except PackageNotFoundError:  # run from a checkout
        installed = "(not installed)"
    parser.add_argument("--version", action="version", version=f"mt4ssl {installed}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("pretrain", help=pretrain.__doc__)
    command.add_argument(
        "config", help="a YAML file, or the name of a shipped one, e.g. base, tiny"
    )
    command.add_argument(
        "overrides", nargs="*", help="dotted values, e.g. data.train=DIR optim.lr=1e-3"
    )
    command.add_argument("--strict", action="store_true", help="stop at the first bad file")
    command.set_defaults(run=pretrain)

    _kmeans_parser(commands)
    _superb_parser(commands)
    _store_parser(commands)

    checkpoint = "ours, fairseq's, or a Hugging Face folder"
    command = commands.add_parser("export", help=export.__doc__)
    command.add_argument("checkpoint", help=checkpoint)
    command.add_argument("out", help="folder to write")
    command.add_argument("--to", choices=["hf"], default="hf", help="hf: Hugging Face transformers")
    command.set_defaults(run=export)

    command = commands.add_parser("extract", help=extract.__doc__)
    command.add_argument("checkpoint", help=checkpoint)
    command.add_argument("audio", nargs="+", help="audio files or folders")
    command.add_argument("out", help="folder to write")
    command.add_argument("--layers", default="all", help="all, or numbers such as 0,6,12")
    command.add_argument("--format", choices=["npy", "safetensors"], default="npy")
    command.add_argument("--device", default="cpu")
    command.add_argument("--strict", action="store_true", help="stop at the first bad file")
    command.set_defaults(run=extract)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; a mistake in the input is one line on stderr and exit code 2."""
    args = _parser().parse_args(argv)
    try:
        code: int | None = args.run(args)
    except (ValueError, OSError) as error:
        if os.environ.get("MT4SSL_DEBUG"):
            raise
        print(f"mt4ssl: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mt4ssl: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
