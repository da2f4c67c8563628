"""run_downstream's flags, s3prl's and ours, looked at before anything slow is imported."""

import argparse
import difflib
import re
from pathlib import Path
from typing import Any, NoReturn

from mt4ssl_core.files import user_path
from mt4ssl_core.settings.bounds import NUMPY_SEEDS, whole
from upstream.door import cache, hub, overrides, s3prl_names, tasks
from upstream.heads.task_request import NONE, SEED, TRANSFORMS, TaskRequest
from upstream.store import options

OURS = """usage: run_downstream.py [our options] [s3prl's options]

our options:
  --task TASK    a SUPERB task ({tasks}): fills -d and -c from downstream_configs/TASK.yaml; -d
                 alone finds the task too, but for -d ctc, which pr, sf and ood share
  --root DIR     the folder that holds the task's corpus
  --then-test    after training, evaluate the best checkpoint on the test split
  --stages A,B   with --then-test: which of the task's evaluations (asr: test,lm); default: all but
                 the optional
  --stage NAME   with -m evaluate: which evaluation; sets -t and what the config needs for it
  --store MODE   keep a frozen upstream's features on disk: auto (default): of ks, ic, sid and er
                 where that changes nothing; frames: of the other tasks too; off
  --store-dir DIR, --store-gb GB        where, and at most how much (default: {gigabytes:g})
  --store-precision fp16|fp32|int8      of frames (fp16 and int8 are near-exact)
  --store-crops N                       random crops in training come from N kept ones per file
  --store-alone                         also for an upstream whose features depend on the batch
  --feature-transform whiten|standardize  of a frozen upstream, fitted on the training split;
                                no longer SUPERB's setting (docs/score.md)
  -u mt4ssl -k CKPT             our encoder: path or URL of our, a fairseq or an exported checkpoint
  -u mt4ssl_untrained -k CKPT   its architecture with random weights, as a control
  -u FILE.py:CLASS              an encoder of your own (docs/extend.md); the file is run

differences from s3prl: -o refuses unknown keys, and no setting is run as code; --device is the GPU
if there is one, else cpu; with -e or -a, -p wins over the stored folder, and -u, -d, -c, --seed,
-f, -s and -l must agree with what is stored; an interrupted training run again with -a ends as if
it had not been; torchrun trains in several processes; results are written as JSON into the
experiment's folder (results.json).
"""
# s3prl's own configs, which its wheel leaves out -> the task that they are of
S3PRLS_CONFIGS = {
    "ctc/libriphone.yaml": "pr",
    "ctc/snips.yaml": "sf",
    "ctc/cv_config/cv_es.yaml": "ood",
    "enhancement_stft/configs/cfg_voicebank.yaml": "se",
    "separation_stft/configs/cfg.yaml": "ss",
    "sv_voxceleb1/configs/amsoftmax.yaml": "asv",
}
# of s3prl's flags, those that it gets as they are; with its defaults
_VALUES: dict[str, tuple[tuple[str, ...], Any]] = {
    "evaluate_split": (("-t", "--evaluate_split"), "test"),
    "backend": (("--backend",), "nccl"),
    "local_rank": (("--local_rank",), None),
    "init_ckpt": (("-i", "--init_ckpt"), None),
    "downstream_variant": (("-v", "--downstream_variant"), None),
    "upstream_model_config": (("-g", "--upstream_model_config"), None),
    "upstream_feature_selection": (("-s", "--upstream_feature_selection"), "hidden_states"),
    "upstream_layer_selection": (("-l", "--upstream_layer_selection"), None),
    "upstream_model_name": (("--upstream_model_name",), "model.pt"),
    "upstream_revision": (("--upstream_revision",), None),
    "push_to_hf_hub": (("--push_to_hf_hub",), False),
    "hf_hub_org": (("--hf_hub_org",), None),
    "cache_dir": (("--cache_dir",), None),
}
_SWITCHES = {
    "upstream_refresh": ("-r", "--upstream_refresh"),
    "upstream_trainable": ("-f", "--upstream_trainable"),
    "upstream_feature_normalize": ("--upstream_feature_normalize",),
    "verbose": ("--verbose",),
    "disable_cudnn": ("--disable_cudnn",),
}


class _Parser(argparse.ArgumentParser):
    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def parse(argv: list[str]) -> TaskRequest:
    """Return what a command line asks for.

    Raises:
        ValueError: an unknown flag, or a value that it cannot have.
    """
    args, rest = _parser().parse_known_args(argv)
    passed, unknown = _s3prls().parse_known_args(rest)
    if unknown:
        flags = [
            flag for parser in (_parser(), _s3prls()) for flag in parser._option_string_actions
        ]
        near = difflib.get_close_matches(unknown[0], flags, 1)
        remedy = f"did you mean {near[0]}?" if near else "see --help"
        raise ValueError(f"{unknown[0]}: no such option; {remedy}")
    if args.stages is not None:
        args.stages = args.stages.split(",")
    return TaskRequest(
        **{key: value for key, value in vars(args).items() if not key.startswith("store_")},
        store=options.StoreOptions.of(args),
        others={key: value for key, value in vars(passed).items() if value is not None},
    )


def defaults() -> dict[str, Any]:
    """Return s3prl's arguments with their defaults, for `overrides.override` to look at."""
    found = {name: default for name, (_, default) in _VALUES.items()}
    found |= dict.fromkeys(_SWITCHES, False)
    found |= dict.fromkeys(("mode", "override", "past_exp", "config", "downstream", "upstream"))
    found |= dict.fromkeys(("upstream_ckpt", "expname", "expdir"))
    return found | {"auto_resume": False, "hub": "torch", "seed": SEED, "device": "cuda"}


def find_task(args: TaskRequest) -> dict[str, Any] | None:
    """Fill -d and -c from --task, or from -d alone; return the config's ``superb:`` block.

    Raises:
        ValueError: there is no such task, config or upstream; or several tasks are meant.
    """
    args.task = args.task or _task_of(args)
    if args.task:
        header = tasks.read(tasks.path_of(args.task))["superb"]
        args.config = args.config or str(tasks.path_of(args.task))
        args.downstream = args.downstream or header["s3prl"]
    if not args.config or not args.downstream:
        raise ValueError(
            f"give a task with --task ({', '.join(tasks.names())}), or -d and -c as for s3prl"
        )
    if args.downstream not in s3prl_names.s3prl_tasks():
        raise ValueError(f"-d {args.downstream}: s3prl has no such task; use --task")
    found: dict[str, Any] | None = tasks.read(args.config).get("superb")
    if args.mode == "train" and found and found.get("select") == "layer":
        raise ValueError(
            f"{found['code']}: nothing is trained, each layer is evaluated; use mt4ssl superb run "
            f"--tasks {found['code']}, or -m evaluate with -l LAYER"
        )
    return found


def _task_of(args: TaskRequest) -> str | None:
    """Return the task that -d and -c mean, as SUPERB's documentation gives them."""
    if args.config and (Path(args.config).exists() or not args.downstream):
        return None
    if args.config:
        fitting = [task for end, task in S3PRLS_CONFIGS.items() if args.config.endswith(end)]
        if args.config.endswith(f"{args.downstream}/config.yaml"):
            fitting = _tasks_in(str(args.downstream))
        if len(fitting) == 1:
            args.config = None  # ours has the same settings
            return fitting[0]
        return None
    if not args.downstream:
        return None
    fitting = _tasks_in(args.downstream)
    if len(fitting) > 1:
        choice = " or ".join(f"--task {task} ({tasks.header(task)['task']})" for task in fitting)
        raise ValueError(f"-d {args.downstream}: several tasks; add {choice}")
    if args.downstream in tasks.names() and not fitting:
        raise ValueError(
            f"-d {args.downstream}: give our name of a task with --task {args.downstream}"
        )
    if not fitting and args.downstream not in s3prl_names.s3prl_tasks():
        near = difflib.get_close_matches(args.downstream, s3prl_names.TASKS, 1)
        remedy = f"did you mean {near[0]}?" if near else "use --task"
        raise ValueError(f"-d {args.downstream}: s3prl has no such task; {remedy}")
    return fitting[0] if fitting else None


def _tasks_in(folder: str) -> list[str]:
    return [name for name, header in tasks.headers().items() if header["s3prl"] == folder]


def check(args: TaskRequest, changes: str) -> None:
    """See that a new experiment can be done, as far as that needs no import of s3prl.

    Args:
        args: what is asked for, after `find_task`.
        changes: what ``--override`` will say.

    Raises:
        ValueError: a setting, name or path is wrong; says which.
    """
    config = tasks.read(str(args.config))
    asked = argparse.Namespace(**defaults())
    given = {**vars(args), **args.others}
    vars(asked).update({key: v for key, v in given.items() if key in vars(asked) and v is not None})
    overrides.override(changes, asked, config, quiet=True)
    s3prl_names.check(asked, config)
    check_upstream(asked.upstream, asked.upstream_ckpt)
    tasks.check_corpus(config)


def check_upstream(name: str | None, ckpt: str | None) -> None:
    """See that an upstream is one of s3prl's or ours and that its checkpoint is there.

    Raises:
        ValueError: it is not.
    """
    if not name:
        raise ValueError("no upstream; give one with -u, such as -u mt4ssl -k CKPT or -u fbank")
    hub.check_quickly(name)
    if name in hub.OURS:
        path = hub.need_checkpoint(name, ckpt)
        if not cache.is_url(path) and not cache.exists(path):
            raise ValueError(f"{path}: no such checkpoint; check the path given with -k")


def refuse(args: TaskRequest) -> None:
    """Raise ValueError for what cannot work whatever the task."""
    if args.hub == "huggingface":
        raise ValueError(
            "--hub huggingface: s3prl 0.4.18 speaks a protocol of the Hugging Face hub that is "
            "gone; download the model and give its folder with -u mt4ssl -k FOLDER"
        )
    if args.others.get("push_to_hf_hub") is not None:
        raise ValueError(
            "--push_to_hf_hub: s3prl 0.4.18 cannot; leave it out and upload the folder"
        )
    if args.mode is None:
        raise ValueError("what to do is not said; give -m train, or -m evaluate")
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
    if args.device and not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", args.device):
        raise ValueError(f"device {args.device!r}: unknown; use auto, cpu, cuda or cuda:N")
    if args.feature_transform not in (None, NONE):
        _refuse_transform(args, f"--feature-transform {args.feature_transform}")
    for flag, name in (("-i", "init_ckpt"), ("-g", "upstream_model_config")):
        path = args.others.get(name)
        if path and not user_path(path).exists():
            raise ValueError(f"{flag} {path}: no such file; check the path")


def _refuse_transform(args: TaskRequest, flag: str) -> None:
    if args.others.get("upstream_trainable"):
        raise ValueError(f"{flag}: of a frozen upstream's features only; leave -f out")
    if args.others.get("upstream_feature_normalize"):
        raise ValueError(f"{flag} and --upstream_feature_normalize: two of a kind; give one")
    if args.mode != "train" and not args.past_exp:
        raise ValueError(
            f"{flag}: is fitted when a head is trained; give a head with -e, or leave it out"
        )


def _parser() -> argparse.ArgumentParser:
    """Return a parser of our options and of those of s3prl's that we look at."""
    parser = _Parser()
    parser.add_argument("--task")
    parser.add_argument("--root")
    parser.add_argument("--then-test", action="store_true")
    parser.add_argument("--stages")
    parser.add_argument("--stage")
    parser.add_argument("--feature-transform", choices=TRANSFORMS)
    options.add_arguments(parser)
    parser.add_argument("-m", "--mode", choices=["train", "evaluate", "inference"])
    parser.add_argument("-o", "--override")
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-c", "--config")
    parser.add_argument("-d", "--downstream")
    parser.add_argument("-u", "--upstream")
    parser.add_argument("-k", "--upstream_ckpt")
    parser.add_argument("-n", "--expname")
    parser.add_argument("-p", "--expdir")
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("--hub", choices=["torch", "huggingface"])
    parser.add_argument("--device")
    parser.add_argument("--seed", type=whole(**NUMPY_SEEDS))
    return parser


def _s3prls() -> argparse.ArgumentParser:
    """Return a parser of s3prl's other options."""
    parser = _Parser()
    integers = ("local_rank", "upstream_layer_selection")
    for name, (flags, _) in _VALUES.items():
        parser.add_argument(*flags, dest=name, type=int if name in integers else str)
    for name, flags in _SWITCHES.items():
        parser.add_argument(*flags, dest=name, action="store_const", const=True)
    return parser
