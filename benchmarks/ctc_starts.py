"""The starts that `ctc_real.py` compares: what each begins from, its settings, its folders."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt4ssl_core import config
from mt4ssl_core.checkpoints.convert import load_encoder
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint
from mt4ssl_core.files import sha256_of
from mt4ssl_core.settings import finetuning
from mt4ssl_core.settings.finetuning import FinetuneConfig

CONFIG = "tiny_ctc"
PRE_TRAINED, UNTRAINED, LOG_MEL = "pre-trained", "untrained", "log-mel"
LOG_MEL_RATE, LOG_MEL_SETTING = 2e-3, "optim.lr"  # the only setting of log-mel frames
SECTIONS = ("encoder", "masking", "optim")  # what may differ from start to start
ALIKE = ("encoder.init", "encoder.random", "encoder.shape", "optim.max_updates")
BATCH_SECONDS = 32.0
_NAMED = re.compile(r"(?:([\w-]+)=)?(.+)")
_CHOSEN = re.compile(r"([\w-]+):([\w.]+)=(.*)")


@dataclass(frozen=True)
class Start:
    """What is fine-tuned.

    name: in the table. kind: one of the three above. checkpoint: the encoder's; of log-mel frames
    the one whose width they get. chosen: {key: value} in place of the recipe's.
    """

    name: str
    kind: str
    checkpoint: Path
    chosen: dict[str, str] = field(default_factory=dict)

    def settings(self, folder: Path, seed: int, updates: int, out: Path) -> FinetuneConfig:
        """The run of a corpus's ``folder``; of log-mel frames only rate, text and batches count.

        Raises:
            ValueError: a chosen setting is none, or has an impossible value.
        """
        rate = {LOG_MEL_SETTING: LOG_MEL_RATE} if self.kind == LOG_MEL else {}
        return finetuning.load(CONFIG, {
            "data.train": str(folder / "train.csv"), "data.valid": str(folder / "dev.csv"),
            "data.workers": 0, "data.batch_seconds": BATCH_SECONDS,
            "encoder.init": str(self.checkpoint), "encoder.random": self.kind == UNTRAINED,
            "optim.max_updates": updates, "run.seed": seed, "run.out": str(out),
            "run.device": "cpu", "run.loggers": [], **rate, **self.chosen,
        })  # fmt: skip

    def piece(self, folder: Path, seed: int, updates: int) -> Path:
        """The folder of one training and its scores: named by all that they depend on.

        Of a checkpoint that is its weights, its form for the untrained copy, its width for log-mel
        frames: the latter two can be trained before there are weights.
        """
        plain = config.to_dict(self.settings(folder, seed, updates, folder))
        plain["encoder"]["init"] = self._taken()
        parts = [self.kind, BATCH_SECONDS, *(plain[name] for name in ("text", *SECTIONS))]
        files = [sha256_of(folder / f"{name}.csv") for name in ("train", "dev", "test")]
        digest = hashlib.sha256(json.dumps([*parts, *files], sort_keys=True).encode()).hexdigest()
        return folder / f"{self.name}_{seed}_{digest[:12]}"

    def _taken(self) -> Any:
        if self.kind == PRE_TRAINED:
            return checkpoint_fingerprint(self.checkpoint)
        encoder = load_encoder(self.checkpoint)
        return encoder.dim if self.kind == LOG_MEL else config.to_dict(encoder.cfg)


def starts(checkpoints: Sequence[str], chosen: Sequence[str]) -> list[Start]:
    """The starts of ``[NAME=]CKPT`` texts, with the settings of ``START:KEY=VALUE`` texts.

    A checkpoint gives two starts, itself and its untrained copy, called NAME-pre-trained and
    NAME-untrained; without NAME just so. The last start is log-mel frames.

    Raises:
        ValueError: two starts of one name, an unknown start, or a key that all must have alike.
    """
    out: list[Start] = []
    for text in checkpoints:
        found = _NAMED.fullmatch(text)
        assert found is not None, text
        prefix, path = f"{found[1]}-" if found[1] else "", Path(found[2]).resolve()
        out += [Start(f"{prefix}{kind}", kind, path) for kind in (PRE_TRAINED, UNTRAINED)]
    out.append(Start(LOG_MEL, LOG_MEL, out[0].checkpoint))
    by_name = {start.name: start for start in out}
    if len(by_name) < len(out):
        raise ValueError("--checkpoint: two have the same name; give each as NAME=CKPT")
    for text in chosen:
        _choose(by_name, text)
    return out


def _choose(by_name: Mapping[str, Start], text: str) -> None:
    found = _CHOSEN.fullmatch(text)
    if found is None:
        raise ValueError(f"--set {text}: expected START:KEY=VALUE, as pre-trained:optim.lr=1e-3")
    name, key, value = found.groups()
    if name not in by_name:
        raise ValueError(f"--set {text}: no start {name!r}; give one of {', '.join(by_name)}")
    start = by_name[name]
    if start.kind == LOG_MEL and key != LOG_MEL_SETTING:
        raise ValueError(f"--set {text}: log-mel frames have only {LOG_MEL_SETTING}; remove it")
    if key.split(".")[0] not in SECTIONS or key in ALIKE:
        raise ValueError(
            f"--set {text}: {key} is alike for all starts; set keys of {', '.join(SECTIONS)} other "
            f"than {', '.join(ALIKE)}"
        )
    start.chosen[key] = value


def said(chosen: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence with the settings {start: {key: value}} that were chosen; empty without any."""
    parts = [
        f"{name} " + ", ".join(f"`{key}={value}`" for key, value in values.items())
        for name, values in chosen.items()
        if values
    ]
    if not parts:
        return ""
    return f" Settings chosen on held-out training speakers: {'; '.join(parts)}."
