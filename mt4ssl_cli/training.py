"""``mt4ssl pretrain``, ``finetune``, ``config``, ``export``, ``extract`` and ``check-encoder``."""

from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import Command, command, group
from mt4ssl_cli.readers import one_of
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings import labelling_defaults as labelling
from mt4ssl_core.settings.export_formats import FORMATS
from mt4ssl_core.settings.recognition_defaults import BeamSettings
from mt4ssl_core.slurm import LOOPS

training = group()
LOOP = one_of(LOOPS)["parser"]
CONFIG = "a YAML file, or the name of a shipped one, e.g. base, tiny"
FINETUNE = "a YAML file, or the name of a shipped one, e.g. ctc_10h, tiny_ctc"
SETTINGS = "settings, e.g. data.train=DIR optim.lr=1e-3; `mt4ssl config` has them all"
EXPORTED = "hf: transformers; compact: ours in half precision; these two have a model card"
FROM = "go on from this checkpoint in run.out, e.g. previous.pt"


class Trains(Command):
    """Its settings are words; one that is given as an option is explained."""

    def hint(self, option: str) -> str:
        """Name the setting that an option such as --learning-rate may mean."""
        from mt4ssl_core import config
        from mt4ssl_core.settings import finetuning, synonyms

        owner = finetuning if self.name == "finetune" else config
        name, keys = option.lstrip("-").replace("-", "_"), owner.known_keys()
        said = "" if name in keys else synonyms.suggestion(name, sorted(keys))
        return f"settings are given without dashes, as in optim.lr=1e-3.{said}"


@command(
    training,
    "mt4ssl pretrain tiny data.train=labels/train.tsv data.labels=labels/train.km",
    cls=Trains,
    resumes=True,
)
def pretrain(
    config: Annotated[str, o.argument("CONFIG", CONFIG)],
    overrides: Annotated[list[str] | None, o.argument("KEY=VALUE", SETTINGS, str)] = None,
    strict: o.Strict = False,
    resume_from: Annotated[str | None, o.path("CKPT", FROM, "--from", default="last.pt")] = None,
) -> None:
    """Pre-train an encoder."""
    from mt4ssl_core import config as settings
    from mt4ssl_core.lines import say_once
    from mt4ssl_core.training import pretrain as train

    more = ["data.strict=true"] if strict else []
    cfg = settings.load(config, [*(overrides or []), *more], files=True)
    say_once(f"checkpoint: {train.pretrain(cfg, resume_from)}")


@command(
    training,
    "mt4ssl finetune tiny_ctc data.train=speech encoder.init=runs/first/last.pt",
    cls=Trains,
    resumes=True,
)
def finetune(
    config: Annotated[str, o.argument("CONFIG", FINETUNE)],
    overrides: Annotated[list[str] | None, o.argument("KEY=VALUE", SETTINGS, str)] = None,
    strict: o.Strict = False,
    resume_from: Annotated[str | None, o.path("CKPT", FROM, "--from", default="last.pt")] = None,
) -> None:
    """Fine-tune an encoder to a recogniser, with CTC."""
    from mt4ssl_core.finetuning import finetune as loop
    from mt4ssl_core.lines import say_once
    from mt4ssl_core.settings import finetuning

    more = ["data.strict=true"] if strict else []
    cfg = finetuning.load(config, [*(overrides or []), *more], files=True)
    say_once(f"checkpoint: {loop.finetune(cfg, resume_from)}")


@command(
    training,
    "mt4ssl submit pretrain mine.yaml --slurm nodes=2 gpus_per_node=8",
    cls=Trains,
    resumes=True,
)
def submit(
    loop: Annotated[str, o.argument("|".join(LOOPS), "which command", LOOP)],
    config: Annotated[str, o.argument("CONFIG", "as of that command")],
    overrides: Annotated[list[str] | None, o.argument("KEY=VALUE", SETTINGS, str)] = None,
    slurm: Annotated[list[str] | None, o.word("KEY=VALUE ...", "for submitit")] = None,
) -> None:
    """Hand a run to SLURM, which goes on with it after each time limit; again: how far it is."""
    from mt4ssl_core import submitting

    print(submitting.submit(loop, config, overrides or (), slurm or ()))


@command(training, "mt4ssl config base")
def config(name: Annotated[str | None, o.argument("CONFIG", CONFIG)] = None) -> None:
    """Print every setting of pre-training or fine-tuning with its value and meaning, as YAML."""
    from mt4ssl_core.settings import listing

    print(listing.listed(name))


@command(
    training,
    "mt4ssl export runs/first/last.pt hf_model\n"
    "mt4ssl export last.pt hf_model --superb runs/first/superb --push ORG/NAME",
)
def export(
    checkpoint: o.Ckpt,
    out: o.Out,
    to: Annotated[str, o.choice(FORMATS, EXPORTED)] = FORMATS[0],
    superb: Annotated[str | None, o.path("RUN", "its scores go into the model card")] = None,
    license: Annotated[str | None, o.word("ID", "for the card, e.g. mit")] = None,
    datasets: Annotated[str | None, o.word("A,B", "for the card, names on the hub")] = None,
    about: Annotated[str | None, o.path("FILE", "Markdown for the card: sources, scores")] = None,
    push: Annotated[str | None, o.word("ORG/NAME", "upload it to Hugging Face's hub")] = None,
    public: Annotated[bool, o.flag("--public", "a model new there is for all to see")] = False,
    lm: Annotated[str | None, o.path("ARPA", "hf: language model beside a recogniser")] = None,
    lm_weight: o.LmWeight = BeamSettings.lm_weight,
    word_score: o.WordScore = BeamSettings.word_score,
) -> None:
    """Write a checkpoint in another format."""
    from analysis import exporting

    exporting.export(
        checkpoint, out, to, superb=superb, license=license, datasets=datasets, about=about,
        push=push, public=public, lm=lm, lm_weight=lm_weight, word_score=word_score,
    )  # fmt: skip


@command(
    training, "mt4ssl extract runs/first/last.pt speech features --layers 0,6,12", resumes=True
)
def extract(
    checkpoint: o.Ckpt,
    audio: Annotated[list[str], o.argument("AUDIO", "audio files or folders")],
    out: o.Out,
    layers: Annotated[str, o.word("A,B", "all, or numbers such as 0,6,12")] = labelling.LAYERS,
    format: Annotated[str, o.choice(labelling.FORMATS, "of the files")] = labelling.FORMATS[0],
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
) -> None:
    """Write features of audio files."""
    from mt4ssl_core.labelling import extract as extraction

    extraction.extract(
        checkpoint, audio, out, layers=extraction.layers_of(layers), format=format, device=device,
        strict=strict, max_skipped=max_skipped,
    )  # fmt: skip


@command(training, "mt4ssl check-encoder my_encoder.py:MyEncoder", "check-encoder")
def check_encoder(
    encoder: Annotated[str, o.argument("FILE.py:CLASS", "a class in a Python file, which is run")],
    device: o.Device = labelling.DEVICE,
) -> int:
    """Try out whether an encoder of your own does what an encoder must."""
    from mt4ssl_core.checkpoints import encoder_check

    return int(not encoder_check.check(encoder, device))
