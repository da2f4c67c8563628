"""Labelling a corpus with a k-means: one label per encoder frame, 50 per second."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.labels import KM_SHA256, LabelStore, read_dict
from mt4ssl_core.data.manifest import MAX_SKIPPED
from mt4ssl_core.data.mfcc import SAMPLE_RATE
from mt4ssl_core.data.tsv import read_root, read_rows
from mt4ssl_core.distributed import World, joined
from mt4ssl_core.files import read_json, remove_leftovers, sha256_of, user_path, write_json
from mt4ssl_core.labelling.frame_features import (
    ALLOW,
    Features,
    FeatureSource,
    counting,
    layer_store,
    listed,
    of_user,
    resolved,
    stream,
)
from mt4ssl_core.labelling.kmeans_model import KMeans
from mt4ssl_core.labelling.label_writer import (
    LONGEST_NAME,
    GrowingLabels,
    joined_labels,
    remove_parts,
)
from mt4ssl_core.locks import lock
from mt4ssl_core.settings.labelling_defaults import DEVICE, MIN_SECONDS, NAME
from mt4ssl_core.store.store import FeatureStore

_MINUTES = 24 * 60.0  # that a process waits for the others, whose parts may take longer


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
    same command tries the rest again. ConnectionError: another process cannot be reached.
    """
    with joined(device, str(out_dir), _MINUTES) as world:
        model, out = KMeans.load(model_path), user_path(out_dir)
        sha256 = checkpoint_fingerprint(user_path(model_path))
        _check_neighbours(out, name, len(model.centroids), sha256)
        opened = layer_store(store, store_gb, features or model.features)
        origin = _origin_of(model, model_path, features, world.device, opened)
        manifest = listed(source, min_seconds, strict, max_skipped)
        job = {
            "kmeans_sha256": sha256,
            "source": str(user_path(source).resolve()),
            "min_seconds": min_seconds,
        }
        shown = progress and world.is_main
        with _alone_in(out, name, world), AudioBar.over("label", manifest, shown) as bar:
            growing = GrowingLabels(out, name, job, _root(source), (world.rank, world.size))
            with growing.writing() as write:
                mine = manifest.cuts.take(np.arange(world.rank, len(manifest.cuts), world.size))
                left = growing.remaining(mine, bar)
                for cut, wave, frames in stream(left, origin, workers, strict, bar):
                    write(cut.id, len(wave), model.apply(frames).tolist())
                    bar.advance(len(wave) / SAMPLE_RATE)
                bar.close()
                if not (rows := _summed(world, bar, growing.rows, manifest.unreadable)):
                    raise ValueError(
                        f"{source}: no usable audio to label ({bar.failed} skipped); mend or "
                        "replace the files named"
                    )
            what = f"{source}: no labels in {out / name}.km yet"
            bar.check(what, max_skipped, f"the others are kept: the same command goes on; {ALLOW}")

            def finish() -> None:
                whole = growing
                if world.size > 1:
                    whole = joined_labels(out, name, job, _root(source), world.size, manifest.cuts)
                assert whole.rows == rows
                whole.finish(len(model.centroids))
                remove_parts(out, name)
                about = {"kmeans": str(model_path), "kmeans_sha256": sha256}
                about |= {"features": origin.name, **counting(origin.name)}
                _describe(out / f"{name}.km", about, bar)

            world.barrier()  # all rows of all processes are in their files
            world.on_main(finish)
        stats: dict[str, Any] = read_json(out / f"{name}.stats.json")
        return stats


@contextmanager
def _alone_in(out: Path, name: str, world: World) -> Iterator[None]:
    """See that nobody else labels NAME in OUT while the body runs.

    Raises ValueError: somebody does; on every process.
    """
    with ExitStack() as held:

        def take() -> None:
            held.enter_context(lock(out / f".{name}.lock", f"{out / name}.km"))
            remove_leftovers(out)

        world.on_main(take)
        yield


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
        size = len(read_dict(dictionary))
        if size != k:
            raise ValueError(
                f"{dictionary}: {size} classes for {', '.join(others)}, but this k-means has {k}; "
                "write to another folder"
            )
    for other in others:
        path = (out / other).with_suffix(".stats.json")
        try:
            stats = read_json(path)
        except (OSError, ValueError):  # labels from elsewhere do not say
            continue
        if isinstance(stats, dict) and stats.get("kmeans_sha256", sha256) != sha256:
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
