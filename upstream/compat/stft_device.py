"""The device of speech enhancement and separation.

What: the experts and losses of both tasks put their tensors on ``cuda:0`` whenever torch sees a
    GPU: ``--device cpu`` and any other GPU fail. Their SI-SDR loss needs a GPU to be made at all.
Why: the device is chosen when the module is imported; the window is made with ``.cuda()``.
Since: s3prl 0.4.0 and still in 0.4.18.
Here: before a batch both modules' device is set to that of its features, and the window of the
    SI-SDR loss follows.
Delete when: s3prl's enhancement_stft and separation_stft use the device of their input.
"""

import functools
import importlib
from typing import Any

import torch

FOLDERS = ("enhancement_stft", "separation_stft")


def install() -> bool:
    """Patch the experts and losses of both tasks; needs `asteroid` to be importable."""
    applied = False
    for folder in FOLDERS:
        expert = importlib.import_module(f"s3prl.downstream.{folder}.expert")
        loss = importlib.import_module(f"s3prl.downstream.{folder}.loss")
        if getattr(expert.DownstreamExpert.forward, "follows", False):
            continue
        expert.DownstreamExpert.forward = _following(
            (expert, loss), expert.DownstreamExpert.forward
        )
        loss.SISDRLoss.__init__ = _window_anywhere(loss.SISDRLoss.__init__)
        applied = True
    return applied


def _following(modules: tuple[Any, ...], original: Any) -> Any:
    @functools.wraps(original)
    def forward(self: Any, mode: str, features: Any, *args: Any, **kwargs: Any) -> Any:
        device = features[0].device
        for module in modules:
            module.device = device
        window = getattr(self.objective, "window", None)
        if isinstance(window, torch.Tensor):
            self.objective.window = window.to(device)
        return original(self, mode, features, *args, **kwargs)

    forward.follows = True  # type: ignore[attr-defined]
    return forward


def _window_anywhere(original: Any) -> Any:
    @functools.wraps(original)
    def init(
        self: Any, num_srcs: int, n_fft: int, hop_length: int, win_length: int,
        window: str, center: bool,
    ) -> None:  # fmt: skip
        original(self, num_srcs, n_fft, hop_length, win_length, None, center)
        if window == "hann":
            self.window = torch.hann_window(win_length)

    return init
