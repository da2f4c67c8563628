"""All that a run of fine-tuning carries, and where its encoder comes from."""

import dataclasses
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert, python_file
from mt4ssl_core.checkpoints.recognisers import CTC, VOCABULARY, head_of, vocabulary_of
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.distributed import World
from mt4ssl_core.files import reading
from mt4ssl_core.model.ctc import CTCModel
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.finetuning import SECTIONS, FinetuneConfig, StartConfig
from mt4ssl_core.training import schema
from mt4ssl_core.training.resuming import Resumable

START = "start"  # section of a checkpoint's config: that of the run's own `encoder`
_BEGINNING = ("init", "random", "shape", "blank_bias")  # of that: what acts when a run begins
_REGULARISERS = (
    "dropout", "attention_dropout", "activation_dropout", "input_dropout", "layerdrop",
)  # fmt: skip


def first_encoder(cfg: FinetuneConfig, state: dict[str, Any] | None) -> Encoder:
    """Return the encoder that a run starts from, or, with the ``state`` of its checkpoint, one of
    that form; with the run's dropout.

    Raises:
        ValueError: encoder.init is no encoder that can be trained, or encoder.shape no config.
    """
    start = cfg.encoder
    changes = {name: getattr(start, name) for name in _REGULARISERS} | {"feature_grad_scale": 1.0}
    torch.manual_seed(cfg.run.seed)
    if state is None and start.init is not None:
        if python_file.is_named(start.init):
            raise ValueError(
                f"encoder.init: {start.init}: a class in a file cannot be fine-tuned; give a "
                "checkpoint of ours, fairseq's or Hugging Face's"
            )
        found = convert.load_any(start.init)
        found["config"]["encoder"] = {**found["config"]["encoder"], **changes}
        return convert.encoder_of(found, start.init, cfg.run.seed if start.random else None)
    if state is not None:
        values = state["config"]["encoder"]
    else:
        assert start.shape is not None
        values = config.values(start.shape)["encoder"] or {}
    return Encoder(config.encoder_from_dict({**values, **changes}, start.shape or "encoder"))


class Finetuning(Resumable):
    """All that a run of fine-tuning carries."""

    command = "finetune"
    order: ClassVar = {"run.seed", "data.batch_seconds", "data.buckets"}
    measure: ClassVar[set[str]] = set()

    def __init__(
        self, cfg: FinetuneConfig, world: World, encoder: Encoder, vocabulary: Vocabulary
    ) -> None:
        torch.manual_seed(cfg.run.seed)
        model = CTCModel(encoder, vocabulary, cfg.encoder.final_dropout, cfg.encoder.blank_bias)
        if cfg.encoder.freeze_extractor:
            encoder.extractor.requires_grad_(False)
        super().__init__(cfg, world, model)

    @classmethod
    def sections(cls) -> dict[str, type]:
        """{name: dataclass} of the config in its checkpoints."""
        return {**SECTIONS, "encoder": EncoderConfig, START: StartConfig}

    def own_rates(self) -> dict[str, float]:
        """That of the head, if it has one."""
        rate = self.cfg.optim.head_lr
        return {} if rate is None else {"head": rate}

    def settings(self) -> dict[str, Any]:
        """The config in its checkpoints: ``encoder`` is the encoder's own."""
        values = config.to_dict(self.cfg)
        return {
            **values,
            "encoder": dataclasses.asdict(self.model.encoder.cfg),
            START: values["encoder"],
        }

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint as `mt4ssl_core.checkpoints.recognisers` says."""
        return {
            "config": self.settings(),
            "encoder": self.model.encoder.state_dict(),
            "targets": {CTC: {f"head.{k}": v for k, v in self.model.head.state_dict().items()}},
            VOCABULARY: self.model.vocabulary.to_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    @classmethod
    def check_kind(cls, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint is none of fine-tuning."""
        if CTC not in state["targets"]:
            raise ValueError(
                f"{path}: a checkpoint of pre-training, not of `mt4ssl finetune`; give another "
                "run.out, and this one as encoder.init"
            )

    @classmethod
    def check(cls, state: dict[str, Any], path: Path) -> None:
        """Raise ValueError when a checkpoint cannot be one that fine-tuning wrote."""
        vocabulary_of(state, path)
        super().check(state, path)

    def reshapes(self, key: str, old: Any, new: Any) -> bool:
        """Whether a checkpoint written with the setting ``old`` cannot go on with ``new``."""
        section, _, name = key.partition(".")
        shape = section == "encoder" and name not in config.TRAINING_ONLY
        return shape or key == f"{START}.freeze_extractor"

    def resume(self, state: dict[str, Any], path: Path) -> list[str]:
        """Continue, as `Resumable.resume`; what acts when a run begins stays what it was then."""
        old = config.completed(
            schema.settings(state["config"], path, self.sections()), self.sections()
        )
        given, begun = asdict(self.cfg.encoder), old.get(START) or {}
        kept = {n: begun[n] for n in _BEGINNING if n in begun and begun[n] != given[n]}
        self.cfg = replace(self.cfg, encoder=replace(self.cfg.encoder, **kept))
        stays = [
            f"{START}.{name}: stays {value!r}; {given[name]!r} would be for a new run.out"
            for name, value in kept.items()
        ]
        return [*stays, *super().resume(state, path)]

    def load_weights(self, state: dict[str, Any], where: Path) -> None:
        """Take encoder and head.

        Raises:
            ValueError: NaN in them, or of another form.
        """
        checkpoint.load_into(
            self.model.encoder, schema.finite_weights(state["encoder"], "encoder", where), where
        )
        head = schema.finite_weights(head_of(state), "targets.ctc", where)
        with reading(where, "give another checkpoint"):
            checkpoint.load_into(self.model.head, head, where)
