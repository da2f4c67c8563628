"""Clips with a label: the head of SUPERB's KS, SID, IC and ER."""

from pathlib import Path
from typing import Any

import torch
from s3prl.downstream.model import UtteranceLevel
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from upstream.own_task.clips import OwnExpert, least_crop, write_lines
from upstream.own_task.table import DEV, TRAIN


class DownstreamExpert(OwnExpert):
    """A projection, the mean over time, and a linear layer.

    Args:
        upstream_dim: D of the features (T, D).
        upstream_rate: samples per frame.
        downstream_expert: that section of downstream_configs/own/classify.yaml.
        expdir: where lists of what was predicted are written.
    """

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: dict[str, Any],
        expdir: str,
        **_: Any,
    ) -> None:
        super().__init__()
        self.least_crop = least_crop(1, upstream_rate)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        self.expdir = expdir
        rows = self.read_rows("classify")
        self.labels = self.datarc["labels"] or sorted({row.value for row in rows[TRAIN]})
        if not isinstance(self.labels, list) or len({*map(str, self.labels)}) < len(self.labels):
            raise ValueError(f"datarc.labels: {self.labels}; give a list, each label once")
        if unknown := {row.value for found in rows.values() for row in found} - {*self.labels}:
            raise ValueError(
                f"{self.datarc['csv']}: labels that are not in datarc.labels: "
                f"{', '.join(sorted(unknown))}; add them there"
            )
        numbers = {label: number for number, label in enumerate(self.labels)}
        self.sets = {
            split: self.clips(split, found, [numbers[row.value] for row in found])
            for split, found in rows.items()
        }
        self.projector = nn.Linear(upstream_dim, modelrc["projector_dim"])
        self.model = UtteranceLevel(
            input_dim=modelrc["projector_dim"],
            output_dim=len(self.labels),
            **modelrc["UtteranceLevel"],
        )
        self.objective = nn.CrossEntropyLoss()
        self.register_buffer("best_score", torch.zeros(1))

    def forward(
        self, split: str, features: Any, labels: Any, names: Any, records: Any, **_: Any
    ) -> torch.Tensor:
        """Return the loss of a batch, a list of (T, D), and keep what was predicted."""
        lengths = torch.IntTensor([len(feature) for feature in features]).to(features[0].device)
        padded = self.projector(pad_sequence(features, batch_first=True))  # (B, T, P)
        logits, _ = self.model(padded, lengths)  # (B, labels)
        targets = torch.LongTensor(labels).to(logits.device)
        loss: torch.Tensor = self.objective(logits, targets)
        predicted = logits.argmax(dim=-1)
        records["loss"].append(loss.item())
        records["acc"] += (predicted == targets).float().tolist()
        records["filename"] += names
        records["predict"] += [self.labels[number] for number in predicted.tolist()]
        records["truth"] += [self.labels[number] for number in targets.tolist()]
        return loss

    def log_records(
        self, split: str, records: Any, logger: Any, global_step: int, **_: Any
    ) -> list[str]:
        """Report loss and accuracy; return the names of checkpoints to keep."""
        means = {key: sum(records[key]) / len(records[key]) for key in ("loss", "acc")}
        for key, value in means.items():
            logger.add_scalar(f"classify/{split}-{key}", value, global_step=global_step)
        if split != TRAIN:
            for key in ("predict", "truth"):
                path = Path(self.expdir) / f"{split}_{key}.txt"
                write_lines(path, records["filename"], records[key])
        if split != DEV or means["acc"] <= self.best_score.item():
            return []
        self.best_score = torch.ones(1) * means["acc"]
        return [f"{split}-best.ckpt"]
