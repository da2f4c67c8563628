"""The layers of a trained head, built without its corpus."""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from upstream import own_task
from upstream.trained.answers import ASR, CTC, OWN_CTC, gives_text

# s3prl's folder of a task -> its sections of the head, and the key of the projection's size
SECTIONS = {
    **dict.fromkeys(
        ("speech_commands", "voxceleb1", "fluent_commands", "emotion", "own_classify"),
        ("modelrc", "projector_dim"),
    ),
    ASR: ("modelrc", "project_dim"),
    **dict.fromkeys((CTC, OWN_CTC), ("model", "project_dim")),
}


class HeadModel(nn.Module):
    """A projection and the model behind it, named as s3prl's experts name them.

    Args:
        folder: s3prl's folder of the task, one of `SECTIONS`.
        config: of the experiment, with names that `upstream.door.s3prl_names.check` has seen.
        dim: size of the features.
        rate: samples per frame of the features.
        weights: of the expert, as in its checkpoint.

    Raises:
        RuntimeError: the weights are not those of such a head.
    """

    def __init__(
        self,
        folder: str,
        config: Mapping[str, Any],
        dim: int,
        rate: int,
        weights: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        section, key = SECTIONS[folder]
        own_task.register(folder)
        expert = importlib.import_module(f"s3prl.downstream.{folder}.expert")
        settings = config["downstream_expert"][section]
        inner, select = settings[key], settings.get("select", "UtteranceLevel")
        self.outputs = _outputs(weights)
        self._is_text, self._cuts = gives_text(folder), folder == ASR
        with torch.device("meta"):  # no memory for sizes that the weights do not have
            self.projector = nn.Linear(dim, inner)
            made = getattr(expert, select)
            more = settings.get(select, {})
            if self._is_text:
                self.model = made(inner, self.outputs, upstream_rate=rate, **more)
            else:
                self.model = made(input_dim=inner, output_dim=self.outputs, **more)
            self.register_buffer("best_score", torch.zeros(1))
        self.load_state_dict(weights, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits of one utterance's features (T, D): (C,), or of text (T, C)."""
        place = "cpu" if self._is_text else features.device  # as s3prl's experts have it
        frames = torch.tensor([len(features)], dtype=torch.int32, device=place)
        logits, lengths = self.model(self.projector(features[None]), frames)
        found: Tensor = logits[0]
        return found[: int(lengths[0])] if self._cuts else found


def _outputs(weights: Mapping[str, Tensor]) -> int:
    """Return how many outputs a head has: the size of its last bias."""
    names = [name for name in weights if name.startswith("model.") and name.endswith("bias")]
    return len(weights[names[-1]])
