"""How much of what a CTC head says is the blank, and whether it says anything else yet.

A CTC head begins with blanks only: they are the cheapest answer to frames that it cannot tell
apart. Its loss falls all the while, so that nothing but the blanks themselves shows it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

BLANKS, EMITTED = "blank_share", "emitted_share"  # of the frames; of the reference's length
TOO_LITTLE = 0.05  # of the length of the reference
_TEXTS = {"hypothesis": "groundtruth", "pred_tokens": "target_tokens"}  # s3prl's ctc and asr


class BlankShare:
    """Counts the blanks of a head while it evaluates.

    Args:
        model: gives logits (B, T, V) and how many frames of them are an utterance's (B,).
        blank: index of the blank.
    """

    def __init__(self, model: nn.Module, blank: int) -> None:
        self.blank, self.blanks, self.frames = blank, 0, 0
        model.register_forward_hook(self._count)

    @classmethod
    def of(cls, expert: nn.Module) -> "BlankShare | None":
        """Count in one of s3prl's experts; None: it is not trained with CTC."""
        objective, model = getattr(expert, "objective", None), getattr(expert, "model", None)
        if not isinstance(objective, nn.CTCLoss) or not isinstance(model, nn.Module):
            return None
        return cls(model, objective.blank)

    def _count(self, model: nn.Module, _: Any, answer: tuple[Tensor, Tensor]) -> None:
        if model.training:
            return
        logits, lengths = answer
        best = logits.argmax(-1)  # (B, T)
        lengths = lengths.to(best.device)
        inside = torch.arange(best.shape[1], device=best.device) < lengths[:, None]
        self.blanks += int(((best == self.blank) & inside).sum())
        self.frames += int(lengths.sum())

    def take(self, records: Mapping[str, Any]) -> dict[str, float]:
        """Return the shares since the last call; nothing where no frame was evaluated.

        Args:
            records: s3prl's of the same utterances, which hold the texts.
        """
        blanks, frames, self.blanks, self.frames = self.blanks, self.frames, 0, 0
        if not frames:
            return {}
        found = {BLANKS: blanks / frames}
        for said, meant in _TEXTS.items():
            if length := sum(map(len, records.get(meant, ()))):
                found[EMITTED] = sum(map(len, records[said])) / length
        return found


def only_blanks(values: Mapping[str, Any]) -> bool:
    """Whether what was reported of a head, or its record, says that it gives next to nothing."""
    blanks, emitted = values.get(BLANKS), values.get(EMITTED)
    return isinstance(blanks, float) and isinstance(emitted, float) and emitted < TOO_LITTLE


def advice(what: str, values: Mapping[str, Any], step: int | None) -> str:
    """Return what to say of a head that gives only blanks."""
    after = "" if step is None else f" after {step} steps"
    return (
        f"{what}: only blanks{after} ({100 * values[BLANKS]:.1f} % of the frames): the "
        "head has learned nothing yet; give it more steps, or features that are easier to tell "
        "apart with --feature-transform whiten (docs/score.md)"
    )
