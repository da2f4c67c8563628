"""A runner's features in the store: put there, read from there, and what its results say."""

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from mt4ssl_core.checkpoints.fingerprints import encoder_fingerprint, weights_fingerprint
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.lines import say
from mt4ssl_core.settings.precisions import BYTES
from mt4ssl_core.store.store import FRAMES, POOLED, FeatureKind, FeatureStore
from upstream.door import cache, packages, processes
from upstream.door.expert import UpstreamExpert
from upstream.store.decision import Stored, decide
from upstream.store.lazy_audio import Reading, Utterance
from upstream.store.options import StoreOptions
from upstream.store.stored_features import StoredFeatures, sees_means_only, upstream_facts

GB = 1e9
LAYER = "layer"  # superb.select of a task that is evaluated layer by layer
WINDOW = 256  # utterances among which `fill` looks for some of similar length
TRIED = 32  # samples of a corpus whose lengths stand for all


class Storage:
    """A runner's features in the store.

    ``reading`` is for its loaders; ``features`` stands in the place of its upstream.
    """

    def __init__(
        self, features: StoredFeatures, dim: int, stored: Stored, gigabytes: float
    ) -> None:
        self.features, self.stored, self.gigabytes = features, stored, gigabytes
        self.kind = features.space.kind
        layers = features.layers if self.kind.layers is None else len(self.kind.layers)
        self.frame_bytes = layers * dim * BYTES[self.kind.precision]
        self.reading = Reading(features.store, features.space, stored.crops)
        if features.device.type == "cuda":
            self.reading.for_gpu()

    def describe(self) -> dict[str, Any] | None:
        """Return what a result has to say of the store; None when nothing went through it."""
        if not self.features.asked:
            return None
        return {
            "kind": self.kind.kind,
            "precision": self.stored.precision,
            "exactness": self.stored.exactness,
            "alone": self.stored.alone,
            "crops": self.stored.crops or None,
        }

    def fill(self, utterances: Iterable[Utterance], progress: Callable[[float], Any]) -> None:
        """Store what is missing of ``utterances``; ``progress`` gets seconds of audio done."""
        window: dict[bytes, Utterance] = {}

        def encode() -> None:
            missing = list(window.values())
            for place, features in self.features.encode(missing):
                self.features.keep(missing[place], features)
                progress(missing[place].samples / SAMPLE_RATE)
            window.clear()

        for utterance in utterances:
            self.features.remember(utterance)
            key = utterance.key
            if key is None or key in window or key in self.features.space:
                progress(utterance.samples / SAMPLE_RATE)
                continue
            window[key] = utterance
            if len(window) == WINDOW:
                encode()
        encode()

    def announce(self, loader: Any) -> None:
        """Say where features go, and about how much room those of a loader's corpus will take."""
        store = self.features.store
        if self.stored.pooled:
            what, size = "means over time", f"{self.frame_bytes / 1e3:.0f} kB per utterance"
        else:
            per_hour = self.frame_bytes * SAMPLE_RATE / self.features.rate * 3600
            what, size = "frames", f"{per_hour / GB:.1f} GB per hour of audio"
        _say(
            f"store: {store.folder}: {what} of {self.kind.upstream} "
            f"({self.stored.precision}, {self.stored.exactness}), {size}, "
            f"about {self._estimate(loader) / GB:.2g} GB for the training split; "
            f"{store.size() / GB:.2g} of {self.gigabytes:g} GB are taken"
        )

    def _estimate(self, loader: Any) -> float:
        """Return about how many bytes the features of a loader's corpus take."""
        order = list(range(0, len(loader.dataset), max(1, len(loader.dataset) // TRIED)))
        seconds, count = 0.0, 0
        with self.reading.lazily(loader.dataset):
            for place in order:
                wavs, *_ = loader.collate_fn([loader.dataset[place]])
                seconds += sum(len(wav) for wav in wavs) / SAMPLE_RATE
                count += len(wavs)
        overlapping = getattr(loader.dataset, "bucket_size", 1)  # s3prl's ctc: a bucket from each
        per_item = count / len(order) / overlapping
        if self.stored.pooled:
            return len(loader.dataset) * per_item * self.frame_bytes
        frames = seconds / max(count, 1) * SAMPLE_RATE / self.features.rate
        return len(loader.dataset) * per_item * frames * self.frame_bytes


def attach(runner: Any, options: StoreOptions) -> Storage | None:
    """Put the store between a runner's upstream and its featurizer, where that is asked for.

    Returns None, and leaves the runner as it is, while the upstream is trained on (``-f``), and
    where `decide` says so.
    """
    header = runner.config.get("superb") or {}
    if runner.upstream.trainable or isinstance(decide(options, header), str):
        return None
    args, featurizer = runner.args, processes.bare(runner.featurizer)
    pooled = sees_means(runner)
    stored = decide(options, header, pooled)
    if isinstance(stored, str):
        return None
    layer = featurizer.layer_selection
    subset = layer is not None and not pooled and header.get("select") != LAYER
    kind = FeatureKind(
        upstream=args.upstream,
        fingerprint=upstream_fingerprint(runner.upstream.model, args),
        selection=featurizer.feature_selection,
        kind=POOLED if pooled else FRAMES,
        layers=(layer,) if subset else None,
        normalized=pooled and featurizer.normalize,
        precision=stored.precision,
    )
    store = _open(options.place, options.gigabytes)
    space = store.space(kind)
    facts = space.notes()
    if not all(type(facts.get(name)) is bool for name in ("stacks", "batch_dependent")):
        facts = upstream_facts(runner.upstream.model, kind.selection, args.device)
        space.note(**facts)
    if not facts["stacks"]:
        _say(f"store: not used: the layers of {args.upstream} differ in size")
        return None
    stored = decide(options, header, pooled, facts["batch_dependent"])
    if isinstance(stored, str):
        _say(f"store: not used for {args.upstream}: {stored}")
        return None
    features = StoredFeatures(
        runner.upstream.model,
        featurizer.downsample_rate,
        store,
        space,
        facts["layers"],
        facts["batch_dependent"],
    )
    if kind.normalized:
        featurizer.normalize = False
    runner.upstream.model = features.to(args.device).eval()
    return Storage(features, facts["dim"], stored, options.gigabytes)


def sees_means(runner: Any) -> bool:
    """Whether all that a runner's head sees of an utterance is the mean of each layer over time."""
    return (
        bool((runner.config.get("superb") or {}).get("pooled"))
        and not runner.config.get("specaug")
        and sees_means_only(processes.bare(runner.downstream), runner.featurizer.model.output_dim)
    )


@functools.cache
def _open(folder: Path, gigabytes: float) -> FeatureStore:
    """Open a store, once for all runners of a process."""
    return FeatureStore(folder, gigabytes, _say)


def upstream_fingerprint(model: nn.Module, args: Any) -> str:
    """Return what tells an upstream's features from another's, whatever its path or name.

    Of ours, the weights and the architecture; of another, its weights, its class, the version of
    s3prl, and the contents of what ``-k`` and ``-g`` name.
    """
    if isinstance(model, UpstreamExpert):
        return encoder_fingerprint(model.encoder)
    config = args.upstream_model_config
    parts = [type(model).__module__, type(model).__qualname__, args.upstream]
    parts += [packages.s3prl()]
    parts += [cache.fingerprint_of(args.upstream_ckpt), config, cache.fingerprint_of(config)]
    digest = hashlib.sha256(repr(parts).encode())
    digest.update(weights_fingerprint(model).encode())
    return digest.hexdigest()


def _say(text: str) -> None:
    if processes.is_first():
        say(text, sys.stderr)
