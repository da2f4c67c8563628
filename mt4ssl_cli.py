"""The console script ``mt4ssl``: one function per subcommand, rooms imported lazily, no logic."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


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
        args.run(args)
    except (ValueError, OSError) as error:
        if os.environ.get("MT4SSL_DEBUG"):
            raise
        print(f"mt4ssl: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mt4ssl: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
