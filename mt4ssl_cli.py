"""The console script ``mt4ssl``: one function per subcommand, rooms imported lazily, no logic."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mt4ssl_core.command_line import FAILED, guarded, printable
from mt4ssl_core.files import user_path
from mt4ssl_core.parsing import Parser
from mt4ssl_core.settings.bounds import NUMPY_SEEDS, SEEDS, device_name, real, whole
from upstream.heads.task_request import SEED as HEADS_SEED
from upstream.store import options

COUNT, MANY = whole(at_least=1, at_most=1_000_000), whole(at_least=1, at_most=10**10)
JOBS = whole(at_least=1, at_most=1024)
SEED, DEVICE, SIZE = whole(**SEEDS), device_name, real(at_least=0, at_most=1e9)  # gigabytes
SECONDS, DAYS = real(at_least=0, at_most=1e5), real(at_least=0, at_most=1e5)
MINUTES = real(above=0, at_most=1e6)
ON = "cpu or cuda (default: the GPU if there is one)"
SHARE: dict[str, Any] = {
    "type": real(at_least=0, at_most=1), "default": 0.05, "metavar": "SHARE",
    "help": "of the files that may be unusable (default: 0.05)",
}  # fmt: skip
PATHS = {  # arguments that are paths
    "alignments", "audio", "checkpoint", "ckpt", "compare", "config", "data", "features", "model",
    "others", "out", "probe_data", "resume_from", "root",
    "roots", "run_folder", "runs", "scores", "store_dir",
    "store_folder",
}  # fmt: skip


def pretrain(args: argparse.Namespace) -> None:
    """Pre-train an encoder."""
    from mt4ssl_core import config
    from mt4ssl_core.training import pretrain as train

    strict = ["data.strict=true"] if args.strict else []
    cfg = config.load(args.config, [*args.overrides, *strict], files=True)
    print(f"checkpoint: {train.pretrain(cfg, args.resume_from)}")


def kmeans_fit(args: argparse.Namespace) -> None:
    """Cluster the frames of a corpus."""
    from mt4ssl_core.labelling import kmeans

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
        max_skipped=args.max_skipped,
    )


def kmeans_label(args: argparse.Namespace) -> None:
    """Label every frame of a corpus with its cluster."""
    from mt4ssl_core.labelling import kmeans

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
        max_skipped=args.max_skipped,
    )


def export(args: argparse.Namespace) -> None:
    """Write a checkpoint in another format."""
    from mt4ssl_core.checkpoints import convert

    out = convert.export_hf(args.checkpoint, args.out)
    print(f"written: {out}")
    if note := convert.export_note(out):
        print(f"note: {note}")


def extract(args: argparse.Namespace) -> None:
    """Write features of audio files."""
    from mt4ssl_core.labelling import extract as extraction

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
        max_skipped=args.max_skipped,
    )


def superb_prepare(args: argparse.Namespace) -> None:
    """Check the corpora of SUPERB tasks and make what s3prl needs from them."""
    from upstream.suite import preparation

    preparation.prepare_some(args.tasks, args.root, args.roots, args.allow_partial)


def superb_run(args: argparse.Namespace) -> int:
    """Train and test an upstream on SUPERB tasks."""
    from upstream.store.options import StoreOptions
    from upstream.suite import suite, suite_request

    names = suite_request.SuiteRequest.__dataclass_fields__
    settings = {key: value for key, value in vars(args).items() if key in names}
    return suite.run(suite_request.SuiteRequest(**settings, store=StoreOptions.of(args)))


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
    run.add_argument(
        "--seed", type=whole(**NUMPY_SEEDS), default=HEADS_SEED, help="(default: %(default)s)"
    )
    run.add_argument("--jobs", type=JOBS, help="at the same time (default: one per GPU)")
    run.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="for submitit")
    options.add_arguments(run)
    run.set_defaults(run=superb_run)

    doctor = group.add_parser("doctor", help=superb_doctor.__doc__)
    doctor.add_argument("--tasks", **some)
    doctor.add_argument("--roots", required=True, help=roots)
    doctor.set_defaults(run=superb_doctor)
    for parser in (run, doctor):
        parser.add_argument("ckpt", nargs="?", help="ours, fairseq's, or a Hugging Face folder")
        parser.add_argument("-u", "--upstream", help="a name on s3prl's hub (default: mt4ssl)")
        parser.add_argument("--device", type=DEVICE, help=ON)
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


def store_fill(args: argparse.Namespace) -> int:
    """Compute the features of SUPERB tasks before training."""
    from upstream.store.options import StoreOptions
    from upstream.suite import fill as filling

    names = filling.FillRequest.__dataclass_fields__
    settings = {key: value for key, value in vars(args).items() if key in names}
    return filling.fill(filling.FillRequest(**settings, store=StoreOptions.of(args)))


def store_ls(args: argparse.Namespace) -> None:
    """Say what a store holds."""
    from upstream.store import store_commands

    store_commands.ls(args.store_dir)


def store_verify(args: argparse.Namespace) -> int:
    """Read everything in a store, and say what is spoiled."""
    from upstream.store import store_commands

    return store_commands.verify(args.store_dir)


def store_prune(args: argparse.Namespace) -> None:
    """Remove what was not used for longest, and what killed processes left behind."""
    from upstream.store import store_commands

    store_commands.prune(args.store_dir, args.store_gb, args.days)


def store_rm(args: argparse.Namespace) -> None:
    """Remove the features of an upstream."""
    from upstream.store import store_commands

    store_commands.rm(args.store_dir, args.which)


def _store_parser(commands: argparse._SubParsersAction) -> None:
    group = commands.add_parser("store", help="features of frozen upstreams, computed once")
    group = group.add_subparsers(required=True, metavar="COMMAND")

    command = group.add_parser("fill", help=store_fill.__doc__)
    command.add_argument("ckpt", nargs="?", help="ours, fairseq's, or a Hugging Face folder")
    command.add_argument("--task", dest="tasks", required=True, help="such as ks or ks,sid")
    command.add_argument("--root", metavar="DIR", help="the folder that holds the corpus")
    command.add_argument("--roots", help="YAML file of lines 'task: folder'")
    command.add_argument("-u", "--upstream", help="a name on s3prl's hub (default: mt4ssl)")
    command.add_argument("--device", type=DEVICE, help=ON)
    options.add_arguments(command)
    command.set_defaults(run=store_fill)

    some = []
    for name, function in (("ls", store_ls), ("verify", store_verify), ("prune", store_prune),
                           ("rm", store_rm)):  # fmt: skip
        command = group.add_parser(name, help=function.__doc__)
        command.add_argument("--store-dir", metavar="DIR", help=options.HELP["folder"])
        command.set_defaults(run=function)
        some.append(command)
    *_, prune, rm = some
    prune.add_argument("--store-gb", type=SIZE, metavar="GB", help="make it this small")
    prune.add_argument("--days", type=DAYS, help="remove what was not used for so long")
    rm.add_argument("which", help="a name or fingerprint as `ls` shows it, or how it begins")


def _kmeans_parser(commands: argparse._SubParsersAction) -> None:
    group = commands.add_parser("kmeans", help="make offline labels").add_subparsers(required=True)
    source = "folder of audio, fairseq .tsv, lhotse CutSet or Shar folder"
    fit = group.add_parser("fit", help=kmeans_fit.__doc__)
    fit.add_argument("audio", help=source)
    fit.add_argument("out", help="k-means file to write, e.g. km.safetensors")
    fit.add_argument("--features", default="mfcc", help="mfcc, or ckpt:PATH:LAYER (default: mfcc)")
    fit.add_argument("-k", "--clusters", type=COUNT, default=500)
    fit.add_argument("--sample-frames", type=MANY, help="frames to cluster (default: 2 million)")
    fit.add_argument("--iterations", type=COUNT, default=25)
    fit.add_argument("--seed", type=SEED, default=0)
    fit.set_defaults(run=kmeans_fit)
    label = group.add_parser("label", help=kmeans_label.__doc__)
    label.add_argument("model", help="k-means file that `mt4ssl kmeans fit` wrote")
    label.add_argument("audio", help=source)
    label.add_argument("out", help="folder for NAME.tsv, NAME.km and dict.km.txt")
    label.add_argument("--name", default="train")
    label.set_defaults(run=kmeans_label)
    for parser in (fit, label):
        parser.add_argument("--min-seconds", type=SECONDS, default=0.025)
        parser.add_argument("--device", type=DEVICE, default="cpu")
        parser.add_argument("--strict", action="store_true", help="stop at the first bad file")
        parser.add_argument("--max-skipped", **SHARE)
        parser.add_argument("--store-dir", metavar="DIR", help="keep hidden layers in this store")
        parser.add_argument("--store-gb", type=SIZE, metavar="GB", help="the most it may hold")


def leaderboard(args: argparse.Namespace) -> int:
    """Print SUPERB's table: published scores and those of your runs, with superb_s."""
    from analysis.tables import leaderboard as table

    broken: list[str] = []
    _give(table.leaderboard(args.runs, args.format, args.score_set, broken, args.name), args.out)
    return _incomplete(broken)


def layer_weights(args: argparse.Namespace) -> int:
    """Draw which layers the heads of a run weigh most."""
    from analysis import layer_weights as weights

    broken: list[str] = []
    frame = weights.draw(args.run_folder, args.out, args.audio, args.ckpt, args.device, broken)
    print(weights.markdown(frame))
    code = _incomplete(broken)
    heads = int(frame.drop_duplicates(["model", "task"])["heads"].sum())
    base = Path(args.out or args.run_folder) / weights.NAME
    print(f"{heads} of {heads + len(broken)} heads: {base}.svg, .png and .csv")
    return code


def probe(args: argparse.Namespace) -> int:
    """Measure what each layer of an encoder holds: phones, words, speakers."""
    from analysis.probes import probing

    names = probing.ProbeRequest.__dataclass_fields__
    asked = {key: value for key, value in vars(args).items() if key in names}
    found = probing.probe(probing.ProbeRequest(**asked))
    print(found.table)
    code = _incomplete([f"not probed: {why}" for why in found.failed])
    print(found.done)
    return code


def convergence(args: argparse.Namespace) -> int:
    """Compare how fast pre-training runs converge."""
    from analysis.convergence import comparison, study

    names = comparison.Scoring.__dataclass_fields__
    asked = {key: value for key, value in vars(args).items() if key in names}
    scoring = comparison.Scoring(**asked)
    if args.runs[0] != "study":
        broken: list[str] = []
        out = Path(args.out or "convergence")
        print(comparison.compare(args.runs, out, args.labels, scoring, broken=broken))
        code = _incomplete(broken)
        print(f"{out / comparison.TABLE}, {out / comparison.JSON} and figures beside them")
        return code
    overrides = [word for word in args.runs[1:] if "=" in word]
    configs = [word for word in args.runs[1:] if "=" not in word]
    if args.out is None:
        raise ValueError("convergence study: give --out DIR, where the runs go")
    return study.study(configs, args.seeds, args.out, overrides, scoring, args.jobs)


def report(args: argparse.Namespace) -> int:
    """Write one HTML page about a run: scores, layers, probes, convergence."""
    from analysis.report import report as page

    broken: list[str] = []
    asked = (args.run_folder, args.others, args.out, args.score_set)
    path = page.report(*asked, broken, args.name)
    code, runs = _incomplete(broken), len(args.others) + 1
    print(f"{runs - len(broken)} of {runs} runs, written: {path}")
    return code


def _incomplete(problems: Sequence[str]) -> int:
    """Say on stderr what was left out; the exit code is 0 only where there is nothing."""
    sys.stdout.flush()
    for problem in problems:
        print(f"mt4ssl: {printable(problem)}", file=sys.stderr)
    return FAILED if problems else 0


def _give(text: str, out: str | None) -> None:
    """Print a text, or write it to a file."""
    if out is None:
        print(text)
        return
    from mt4ssl_core.files import write_text

    write_text(out, text)
    print(f"written: {out}")


def _analysis_parsers(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("leaderboard", help=leaderboard.__doc__)
    command.add_argument("runs", nargs="*", metavar="RUN", help="what --out of `superb run` was")
    formats = ("md", "latex", "csv", "html")
    command.add_argument("--format", choices=formats, default="md", help="(default: md)")
    command.add_argument("--out", metavar="FILE", help="write it there (default: print it)")
    command.set_defaults(run=leaderboard)
    boards = [command]

    command = commands.add_parser("layer-weights", help=layer_weights.__doc__)
    command.add_argument("run_folder", metavar="RUN", help="what --out of `superb run` was")
    command.add_argument("--out", metavar="DIR", help="(default: RUN)")
    command.add_argument("--audio", metavar="DIR", help="scale weights by the layers' norms on it")
    command.add_argument("--ckpt", help="the checkpoint, if it is no longer where it was")
    command.add_argument("--device", type=DEVICE, default="cpu")
    command.set_defaults(run=layer_weights)

    command = commands.add_parser("probe", help=probe.__doc__)
    command.add_argument("ckpt", nargs="?", help="ours, fairseq's, or a Hugging Face folder")
    command.add_argument("-u", "--upstream", default="mt4ssl", help="a name on s3prl's hub")
    data = (
        "labelled speech: a table index.csv (columns path, split, speaker, gender, keyword, "
        "phones), a mini_superb folder, TIMIT, LibriSpeech or Speech Commands"
    )
    command.add_argument("--data", nargs="+", required=True, metavar="SOURCE", help=data)
    command.add_argument("--alignments", metavar="PATH", help="TextGrid, CTM or TIMIT files")
    command.add_argument(
        "--probes", help="such as phone,keyword (default: all there are labels for)"
    )
    command.add_argument("--out", required=True, metavar="DIR", help="for tables and figures")
    command.add_argument(
        "--minutes", type=MINUTES, default=20.0, help="to train and to test on (20)"
    )
    command.add_argument("--clusters", type=COUNT, default=100, help="k-means of each layer (100)")
    command.add_argument(
        "--compare", metavar="CKPT", help="another one: CKA of its layers with these"
    )
    command.add_argument("--seed", type=SEED, default=0)
    command.add_argument("--device", type=DEVICE, help=ON)
    command.add_argument("--store-dir", metavar="DIR", help="keep and read features in this store")
    command.add_argument("--store-gb", type=SIZE, metavar="GB", help="the most it may hold")
    command.set_defaults(run=probe)

    _convergence_parser(commands)

    command = commands.add_parser("report", help=report.__doc__)
    command.add_argument("run_folder", metavar="RUN", help="folder of a run, or of a superb run")
    command.add_argument(
        "--with", dest="others", nargs="+", default=[], metavar="RUN", help="beside it"
    )
    command.add_argument("--out", metavar="FILE", help="(default: RUN/report.html)")
    command.set_defaults(run=report)
    for parser in (*boards, command):
        parser.add_argument(
            "--set", dest="score_set", choices=["paper", "public"], default="paper",
            help="tasks of superb_s (default: paper)",
        )  # fmt: skip
        parser.add_argument(
            "--name", action="append", default=[], help="of the first RUN; again: of the next"
        )


def _convergence_parser(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("convergence", help=convergence.__doc__)
    command.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="run.out folders; or: study CONFIG ... [KEY=VALUE ...], to pre-train them first",
    )  # fmt: skip
    command.add_argument(
        "--out", metavar="DIR", help="for tables and figures (default: convergence)"
    )
    command.add_argument(
        "--labels", nargs="+", help="names of the RUNs; those of one are its seeds"
    )
    command.add_argument(
        "--seeds", type=COUNT, default=3, help="study: of each config (default: 3)"
    )
    command.add_argument("--jobs", type=JOBS, default=1, help="study: runs at a time (default: 1)")
    command.add_argument(
        "--probe-data", nargs="+", default=[], metavar="SOURCE",
        help="probe every checkpoint on this speech, as --data of `mt4ssl probe`",
    )  # fmt: skip
    command.add_argument("--alignments", metavar="PATH", help="of it, for --probes phone")
    command.add_argument(
        "--probes", default="phone_ctc,keyword,speaker", help="(default: %(default)s)"
    )
    command.add_argument(
        "--minutes", dest="probe_minutes", type=MINUTES, default=20.0, help="as `probe`"
    )
    command.add_argument("--layer", default="auto", help="auto (best on held-out data) or a number")
    command.add_argument(
        "--superb", metavar="TASKS", help="train and test these on every checkpoint"
    )
    command.add_argument("--roots", help="of their corpora, as for `superb run`")
    command.add_argument("--set", nargs="+", default=[], metavar="TASK:KEY=VALUE", help="likewise")
    command.add_argument("--scores", metavar="FILE", help="CSV of run,update,metric,value")
    command.add_argument(
        "--target", nargs="+", default=[], metavar="METRIC=VALUE", help="updates to reach this"
    )
    command.set_defaults(run=convergence)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="mt4ssl", description=__doc__.split(":")[0])
    try:
        installed = version("mt4ssl")
    except PackageNotFoundError:  # run from a checkout
        installed = "(not installed)"
    parser.add_argument("--version", action="version", version=f"mt4ssl {installed}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "pretrain", help=pretrain.__doc__, rest="overrides", hint=_setting_hint
    )
    command.add_argument(
        "config", help="a YAML file, or the name of a shipped one, e.g. base, tiny"
    )
    command.add_argument(
        "overrides", nargs="*", help="dotted values, e.g. data.train=DIR optim.lr=1e-3"
    )
    command.add_argument("--strict", action="store_true", help="stop at the first bad file")
    command.add_argument(
        "--from", dest="resume_from", metavar="CKPT",
        help="go on from this checkpoint in run.out, e.g. previous.pt (default: last.pt)",
    )  # fmt: skip
    command.set_defaults(run=pretrain)

    _kmeans_parser(commands)
    _superb_parser(commands)
    _store_parser(commands)
    _analysis_parsers(commands)

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
    command.add_argument("--device", type=DEVICE, default="cpu")
    command.add_argument("--strict", action="store_true", help="stop at the first bad file")
    command.add_argument("--max-skipped", **SHARE)
    command.set_defaults(run=extract)
    return parser


def _setting_hint(option: str) -> str:
    """What to say about a setting that is given as an option, such as --optim.lr."""
    from mt4ssl_core import config
    from mt4ssl_core.settings import synonyms as setting_names

    name, keys = option.lstrip("-").replace("-", "_"), config.known_keys()
    said = "" if name in keys else setting_names.suggestion(name, sorted(keys))
    return f"settings are given without dashes, as in optim.lr=1e-3.{said}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code (see `mt4ssl_core.command_line`)."""
    args = _parser().parse_args(argv)
    return guarded("mt4ssl", lambda: args.run(_at_home(args)))


def _at_home(args: argparse.Namespace) -> argparse.Namespace:
    """Put the home folder in place of ``~`` in every path, also where a shell does not."""
    for name in PATHS & vars(args).keys():
        value = getattr(args, name)
        setattr(args, name, [*map(_home, value)] if isinstance(value, list) else _home(value))
    return args


def _home(text: str | None) -> str | None:
    kind, path = ("ckpt:", text[5:]) if text and text.startswith("ckpt:") else ("", text)
    return kind + str(user_path(path)) if path and path.startswith("~") else text


if __name__ == "__main__":
    sys.exit(main())
