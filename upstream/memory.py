"""Features of a frozen upstream, kept in memory so that no utterance is encoded twice.

s3prl runs the frozen upstream again at every step. Where an utterance has the same features in any
batch, as with our encoder (unless its ``isolate_padding`` is off) and s3prl's filter banks,
remembering them changes nothing but the time and the last digits. Features are kept in the
machine's memory, also where a GPU computes them. Nothing is written to disk; utterances cropped at
random are encoded each time, as they differ.
"""

import hashlib
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from upstream.expert import UpstreamExpert

EXACT = ("s3prl.upstream.baseline.",)  # modules whose features do not depend on the batch


class Memory:
    """Tensors by key, up to ``limit`` bytes; those not asked for longest go first."""

    def __init__(self) -> None:
        self.limit, self.size = 0, 0
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def get(self, key: bytes) -> Tensor | None:
        """Return what was kept under ``key``, if it still is."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, value: Tensor) -> None:
        """Keep ``value``, unless it alone is over the limit."""
        if value.nbytes > self.limit or key in self._kept:
            return
        self._kept[key] = value
        self.size += value.nbytes
        while self.size > self.limit:
            self.size -= self._kept.popitem(last=False)[1].nbytes


SHARED = Memory()  # one for all runs of a process: seeds and tasks share utterances


class Remembering(nn.Module):
    """An upstream that looks an utterance up before it encodes it.

    Args:
        model: the frozen upstream.
        identity: tells this upstream's features from another's: its name, then whatever else
            decides them, such as the fingerprint of its checkpoint.
        memory: where features are kept.

    Raises:
        ValueError: the upstream's features are not known to be the same in any batch.
    """

    def __init__(self, model: nn.Module, identity: str, memory: Memory = SHARED) -> None:
        super().__init__()
        self._ours = isinstance(model, UpstreamExpert)
        if not self._ours and not type(model).__module__.startswith(EXACT):
            raise ValueError(
                f"--reuse-features: an utterance's features of {identity.split()[0]} may depend on "
                "the rest of its batch; leave the option out"
            )
        if isinstance(model, UpstreamExpert) and not model.encoder.cfg.isolate_padding:
            raise ValueError(
                "--reuse-features: this checkpoint has encoder.isolate_padding: false, so an "
                "utterance's features depend on the rest of its batch; leave the option out"
            )
        self.model, self.memory = model, memory
        self._identity = hashlib.blake2b(identity.encode()).digest()

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.model.get_downsample_rates(key)  # type: ignore[operator]

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Return ``hidden_states``, (B, T, D) each, and ``last_hidden_state``."""
        keys = [self._key(wav) for wav in wavs]
        known = {key: self.memory.get(key) for key in keys}
        new = {key: wav for key, wav in zip(keys, wavs, strict=True) if known[key] is None}
        for key, encoded in zip(new, self._encode(list(new.values())), strict=True):
            known[key] = encoded
            self.memory.put(key, encoded.cpu())
        found = [features for key in keys if (features := known[key]) is not None]  # B of (L, T, D)
        frames = max(features.shape[1] for features in found)
        layers, _, dim = found[0].shape
        shape = (layers, len(found), frames, dim)
        states = found[0].new_zeros(shape, device=wavs[0].device)  # (L, B, T, D)
        for row, features in enumerate(found):
            states[:, row, : features.shape[1]] = features
        hidden_states = list(states.unbind(0))
        return {"hidden_states": hidden_states, "last_hidden_state": hidden_states[-1]}

    def _key(self, wav: Tensor) -> bytes:
        samples = wav.detach().cpu().contiguous().numpy()
        return hashlib.blake2b(samples.tobytes(), digest_size=16, key=self._identity).digest()

    @torch.no_grad()
    def _encode(self, wavs: list[Tensor]) -> list[Tensor]:
        """Encode each wave as if it were alone: (L, T, D) each."""
        if not self._ours:
            alone = [self.model([wav])["hidden_states"] for wav in wavs]
            return [torch.stack(list(states))[:, 0] for states in alone]
        if not wavs:
            return []
        states = torch.stack(self.model(wavs)["hidden_states"])  # (L, B, T, D)
        return [
            states[:, row, : self.model.frames(len(wav))].clone()  # type: ignore[operator]
            for row, wav in enumerate(wavs)
        ]
