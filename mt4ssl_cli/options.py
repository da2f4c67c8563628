"""Options and arguments: how one is made, and those that several commands have."""

from typing import Annotated, Any

import typer

from mt4ssl_cli.readers import Reader, checked, field_of, one_of, path_of, real, whole
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings.bounds import NUMPY_SEEDS, SEEDS, device_name
from mt4ssl_core.settings.precisions import PRECISIONS
from mt4ssl_core.settings.recognition_defaults import BeamSettings
from upstream.heads.task_request import TRANSFORMS
from upstream.store.options import FLAGS, MODES, StoreOptions

COUNT, JOBS = whole(at_least=1, at_most=1_000_000), whole(at_least=1, at_most=1024)
SEED_COUNT = whole(at_least=1, at_most=100)
TOP = whole(at_least=1, at_most=100)
GIGABYTES, MINUTES = real(at_least=0, at_most=1e9), real(above=0, at_most=1e6)


def path(metavar: str, help: str, *flags: str, default: str | bool = True) -> Any:
    """Return an option that is a path; ``default``: what is shown as such."""
    return typer.Option(*flags, metavar=metavar, parser=path_of, help=help, show_default=default)


def word(metavar: str, help: str, *flags: str, default: str | bool = True) -> Any:
    """Return an option that is any word."""
    return typer.Option(*flags, metavar=metavar, help=help, show_default=default)


def number(read: Reader, help: str, *flags: str, default: str | bool = True) -> Any:
    """Return an option that is a number."""
    return typer.Option(*flags, metavar="N", parser=read, help=help, show_default=default)


def choice(words: tuple[str, ...], help: str, *flags: str) -> Any:
    """Return an option that is one of some words."""
    return typer.Option(*flags, **one_of(words), help=help)


def flag(name: str, help: str) -> Any:
    """Return an option that is there or not."""
    return typer.Option(name, help=help)


def argument(metavar: str, help: str, read: Reader = path_of) -> Any:
    """Return an argument: a path, if nothing else is said."""
    return typer.Argument(metavar=metavar, parser=read, help=help)


_CKPT = "ours, fairseq's, a Hugging Face folder or name, or FILE.py:CLASS"
_ROOTS = "YAML file of lines 'task: folder', or one folder that holds all corpora"
_CHANGE = "change a task's config, e.g. ks:runner.total_steps=500 (no longer SUPERB's setting)"
_UPSTREAM = "a name on s3prl's hub, or FILE.py:CLASS"
_DEVICE = "auto (the GPU if there is one), cpu, cuda or cuda:N"
Ckpt = Annotated[str, argument("CKPT", _CKPT)]
MaybeCkpt = Annotated[str | None, path("CKPT", _CKPT, "-k", "--ckpt")]
Upstream = Annotated[str | None, word("NAME", _UPSTREAM, "-u", "--upstream", default="mt4ssl")]
RunFolder = Annotated[str, argument("RUN", "what --out of `superb run` was")]
Name = Annotated[list[str] | None, word("LABEL", "of the first RUN; again: of the next")]
Tasks = Annotated[str, word("A,B", "all, or some such as pr,asr")]
Roots = Annotated[str, path("FILE", _ROOTS)]
MaybeRoots = Annotated[str | None, path("FILE", _ROOTS)]
Root = Annotated[str | None, path("DIR", "the folder that holds the corpus")]
AllowPartial = Annotated[bool, flag("--allow-partial", "accept a part of a corpus")]
Changes = Annotated[list[str] | None, word("TASK:KEY=VALUE ...", _CHANGE)]
Device = Annotated[str, typer.Option(metavar="DEVICE", parser=checked(device_name), help=_DEVICE)]
Seed = Annotated[int, number(whole(**SEEDS), "of all that is drawn")]
HeadSeed = Annotated[int, number(whole(**NUMPY_SEEDS), "of heads and data order")]
HeadSeeds = Annotated[int, number(SEED_COUNT, "of heads: means and deviations")]
Out = Annotated[str, argument("OUT", "folder to write")]
Alignments = Annotated[str | None, path("PATH", "TextGrid, CTM or TIMIT files, for phones")]
AbxItems = Annotated[str | None, path("FILE", "an .item file with what ABX compares")]
Minutes = Annotated[float, number(MINUTES, "of speech to train and to test on")]
Strict = Annotated[bool, flag("--strict", "stop at the first bad file")]
MaxSkipped = Annotated[
    float, number(field_of(DataConfig, "max_skipped"), "share of the files that may be unusable")
]
ScoreSet = Annotated[str, choice(("paper", "public"), "tasks of superb_s")]
FeatureTransform = Annotated[
    str, choice(TRANSFORMS, "of every layer, fitted on the training split; not SUPERB's")
]
LayerStore = Annotated[str | None, path("DIR", "keep and read features in this store")]
LayerStoreGb = Annotated[float | None, number(GIGABYTES, "the most it may hold")]
# of StoreOptions
_MODE = (
    "auto: keep the features of ks, ic, sid and er where that changes nothing and saves time; "
    "frames: of all tasks (see --store-precision); off: run the upstream at every step"
)
_MOST = "the most that the folder may hold; what does not fit is computed at every step"
_PRECISION = (
    "of frames: fp16 is near-exact, fp32 exact, int8 a quarter of it; pooled are always fp32"
)
_CROPS = (
    "where training crops at random, draw from N seeded crops per file, kept as well; 0: crops are "
    "drawn anew and go through the upstream"
)
_ALONE = (
    "also for an upstream whose features depend on the rest of the batch: each utterance is "
    "encoded alone, and the results say so"
)
StoreMode = Annotated[str, choice(MODES, _MODE, FLAGS["mode"])]
StoreDir = Annotated[
    str | None, path("DIR", "where features are kept", FLAGS["folder"], default="in our cache")
]
LmWeight = Annotated[float, number(field_of(BeamSettings, "lm_weight"), "of the language model")]
WordScore = Annotated[float, number(field_of(BeamSettings, "word_score"), "added for every word")]
StoreGb = Annotated[float, number(field_of(StoreOptions, "gigabytes"), _MOST, FLAGS["gigabytes"])]
StorePrecision = Annotated[str, choice(PRECISIONS, _PRECISION, FLAGS["precision"])]
StoreCrops = Annotated[int, number(field_of(StoreOptions, "crops"), _CROPS, FLAGS["crops"])]
StoreAlone = Annotated[bool, flag(FLAGS["alone"], _ALONE)]
