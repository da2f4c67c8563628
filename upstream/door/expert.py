"""Our encoder as s3prl's runner and ``S3PRLUpstream`` want it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings.frames import WINDOW
from upstream.door import cache
from upstream.door.hub import need_checkpoint

UNTRAINED_SEED = 0


def local_path(ckpt: str, refresh: bool = False) -> Path:
    """Return the path of a checkpoint given as path, URL, or name on Hugging Face's hub,
    downloading the latter two.

    Raises:
        ValueError: nothing is there, or it cannot be downloaded.
    """
    if cache.is_url(ckpt):
        return cache.fetch(ckpt, refresh)
    path = hub_models.local(ckpt)
    if not cache.exists(path):
        raise ValueError(f"{ckpt}: no such checkpoint; check the path given with -k")
    return path


def untrained(ckpt: str, refresh: bool = False, seed: int = UNTRAINED_SEED, **kwargs: Any) -> Any:
    """Return an expert with the architecture of ``ckpt`` and random weights drawn from ``seed``."""
    return UpstreamExpert(encoder=convert.load_encoder(local_path(ckpt, refresh), seed), **kwargs)


class UpstreamExpert(nn.Module):
    """Encode a list of waveforms; frozen or, with s3prl's ``-f``, trained on.

    Args:
        ckpt: path, URL or name on Hugging Face's hub of a checkpoint that
            `mt4ssl_core.checkpoints.convert.load_encoder` reads.
        model_config: ignored (the architecture is in the checkpoint); s3prl passes it.
        refresh: download a URL again.
        encoder: use this encoder, and read no checkpoint.

    Raises:
        ValueError: no checkpoint there, or not one that can be read safely.
    """

    def __init__(
        self,
        ckpt: str | None = None,
        model_config: str | None = None,
        refresh: bool = False,
        encoder: SpeechEncoder | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        if encoder is None:
            encoder = convert.load_encoder(local_path(need_checkpoint("mt4ssl", ckpt), refresh))
        self.encoder = encoder.eval()
        if isinstance(encoder, Encoder):
            # s3prl trains on with -f; its weighted sum needs every layer in every pass
            encoder.context.layerdrop = 0.0

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame, for whatever ``key`` s3prl selects."""
        return self.encoder.hop

    def frames(self, samples: int) -> int | None:
        """Frames that `forward` gives for an utterance of ``samples`` samples alone.

        None: that is known of our own encoder only.
        """
        if not isinstance(self.encoder, Encoder):
            return None
        encoded = self.encoder.frame_lengths(max(samples, WINDOW))
        return max(round(samples / self.encoder.hop), encoded)

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Encode 1-D float waveforms at 16 kHz, on the model's device.

        Returns ``hidden_states``, layers + 1 tensors (B, T, D), and ``last_hidden_state``, the last
        of them. s3prl cuts utterance ``i`` to ``round(len(wavs[i]) / hop)`` frames, which for many
        lengths is one more than ours gives. Frames after an utterance's last one repeat
        it, so that an utterance has the same features alone and in any batch, unless the encoder's
        ``isolate_padding`` is off.
        """
        states, lengths = self.encoder.encode(wavs)
        counted = [round(len(wav) / self.encoder.hop) for wav in wavs]
        frames = max(*counted, int(lengths.max()))  # T
        places = torch.arange(frames, device=lengths.device).minimum(lengths[:, None] - 1)
        places = places.to(states[0].device, non_blocking=True)[..., None]
        hidden_states = [
            state.gather(1, places.expand(-1, -1, state.shape[-1]))  # (B, T, 1) -> (B, T, D)
            for state in states
        ]
        return {"hidden_states": hidden_states, "last_hidden_state": hidden_states[-1]}
