"""A runner's transform of features: fitted on what its task trains on, kept beside its heads."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt4ssl_core.bars import Bar
from upstream.door import processes, tasks
from upstream.heads import data_order
from upstream.heads.feature_transform import (
    FLOORS,
    FeatureTransform,
    Moments,
    TransformedFeatures,
)
from upstream.heads.task_request import NONE, WHITEN, transform_of
from upstream.store.lazy_audio import Utterance
from upstream.store.storage import sees_means, upstream_fingerprint
from upstream.store.stored_features import StoredFeatures, selected

FILE = "feature_transform.safetensors"  # beside the heads
_AGAIN = "copy the folder again in which the head was trained, or train it again"


def attach(runner: Any) -> FeatureTransform | None:
    """Put the transform between a runner's upstream and its featurizer, where one is asked for.

    A new training fits it on every process's behalf; a head that is gone on with or tested has it
    beside its checkpoint.

    Raises:
        ValueError: the file is not there, not the head's or of other layers than the upstream's,
            or the features are not finite.
    """
    args, kind = runner.args, transform_of(runner.args)
    stored = transform_of(runner.init_ckpt["Args"]) if runner.init_ckpt else kind
    if stored != kind:
        raise ValueError(
            f"--feature-transform {kind}: {args.init_ckpt} is a head on features with {stored}; "
            f"give {stored}, or train another head"
        )
    if kind == NONE:
        return None
    place = Path(args.expdir) / FILE
    if runner.init_ckpt:
        found = _of_head(Path(args.init_ckpt), kind, processes.bare(runner.featurizer))
    else:
        found = processes.from_first(lambda: _cached(place, kind, runner) or _fit(kind, runner))
    if args.mode == "train" and processes.rank() == 0 and not place.is_file():
        found.save(place)
    selection = processes.bare(runner.featurizer).feature_selection
    model = TransformedFeatures(runner.upstream.model, found.to(args.device), selection)
    runner.upstream.model = model.eval()
    return found


def _of_head(head: Path, kind: str, featurizer: Any) -> FeatureTransform:
    path = head.parent / FILE
    found = FeatureTransform.load(path, _AGAIN)
    if found.kind != kind:
        raise ValueError(f"{path}: {found.kind}, but {head.name} is of {kind}; {_AGAIN}")
    count, size = getattr(featurizer, "layer_num", None), featurizer.output_dim
    layers = [tuple(range(count))] if count else [(0,), (featurizer.layer_selection,)]
    dim = found.means.shape[1]
    if found.layers not in layers or dim != size:
        raise ValueError(
            f"{path}: maps {len(found.layers)} layers of {dim} features, but those that the "
            f"upstream gives are {count or 1} of {size}; {_AGAIN}"
        )
    return found


def _cached(path: Path, kind: str, runner: Any) -> FeatureTransform | None:
    """Return what a training that was interrupted before its first checkpoint had fitted."""
    try:
        found = FeatureTransform.load(path, _AGAIN)
    except ValueError:
        path.unlink(missing_ok=True)
        return None
    if found.kind == kind and found.about == _about(runner):
        return found
    path.unlink()
    return None


def _about(runner: Any) -> dict[str, str]:
    """Return what decides how a transform comes out."""
    args, featurizer, model = runner.args, processes.bare(runner.featurizer), runner.upstream.model
    stored = isinstance(model, StoredFeatures)
    facts = {
        "floor": FLOORS[transform_of(args)],
        "upstream": upstream_fingerprint(model.model if stored else model, args),
        "selection": [featurizer.feature_selection, featurizer.layer_selection],
        "means": sees_means(runner),
        "precision": model.space.kind.precision if stored else "fp32",
        "corpus": tasks.corpus_paths(runner.config),
        "seed": args.seed,
    }
    return {"of": json.dumps(facts, sort_keys=True)}


def _fit(kind: str, runner: Any) -> FeatureTransform:
    """Go through the training split once, and fit the map of each layer that the head listens to.

    What counts is what the head sees: every frame, or of a head that sees the mean over time alone
    each utterance's mean. The upstream is the store where there is one.
    """
    split = runner.config["runner"].get("train_dataloader", "train")
    loader = runner.downstream.model.get_dataloader(split).loader  # s3prl's own
    reading = None if runner.storage is None else runner.storage.reading
    batches = data_order.in_order(loader, None, runner.args.seed, reading)
    means, moments = sees_means(runner), dict[int, Moments]()
    with Bar(f"{kind}: features of {split}", len(batches), unit=" batches") as bar:
        for wavs, *_ in batches:
            for layer, rows in _rows(runner, wavs, means).items():
                moments.setdefault(layer, Moments(kind == WHITEN)).add(rows)
            bar.advance()
    return FeatureTransform.of(kind, moments, _about(runner))


@torch.no_grad()
def _rows(runner: Any, wavs: Any, means: bool) -> dict[int, Tensor]:
    """Return what the head sees of a batch, by layer: (N, D)."""
    featurizer, device = processes.bare(runner.featurizer), runner.args.device
    waves = [w if isinstance(w, Utterance) else torch.FloatTensor(w).to(device) for w in wavs]
    layers = selected(runner.upstream.model(waves), featurizer.feature_selection)
    lengths = [round(len(wave) / featurizer.downsample_rate) for wave in waves]
    only = featurizer.layer_selection
    chosen = range(len(layers)) if only is None or len(layers) == 1 else [only]
    found = {}
    for layer in chosen:
        rows = [row[:frames] for row, frames in zip(layers[layer], lengths, strict=True)]
        if means:
            rows = [row.double().mean(0, keepdim=True) for row in rows]
        found[layer] = torch.cat(rows)
    return found
