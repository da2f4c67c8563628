"""What can be said of checkpoints and layers without labels, and what it is worth.

Of a layer, on a fixed sample of frames: effective rank, uniformity, and how well k-means clusters
of the layer stand apart. Of a checkpoint also what its run logged on held-out audio.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from analysis.choosing.candidates import Candidate
from analysis.choosing.ranking import Criterion
from analysis.probes.layer_features import LayerFeatures
from mt4ssl_core.config import WINDOW
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave
from mt4ssl_core.data.cuts import Cuts
from mt4ssl_core.data.manifest import open_manifest, split_valid
from mt4ssl_core.files import user_path
from mt4ssl_core.labelling import lloyd
from mt4ssl_core.model import geometry

FRAMES = 2048  # of the sample
SECONDS = 120.0  # of audio that they are drawn from
LONGEST = 20  # seconds of an utterance that are looked at
CLUSTERS = 50
DRAWN = 7  # what decides which utterances these are


# Weights: the held-out loss orders checkpoints of a run nearly as probes do, uniformity less, rank
# tells a collapse (docs/results.md). The others are only shown.
OF_CHECKPOINTS = (
    Criterion("offline/loss", "held-out loss of the offline target", "min", 3),
    Criterion("offline/accuracy", "held-out accuracy of the offline target", "max", 0),
    Criterion("effective_rank", "effective rank, mean of layers", "max", 1),
    Criterion("uniformity", "uniformity, mean of layers", "min", 1),
    Criterion("silhouette", "silhouette of clusters, mean of layers", "max", 0),
    Criterion("davies_bouldin", "Davies-Bouldin of clusters, mean of layers", "min", 0),
    Criterion("offline/entropy", "entropy of predictions", "min", 0),
    Criterion("offline/code_perplexity", "code perplexity", "max", 0),
    Criterion("online/target_var", "spread of the teacher's targets", "max", 0),
)
OF_LAYERS = (
    Criterion("effective_rank", "effective rank", "max", 1),
    Criterion("uniformity", "uniformity", "min", 0),
    Criterion("silhouette", "silhouette of clusters", "max", 1),
    Criterion("davies_bouldin", "Davies-Bouldin of clusters", "min", 1),
)


def sample(candidates: Sequence[Candidate], audio: str | None) -> tuple[list[np.ndarray], str]:
    """Return waveforms (N,) at 16 kHz, the same ones every time, and where they are from.

    From ``audio``, or what the first run held out of its training audio.

    Raises:
        ValueError: there is no audio that can be used.
    """
    cuts, source = _cuts(candidates, audio)
    order = np.argsort(cuts.hashes(DRAWN), kind="stable")
    used = np.minimum(cuts.samples[order], LONGEST * SAMPLE_RATE).cumsum() / SAMPLE_RATE
    some = cuts.take(order[: np.searchsorted(used, SECONDS) + 1])
    return [load_wave(cut)[: LONGEST * SAMPLE_RATE] for cut in some], source


def _cuts(candidates: Sequence[Candidate], audio: str | None) -> tuple[Cuts, str]:
    shortest = WINDOW / SAMPLE_RATE
    if audio is not None:
        return open_manifest(audio, min_seconds=shortest).cuts, str(audio)
    run = next((c.run for c in candidates if c.run is not None), None)
    settings = {} if run is None else run.settings
    if settings.get("data.valid"):
        source = settings["data.valid"]
        _check_there(source)
        return open_manifest(source, min_seconds=shortest).cuts, str(source)
    if not settings.get("data.train"):
        raise ValueError(
            "no audio to look at: the checkpoints do not say what was held out; give --audio DIR, "
            "or --labels"
        )
    source, share = settings["data.train"], settings.get("data.valid_share") or 0.0
    _check_there(source)
    whole = open_manifest(source, min_seconds=settings.get("data.min_seconds", shortest))
    _, held_out = split_valid(whole, share)
    if not len(held_out.cuts):
        raise ValueError(f"{source}: the run held nothing out; give other audio with --audio DIR")
    return held_out.cuts, f"what was held out of {source}"


def _check_there(source: str) -> None:
    if not user_path(source).exists():
        raise ValueError(
            f"{source}: the run's audio is no longer there; bring it back, or give other audio "
            "with --audio DIR"
        )


def of_layers(features: LayerFeatures, waves: Sequence[np.ndarray], seed: int) -> list[dict]:
    """Measure each layer on the same frames of ``waves``; name -> value for each, but of what
    nothing can be said, such as the rank of zeros.
    """
    layers = np.concatenate([features.frames(wave) for wave in waves], 1)  # (L, N, D)
    few = np.linspace(0, layers.shape[1] - 1, min(FRAMES, layers.shape[1])).astype(int)
    return [_of_frames(torch.from_numpy(layer[few]), seed) for layer in layers]


def _of_frames(frames: torch.Tensor, seed: int) -> dict[str, float]:
    centroids = lloyd.fit_kmeans(frames, min(CLUSTERS, len(frames)), seed=seed).centroids
    ids = lloyd.nearest(frames, centroids)
    found = {
        "effective_rank": geometry.effective_rank(frames),
        "uniformity": geometry.uniformity(frames),
        "silhouette": geometry.silhouette(frames, ids),
        "davies_bouldin": geometry.davies_bouldin(frames, ids),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def of_checkpoint(candidate: Candidate, layers: Sequence[dict]) -> dict[str, float]:
    """What its run logged, and means over its layers, of what is known of all."""
    known = [key for key in layers[0] if all(key in layer for layer in layers)]
    means = {key: float(np.mean([layer[key] for layer in layers])) for key in known}
    return {**candidate.logged, **means}
