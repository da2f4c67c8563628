"""Clips with a text: SUPERB's heads for ASR and SF (characters) and for PR (tokens)."""

from typing import Any

import torch
from s3prl.downstream.asr.model import RNNs
from s3prl.downstream.ctc.expert import DownstreamExpert as CtcExpert
from s3prl.downstream.ctc.text import CharacterTextEncoder, WordTextEncoder
from s3prl.downstream.model import FrameLevel
from torch import nn
from torch.utils.data import DataLoader

from upstream.own_task.clips import OwnExpert
from upstream.own_task.table import TRAIN

_HEADS = {"RNNs": RNNs, "FrameLevel": FrameLevel}
_UNITS = {"character": ("ctc", CharacterTextEncoder), "word": ("tokens", WordTextEncoder)}


class DownstreamExpert(OwnExpert, CtcExpert):
    """A projection and recurrent or linear layers under CTC; s3prl's own, but for the clips.

    Args:
        upstream_dim: D of the features (T, D).
        upstream_rate: samples per frame.
        downstream_expert: that section of downstream_configs/own/ctc.yaml or tokens.yaml.
        expdir: where lists of what was recognised are written.
    """

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: dict[str, Any],
        expdir: str,
        **_: Any,
    ) -> None:
        nn.Module.__init__(self)  # s3prl's own would look for its corpora
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["model"]
        self.expdir = expdir
        self.corpus = {"name": "own"}  # s3prl's name for what it reports
        kind, encoder = _UNITS[downstream_expert["text"]["mode"]]
        rows = self.read_rows(kind)
        units = {
            unit
            for row in rows[TRAIN]
            for unit in (row.value.split() if kind == "tokens" else row.value)
        }
        self.tokenizer = encoder(sorted(units))
        self.sets = {
            split: self.clips(split, found, [self.tokenizer.encode(row.value) for row in found])
            for split, found in rows.items()
        }
        self.projector = nn.Linear(upstream_dim, modelrc["project_dim"])
        self.model = _HEADS[modelrc["select"]](
            modelrc["project_dim"],
            self.tokenizer.vocab_size,
            upstream_rate=upstream_rate,
            **modelrc.get(modelrc["select"], {}),
        )
        self.objective = nn.CTCLoss(
            blank=self.tokenizer.pad_idx, zero_infinity=modelrc["zero_infinity"]
        )
        self.save_best_on = downstream_expert["save_best_on"]
        self.metrics = downstream_expert["metric"]
        self.metric_higher_better = downstream_expert["metric_higher_better"]
        worst = 0 if self.metric_higher_better else 1 << 31
        self.register_buffer("best_score", torch.ones(1) * worst)

    def get_dataloader(self, split: str) -> DataLoader[Any]:
        """Return the loader of a split (s3prl's interface)."""
        return OwnExpert.get_dataloader(self, split)
