"""Fitting k-means to a corpus: a bounded random sample of its frames is clustered."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.manifest import MAX_SKIPPED, hours_of
from mt4ssl_core.data.mfcc import SAMPLE_RATE
from mt4ssl_core.distributed import choose_device
from mt4ssl_core.files import remove_leftovers, user_path, writing
from mt4ssl_core.labelling import sample
from mt4ssl_core.labelling.frame_features import (
    ALLOW,
    Features,
    FeatureSource,
    counting,
    layer_store,
    listed,
    of_user,
    stream,
)
from mt4ssl_core.labelling.kmeans_model import KMeans
from mt4ssl_core.labelling.lloyd import TOLERANCE, Fit, fit_kmeans
from mt4ssl_core.labelling.mini_batch import MiniBatch
from mt4ssl_core.settings.labelling_defaults import (
    CLUSTERS,
    DEVICE,
    FEATURES,
    ITERATIONS,
    MIN_SECONDS,
    SAMPLE_FRAMES,
)


def fit_corpus(
    source: str | Path,
    out_path: str | Path,
    *,
    features: str | Features = FEATURES,
    k: int = CLUSTERS,
    sample_frames: int | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    min_seconds: float = MIN_SECONDS,
    strict: bool = False,
    device: str = DEVICE,
    workers: int | None = None,
    progress: bool = True,
    store: str | Path | None = None,
    store_gb: float | None = None,
    max_skipped: float = MAX_SKIPPED,
    mini_batch: bool = False,
) -> KMeans:
    """Fit k-means on a sample of a corpus and write it to ``out_path``.

    A corpus with more than twice the ``sample_frames`` (default: 2 million, at most 1 GiB) gives
    only as many random utterances as hold that (whatever their headers claim); of their frames a
    uniform sample is kept, so memory does not grow with the corpus. Repeats exactly with the same
    seed on a CPU. With ``mini_batch`` the audio that was not drawn streams by afterwards, and each
    block of its frames moves the centroids (`mini_batch.MiniBatch`). ``store`` is the folder of a
    feature store (of at most ``store_gb``) that has hidden states, and gets those that it has not.

    Raises ValueError: a device, source, store, checkpoint or number that cannot be used, a corpus
    with fewer different frames than ``k``, more than the share ``max_skipped`` of the files
    unusable, and with ``strict`` the first file that cannot be read. Then nothing is written.
    """
    if k < 1 or iterations < 1 or (sample_frames is not None and sample_frames < k):
        raise ValueError(
            f"k={k}, iterations={iterations}, sample_frames={sample_frames}: expected k and "
            "iterations from 1 and at least k sample frames; correct them"
        )
    out_path = _place(out_path)
    if isinstance(features, str):
        of_user(features)
    chosen = choose_device(device)
    origin = FeatureSource.of(features, chosen, layer_store(store, store_gb, features))
    manifest = listed(source, min_seconds, strict, max_skipped)
    wanted = (sample_frames or SAMPLE_FRAMES) * (1 if mini_batch else 2)
    hours = hours_of(manifest.cuts.take(sample.drawn(manifest.cuts, wanted, seed)))
    read = partial(stream, source=origin, workers=workers, strict=strict)
    with AudioBar.over("sample", replace(manifest, hours=hours), progress) as bar:
        reservoir, left = sample.take(manifest.cuts, wanted, sample_frames, seed, read, bar)
    bar.check(str(source), max_skipped, f"{out_path} was not written; {ALLOW}")
    points = reservoir.points if reservoir else torch.zeros(0, 1)
    found = fit_kmeans(points, k, iterations, seed, chosen, progress)
    if found.used < k:
        raise ValueError(
            f"{source}: {len(points):,} frames, but only {found.used} different ones, cannot make "
            f"{k} clusters; is the audio silent? Give other audio or at most {found.used} clusters"
        )
    seen = reservoir.seen if reservoir else 0
    moved = MiniBatch(found.centroids, points, chosen, seen)
    if mini_batch and len(left):
        left = left.take(sample.shuffled(left, "mini-batch", seed))
        with AudioBar("mini-batches", hours_of(left), [], progress, bar.failed) as rest:
            for _, wave, frames in read(left, bar=rest):
                moved.add(frames)
                rest.advance(len(wave) / SAMPLE_RATE)
        rest.used += bar.used
        rest.check(str(source), max_skipped, f"{out_path} was not written; {ALLOW}")
        bar = rest
    meta = {
        "features_sha256": origin.sha256,
        "frames": str(len(points)),
        "frames_seen": str(seen),
        "frames_streamed": str(moved.seen),
        "seed": str(seed),
        "iterations": str(len(found.inertia) - 1),
        "stopped_by": "tolerance" if found.converged else "iterations",
        "inertia": f"{found.inertia[-1]:.6g}",
        "inertia_history": json.dumps([round(value, 4) for value in found.inertia]),
        "reseeded": str(found.reseeded),
        "torch": str(torch.__version__),
    }
    meta |= counting(origin.name)
    model = KMeans(moved.finish(), origin.name, meta)
    model.save(out_path)
    bar.say(
        f"k-means: {k} clusters of {len(points):,} frames ({origin.name}), mean squared distance "
        f"{found.inertia[0]:.4g} -> {found.inertia[-1]:.4g} after {_stop(found)}"
        f"{f', then moved by {moved.seen:,} more' if moved.seen else ''}; "
        f"{bar.used} of {bar.used + bar.failed} files were used, in {out_path}"
    )
    return model


def _stop(found: Fit) -> str:
    """Say how many iterations there were, and why no more."""
    count = len(found.inertia) - 1
    iterations = f"{count} iteration{'s' * (count != 1)}"
    if not found.converged:
        return f"{iterations}, as many as --iterations allows"
    return f"{iterations}, of which the last took away less than {TOLERANCE:.2%}"


def _place(path: str | Path) -> Path:
    """Return where a file will be written, known to be possible before hours are spent."""
    path = user_path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; give the name of a file to write, e.g. km.safetensors")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    return path
