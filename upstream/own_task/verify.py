"""Clips with a speaker: SUPERB's head for ASV, an x-vector trained with AM-Softmax."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from s3prl.downstream.sv_voxceleb1.model import AMSoftmaxLoss, Model
from s3prl.downstream.sv_voxceleb1.utils import EER
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from upstream.own_task import trials
from upstream.own_task.checks import XVECTOR
from upstream.own_task.clips import OwnExpert, least_crop, write_lines
from upstream.own_task.table import DEV, TEST, TRAIN

_MASKED = -1e5


class DownstreamExpert(OwnExpert):
    """An x-vector per clip; pairs of clips are scored by the cosine between theirs.

    Args:
        upstream_dim: D of the features (T, D).
        upstream_rate: samples per frame.
        downstream_expert: that section of downstream_configs/own/verify.yaml.
        expdir: where lists of scores are written.
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
        self.least_crop = least_crop(XVECTOR + 2, upstream_rate)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        self.expdir = expdir
        rows = self.read_rows("verify")
        speakers = sorted({row.value for row in rows[TRAIN]})
        numbers = {speaker: number for number, speaker in enumerate(speakers)}
        self.sets = {TRAIN: self.clips(TRAIN, rows[TRAIN], [numbers[r.value] for r in rows[TRAIN]])}
        for split in (DEV, TEST):
            self.sets[split] = self.clips(split, rows[split], range(len(rows[split])))
        given = self.datarc["trials"]
        self.trials = {
            DEV: trials.make(rows[DEV]),
            TEST: trials.read(given, rows[TEST]) if given else trials.make(rows[TEST]),
        }
        self.connector = nn.Linear(upstream_dim, modelrc["input_dim"])
        self.model = Model(
            input_dim=modelrc["input_dim"],
            agg_dim=modelrc["XVector"]["agg_dim"],
            agg_module_name=modelrc["agg_module"],
            module_name="XVector",
            utterance_module_name="UtteranceExtractor",
            hparams=modelrc["XVector"],
        )
        self.objective = AMSoftmaxLoss(
            hidden_dim=modelrc["input_dim"], speaker_num=len(speakers), **modelrc["AMSoftmaxLoss"]
        )
        self.register_buffer("best_score", torch.full((1,), float("inf")))

    def forward(
        self, split: str, features: Any, targets: Any, names: Any, records: Any, **_: Any
    ) -> torch.Tensor:
        """Return the loss of a batch, a list of (T, D); while evaluating, keep its vectors."""
        kept = [torch.zeros(len(feature) - XVECTOR) for feature in features]
        mask = pad_sequence(kept, batch_first=True, padding_value=_MASKED)  # (B, T - 14)
        mask = mask.to(features[0].device)
        padded = self.connector(pad_sequence(features, batch_first=True))  # (B, T, H)
        if split == TRAIN:
            labels = torch.LongTensor(targets).to(padded.device)
            loss: torch.Tensor = self.objective(self.model(padded, mask), labels)
            records["loss"].append(loss.item())
            return loss
        vectors = nn.functional.normalize(self.model.inference(padded, mask), dim=-1)
        records["place"] += targets
        records["filename"] += names
        records["vector"] += list(vectors.detach().cpu())
        return torch.zeros(())

    def log_records(
        self, split: str, records: Any, logger: Any, global_step: int, **_: Any
    ) -> list[str]:
        """Report the loss, or the equal error rate; return the names of checkpoints to keep."""
        if split == TRAIN:
            loss = sum(records["loss"]) / len(records["loss"])
            logger.add_scalar(f"verify/{split}-loss", loss, global_step=global_step)
            return []
        vectors = dict(zip(records["place"], records["vector"], strict=True))
        named = dict(zip(records["place"], records["filename"], strict=True))
        found = self.trials[split]
        scores = [float(vectors[trial.enrol] @ vectors[trial.test]) for trial in found]
        targets = [trial.target for trial in found]
        eer = float(EER(np.array(targets), np.array(scores))[0])
        logger.add_scalar(f"verify/{split}-eer", eer, global_step=global_step)
        pairs = [f"{named[trial.enrol]}_{named[trial.test]}" for trial in found]
        for key, values in (("predict", scores), ("truth", targets)):
            write_lines(Path(self.expdir) / f"{split}_{key}.txt", pairs, values)
        if split != DEV or not eer < self.best_score.item():
            return []
        self.best_score = torch.full((1,), eer)
        return [f"{split}-best.ckpt"]
