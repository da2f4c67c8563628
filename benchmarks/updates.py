"""Updates of a BASE model on noise, by this code and by peers that pip installs.

Each function makes everything beforehand and returns one update: fp32 on a CPU, bf16 on CUDA.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

CLASSES = 500
ABOUT = {
    "ours": "both targets, with the teacher's pass; dropout, clipping, AdamW",
    "ours, offline": "the offline target alone",
    "ours, compiled": "both targets, run.compile=true",
    "ours, checkpointed": "both targets, run.activation_checkpointing=true",
    "ours, 4 masks": "both targets, masking.repeats=4",
    "earlier": "another checkout of this code (--earlier), both targets",
    "torchaudio": "HuBERT pre-training: hubert_pretrain_base, AdamW",
    "transformers": "Data2VecAudioModel: forward and backward, no teacher, head or optimiser",
}
Update = Callable[[int], None]


def noise(count: int, samples: int) -> torch.Tensor:
    """The waves that every peer learns from, (count, samples), of variance 1."""
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(0))


def ours(
    count: int, samples: int, device: str, changes: Sequence[str] = (), compiled: bool = False
) -> Update:
    """An update of this code (or of the checkout that MT4SSL_BENCHMARKED names)."""
    from mt4ssl_core import config
    from mt4ssl_core.data.masking import span_mask
    from mt4ssl_core.model.mt4ssl import MT4SSL
    from mt4ssl_core.model.optim import AdamW

    try:
        from mt4ssl_core.memory import keep_memory

        keep_memory()
    except ImportError:  # an earlier checkout
        pass
    given = ["data.train=x", "data.labels=x", f"offline.num_classes={CLASSES}"]
    cfg = config.load("base", [*given, *changes])
    model = MT4SSL(cfg).to(device).train()
    if getattr(cfg.run, "activation_checkpointing", False):
        model.encoder.checkpoint_activations()
    if compiled or device != "cpu":
        from mt4ssl_core.model.compiling import compile_blocks

        compile_blocks(model)
    optimizer = AdamW(model, cfg.optim)
    lengths, waves = torch.full((count,), samples), noise(count, samples)
    frames = model.encoder.frame_lengths(lengths).tolist()
    labels = torch.randint(0, CLASSES, (count, max(frames)))
    waves = waves.to(device)

    def update(number: int) -> None:
        ids = [f"{number}/{i}" for i in range(count)]
        mask = span_mask(frames, ids, cfg.masking, seed=1, epoch=0)
        optimizer.prepare(number)
        optimizer.zero_grad()
        for target in model.each_target():
            target.before_micro_batch(model.encoder, number, first=True)
        batch = [waves, lengths, mask.to(device), labels.to(device), number]
        if device != "cpu":
            from mt4ssl_core.data.masking import Places

            batch.append(Places.of(mask, labels).map(lambda x: x.to(device)))
        with autocast(device):
            losses = model(*batch)
        total = torch.stack([loss.total for loss in losses]).sum() / mask.sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return update


def autocast(device: str) -> torch.autocast:
    """bf16, but on a CPU fp32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu")


def torchaudio_hubert(count: int, samples: int, device: str) -> Update:
    """An update of torchaudio's HuBERT."""
    from torchaudio.models import hubert_pretrain_base

    model: Any = hubert_pretrain_base(num_classes=CLASSES).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    waves = noise(count, samples).to(device)
    lengths = torch.full((count,), samples, device=device)
    labels = torch.randint(0, CLASSES, (count, (samples - 400) // 320 + 1), device=device)

    def update(number: int) -> None:
        optimizer.zero_grad()
        with autocast(device):
            masked, _, penalty = model(waves, labels, lengths)
        classes = torch.zeros(
            len(masked), dtype=torch.long, device=device
        )  # the right class comes first
        (torch.nn.functional.cross_entropy(masked.float(), classes) + penalty).backward()
        optimizer.step()

    return update


def transformers_data2vec(count: int, samples: int, device: str) -> Update:
    """Forward and backward of transformers' data2vec."""
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    model: Any = Data2VecAudioModel(Data2VecAudioConfig()).train()
    model.to(device)
    waves = noise(count, samples).to(device)

    def update(number: int) -> None:
        model.zero_grad()
        with autocast(device):
            output = model(waves).last_hidden_state
        output.float().square().mean().backward()

    return update


UPDATES: dict[str, Callable[[int, int, str], Update]] = {
    "ours": ours,
    "ours, offline": partial(ours, changes=["online=null"]),
    "ours, compiled": partial(ours, compiled=True),
    "ours, checkpointed": partial(ours, changes=["run.activation_checkpointing=true"]),
    "ours, 4 masks": partial(ours, changes=["masking.repeats=4"]),
    "earlier": ours,
    "torchaudio": torchaudio_hubert,
    "transformers": transformers_data2vec,
}
