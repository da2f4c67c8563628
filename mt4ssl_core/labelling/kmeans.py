"""k-means: makes the offline labels, from MFCC or from any layer of any encoder.

``fit_corpus`` streams over the audio, keeps a bounded random sample of frames and clusters it;
``label_corpus`` streams over it again and writes one label per encoder frame (50 per second).
"""

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.labels import KM_SHA256, LabelStore
from mt4ssl_core.data.manifest import MAX_SKIPPED, Manifest, hours_of, open_manifest
from mt4ssl_core.data.mfcc import SAMPLE_RATE
from mt4ssl_core.data.tsv import read_root, read_rows
from mt4ssl_core.distributed import World, choose_device, start, stop
from mt4ssl_core.files import read_json, remove_leftovers, sha256_of, user_path, write_json, writing
from mt4ssl_core.labelling import sample
from mt4ssl_core.labelling.frame_features import (
    COUNTING,
    Features,
    FeatureSource,
    of_user,
    resolved,
    stream,
)
from mt4ssl_core.labelling.kmeans_model import KMeans
from mt4ssl_core.labelling.label_writer import LONGEST_NAME, GrowingLabels, joined
from mt4ssl_core.labelling.lloyd import TOLERANCE, Fit, fit_kmeans
from mt4ssl_core.labelling.mini_batch import MiniBatch
from mt4ssl_core.locks import lock
from mt4ssl_core.settings.labelling_defaults import (
    CLUSTERS,
    DEVICE,
    FEATURES,
    ITERATIONS,
    MIN_SECONDS,
    NAME,
    SAMPLE_FRAMES,
)
from mt4ssl_core.store.store import FeatureStore

_ALLOW = "mend the files named, or allow more with --max-skipped"


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
    origin = FeatureSource.of(features, chosen, _opened(store, store_gb, features))
    manifest = _listed(source, min_seconds, strict, max_skipped)
    wanted = (sample_frames or SAMPLE_FRAMES) * (1 if mini_batch else 2)
    hours = hours_of(manifest.cuts.take(sample.drawn(manifest.cuts, wanted, seed)))
    read = partial(stream, source=origin, workers=workers, strict=strict)
    with AudioBar.over("sample", replace(manifest, hours=hours), progress) as bar:
        reservoir, left = sample.take(manifest.cuts, wanted, sample_frames, seed, read, bar)
    bar.check(str(source), max_skipped, f"{out_path} was not written; {_ALLOW}")
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
        rest.check(str(source), max_skipped, f"{out_path} was not written; {_ALLOW}")
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
    meta |= _counting(origin.name)
    model = KMeans(moved.finish(), origin.name, meta)
    model.save(out_path)
    bar.say(
        f"k-means: {k} clusters of {len(points):,} frames ({origin.name}), mean squared distance "
        f"{found.inertia[0]:.4g} -> {found.inertia[-1]:.4g} after {_stop(found)}"
        f"{f', then moved by {moved.seen:,} more' if moved.seen else ''}; "
        f"{bar.used} of {bar.used + bar.failed} files were used, in {out_path}"
    )
    return model


def label_corpus(
    model_path: str | Path,
    source: str | Path,
    out_dir: str | Path,
    *,
    name: str = NAME,
    features: str | Features | None = None,
    min_seconds: float = MIN_SECONDS,
    strict: bool = False,
    device: str = DEVICE,
    workers: int | None = None,
    progress: bool = True,
    store: str | Path | None = None,
    store_gb: float | None = None,
    max_skipped: float = MAX_SKIPPED,
) -> dict[str, Any]:
    """Label every 20 ms frame of a corpus: OUT/{name}.tsv, OUT/{name}.km, OUT/dict.km.txt.

    Labels stream to hidden partial files, which get their names when all are done; started again
    after an interruption with the same arguments, it goes on where it stopped. ``features`` is
    needed only for a k-means fitted on a callable, or on an encoder in a Python file, which is run
    only where its user names it; ``store`` and ``store_gb`` are as for
    `fit_corpus`. Returns the statistics that it prints and writes to OUT/{name}.stats.json.

    Of several processes (torchrun) each labels its part; the first one puts them together.

    Raises ValueError: a device, k-means or source that cannot be used, a checkpoint that changed
    since the fit, other labels in OUT by another k-means, somebody else labelling there, a corpus
    without usable audio, with ``strict`` the first file that cannot be read; and when more than
    the share ``max_skipped`` of the files could not be used. What was labelled is kept then: the
    same command tries the rest again.
    """
    world = start(device)
    model, out = KMeans.load(model_path), user_path(out_dir)
    sha256 = checkpoint_fingerprint(user_path(model_path))
    _check_neighbours(out, name, len(model.centroids), sha256)
    opened = _opened(store, store_gb, features or model.features)
    origin = _origin_of(model, model_path, features, world.device, opened)
    manifest = _listed(source, min_seconds, strict, max_skipped)
    job = {
        "kmeans_sha256": sha256,
        "source": str(user_path(source).resolve()),
        "min_seconds": min_seconds,
    }
    with ExitStack() as held, AudioBar.over("label", manifest, progress and world.is_main) as bar:

        def take() -> None:
            held.enter_context(lock(out / f".{name}.lock", f"{out / name}.km"))
            remove_leftovers(out)

        world.on_main(take)  # nobody else labels there
        growing = GrowingLabels(out, name, job, _root(source), (world.rank, world.size))
        with growing.writing() as write:
            mine = np.arange(world.rank, len(manifest.cuts), world.size)
            cuts = growing.remaining(manifest.cuts.take(mine), bar)
            for cut, wave, frames in stream(cuts, origin, workers, strict, bar):
                write(cut.id, len(wave), model.apply(frames).tolist())
                bar.advance(len(wave) / SAMPLE_RATE)
            bar.close()
            if not (rows := _summed(world, bar, growing.rows, manifest.unreadable)):
                raise ValueError(
                    f"{source}: no usable audio to label ({bar.failed} skipped); mend or replace "
                    "the files named"
                )
        what = f"{source}: no labels in {out / name}.km yet"
        bar.check(what, max_skipped, f"the others are kept: the same command goes on; {_ALLOW}")

        def finish() -> None:
            whole = growing
            if world.size > 1:
                whole = joined(out, name, job, _root(source), world.size, manifest.cuts)
            assert whole.rows == rows
            whole.finish(len(model.centroids))
            about = {"kmeans": str(model_path), "kmeans_sha256": sha256, "features": origin.name}
            _describe(out / f"{name}.km", about | _counting(origin.name), bar)

        world.barrier()  # all rows of all processes are in their files
        world.on_main(finish)
    stats: dict[str, Any] = read_json(out / f"{name}.stats.json")
    stop()
    return stats


def _summed(world: World, bar: AudioBar, rows: int, known: int) -> int:
    """Count in the bar what all processes used and left out; return the rows of all.

    ``known`` files were left out before they shared the rest.
    """
    gathered = world.gather((bar.used, bar.failed - known, bar.skipped, rows))
    used, failed, skipped, rows_of_each = zip(*gathered, strict=True)
    bar.used, bar.failed = sum(used), sum(failed) + known
    bar.skipped = list(map(list, dict.fromkeys(tuple(pair) for each in skipped for pair in each)))
    return sum(rows_of_each)


def _describe(km_path: Path, about: dict[str, Any], bar: AudioBar) -> None:
    """Write and print the statistics of finished labels."""
    stats = label_stats(km_path) | about
    stats |= {KM_SHA256: sha256_of(km_path), "skipped": bar.skipped, "failed": bar.failed}
    write_json(km_path.with_suffix(".stats.json"), stats)
    bar.say(
        f"labels: {stats['utterances']:,} of {stats['utterances'] + bar.failed:,} utterances, "
        f"{stats['hours']:.2f} h, "
        f"{stats['used']}/{stats['classes']} clusters used, entropy {stats['entropy_nats']:.3f} "
        f"nats, most frequent label {stats['top_share']:.2%}, in {km_path}"
    )


def label_stats(km_path: str | Path) -> dict[str, Any]:
    """Count the labels of a ``.km``.

    Returns utterances, frames, hours, classes, used (classes), entropy_nats and top_share (of the
    distribution of single labels).
    """
    store = LabelStore.open(km_path)
    counts = np.zeros(store.num_classes, dtype=np.int64)
    for id in store:
        counts += np.bincount(store[id], minlength=store.num_classes)
    share = counts[counts > 0] / counts.sum()
    return {
        "utterances": len(store),
        "frames": int(counts.sum()),
        "hours": sum(samples for _, samples, _ in read_rows(Path(km_path).with_suffix(".tsv")))
        / SAMPLE_RATE
        / 3600,
        "classes": store.num_classes,
        "used": int((counts > 0).sum()),
        "entropy_nats": float(-(share * np.log(share)).sum()),
        "top_share": float(share.max()),
    }


def _stop(found: Fit) -> str:
    """Say how many iterations there were, and why no more."""
    count = len(found.inertia) - 1
    iterations = f"{count} iteration{'s' * (count != 1)}"
    if not found.converged:
        return f"{iterations}, as many as --iterations allows"
    return f"{iterations}, of which the last took away less than {TOLERANCE:.2%}"


def _counting(features: str) -> dict[str, str]:
    """How the layer of ckpt:PATH:LAYER is counted, for whoever compares labels with others'."""
    return {"layers_counted_as": COUNTING} if features.startswith("ckpt:") else {}


def _listed(source: str | Path, min_seconds: float, strict: bool, max_skipped: float) -> Manifest:
    shortest = max(min_seconds, MIN_SECONDS)
    return open_manifest(source, min_seconds=shortest, strict=strict, max_skipped=max_skipped)


def _place(path: str | Path) -> Path:
    """Return where a file will be written, known to be possible before hours are spent."""
    path = user_path(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; give the name of a file to write, e.g. km.safetensors")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    return path


def _opened(
    folder: str | Path | None, gigabytes: float | None, features: str | Features
) -> FeatureStore | None:
    if folder is None:
        return None
    if not isinstance(features, str) or not features.startswith("ckpt:"):
        raise ValueError(
            f"store {folder}: it keeps the hidden states of ckpt:PATH:LAYER, and these features "
            "are others; leave it out"
        )
    return FeatureStore(folder, gigabytes)


def _origin_of(
    model: KMeans,
    path: str | Path,
    features: str | Features | None,
    device: torch.device,
    store: FeatureStore | None,
) -> FeatureSource:
    if isinstance(features, str):
        of_user(features)
        if resolved(features) != model.features:
            raise ValueError(
                f"{path}: was fitted on {model.features}, not {features}; leave it out"
            )
    elif features is not None:
        return FeatureSource(model.features, features)
    if model.features == "callable":
        raise ValueError(f"{path}: was fitted on a Python function; pass it as `features`")
    origin = FeatureSource.of(model.features, device, store)
    if origin.sha256 != model.meta.get("features_sha256", ""):
        raise ValueError(
            f"{path}: was fitted on {model.features}, which has changed since then; bring the old "
            "checkpoint back or fit again with `mt4ssl kmeans fit`"
        )
    return origin


def _check_neighbours(out: Path, name: str, k: int, sha256: str) -> None:
    """Raise ValueError when OUT has other labels whose classes are those of another k-means."""
    if not name or Path(name).name != name or len(os.fsencode(name)) > LONGEST_NAME:
        raise ValueError(
            f"name {name!r}: expected a plain file name such as 'train', of at most {LONGEST_NAME} "
            "bytes; correct it"
        )
    dictionary = out / "dict.km.txt"
    others = sorted(path.name for path in out.glob("*.km") if path.name != f"{name}.km")
    if others and dictionary.is_file():
        size = len(dictionary.read_text().splitlines())
        if size != k:
            raise ValueError(
                f"{dictionary}: {size} classes for {', '.join(others)}, but this k-means has {k}; "
                "write to another folder"
            )
    for other in others:
        path = (out / other).with_suffix(".stats.json")
        try:
            stats = json.loads(path.read_text())
        except (OSError, ValueError):  # labels from elsewhere do not say
            continue
        if stats.get("kmeans_sha256", sha256) != sha256:
            raise ValueError(
                f"{out / other}: was labelled by another k-means ({stats.get('kmeans')}), so its "
                "classes mean other things; use that one or write to another folder"
            )


def _root(source: str | Path) -> Path:
    """Return the folder that the ids of a source are relative to."""
    source = user_path(source)
    if source.suffix == ".tsv" and source.is_file():
        return read_root(source).resolve()
    return source.resolve() if source.is_dir() else source.resolve().parent
