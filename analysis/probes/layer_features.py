"""Every layer of an upstream, of one utterance at a time, from the feature store where it is there.

Any upstream will do: ours with a checkpoint of any kind, or another on s3prl's hub, such as fbank.
"""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import upstream as door
from analysis.records import model_names
from mt4ssl_core.config import HOP
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.store.store import FRAMES, FeatureKind, FeatureStore, content_key
from upstream.door import cache
from upstream.store.audio_sources import Utterance
from upstream.store.storage import upstream_fingerprint
from upstream.store.stored_features import StoredFeatures, selected

SELECTION = "hidden_states"
PROBED = 16_000  # samples that tell how many layers there are


@dataclass(frozen=True)
class LayerFeatures:
    """Layers (L, T, D) of single utterances, 50 frames per second."""

    name: str  # for readers
    fingerprint: str  # tells these features from any others
    layers: int  # L; layer 0 is the input of the first transformer layer
    dim: int  # D
    rate: int  # samples per frame of what ``encode`` gives
    encode: Callable[[np.ndarray], Tensor]  # samples (N,) -> (L, frames, D)

    def frames(self, wave: np.ndarray) -> np.ndarray:
        """Return all layers of an utterance: samples (N,) at 16 kHz -> (L, T, D) float32.

        Frame i begins at sample 320 i, as in alignments; another frame rate is brought to that.

        Raises:
            ValueError: NaN or infinity.
        """
        states = self.encode(wave)
        begins = np.arange(num_frames(len(wave))) * HOP  # (T,)
        places = np.minimum(begins // self.rate, states.shape[1] - 1)
        layers: np.ndarray = states.float().cpu().numpy()[:, places]
        if not np.isfinite(layers).all():
            raise ValueError(
                f"{self.name}: its features contain NaN or infinity; use another checkpoint"
            )
        return layers


def open_upstream(
    ckpt: str | Path | None = None,
    upstream: str = "mt4ssl",
    device: str = "auto",
    store: FeatureStore | None = None,
    precision: str = "fp16",
) -> LayerFeatures:
    """Return the features of a frozen upstream.

    ``store`` keeps all its layers in ``precision``, as ``--store frames`` does for SUPERB's tasks;
    what is in it is not computed again.

    Raises:
        ValueError: no such upstream or checkpoint, or one whose layers differ in size.
    """
    place = str(choose_device(device))
    model = door.load(upstream, None if ckpt is None else str(ckpt)).to(place)
    given = Namespace(
        upstream=upstream, upstream_ckpt=ckpt and str(ckpt), upstream_model_config=None
    )
    name = cache.own_name(None if ckpt is None else str(ckpt))
    name = name or model_names.of_model(upstream, Path(ckpt).resolve() if ckpt else None)
    identity, rate = upstream_fingerprint(model, given), int(model.get_downsample_rates(SELECTION))

    def layers(wave: np.ndarray) -> Tensor:
        with torch.inference_mode():
            states = selected(model([torch.from_numpy(wave).to(place)]), SELECTION)
            if len({state.shape for state in states}) > 1:
                raise ValueError(f"{name}: its layers differ in size; they cannot be compared")
            return torch.cat(states)  # (L, frames, D)

    noise = np.random.default_rng(0).normal(0, 0.1, PROBED).astype(np.float32)
    count, _, dim = layers(noise).shape
    if store is None:
        return LayerFeatures(name, identity, count, dim, rate, layers)
    space = store.space(FeatureKind(upstream, identity, SELECTION, FRAMES, None, False, precision))
    stored = StoredFeatures(model, rate, store, space, count, batch_dependent=True)

    def looked_up(wave: np.ndarray) -> Tensor:
        utterance = Utterance(None, None, content_key(wave), len(wave), wave)
        return stored.features([utterance])[0]

    return LayerFeatures(name, identity, count, dim, rate, looked_up)
