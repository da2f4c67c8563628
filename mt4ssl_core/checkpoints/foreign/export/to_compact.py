"""A checkpoint of any kind as a compact model of ours, with its card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints import compact, tensor_files
from mt4ssl_core.checkpoints.foreign import assembled
from mt4ssl_core.checkpoints.foreign.export import card
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.checkpoints.foreign.export.folder import NOTE, WEIGHTS, new_folder, write_record
from mt4ssl_core.files import write_text
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.frames import SAMPLE_RATE

SECONDS = 4  # of noise, which features are compared on


def write(
    state: Mapping[str, Any], out: Path, origin: str | Path, about: Card | None = None
) -> Path:
    """Write a folder with the encoder of ``state`` in half precision, and a card that says what
    ``about`` does and how much features differ; returns ``out``. ``origin`` is what errors name.

    Raises:
        ValueError: a recogniser, a weight beyond half precision, or ``out`` holds something else.
        OSError: the folder cannot be written.
    """
    encoder = assembled.encoder_of(state, origin)
    halves = {name: value.half() for name, value in encoder.state_dict().items()}
    if beyond := [name for name, value in halves.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{origin}: {beyond[0]} is beyond half precision; export it with --to hf")
    with new_folder(out) as folder:
        tensor_files.save(folder / WEIGHTS, halves, compact.settings(encoder.cfg))
        back = assembled.encoder_of(compact.load(folder / WEIGHTS), folder)
        note = (
            f"weights are in half precision: on {SECONDS} s of noise no value of a hidden state "
            f"differs by more than {difference(encoder, back):.1e} of the layer's largest"
        )
        write_record(folder, {"format": "compact", "weights": WEIGHTS, NOTE: note})
        known = {**state, "encoder": encoder.state_dict()}
        write_text(folder / card.NAME, card.text(about or Card(), known, out, origin, None, note))
        card.write_files(about or Card(), folder)
    return out


@torch.inference_mode()
def difference(one: Encoder, two: Encoder) -> float:
    """The largest difference of hidden states, of all layers, relative to a layer's largest."""
    drawn = torch.Generator().manual_seed(0)
    wave = torch.randn(SECONDS * SAMPLE_RATE, generator=drawn)
    pairs = zip(one.encode([wave])[0], two.encode([wave])[0], strict=True)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
