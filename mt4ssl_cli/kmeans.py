"""``mt4ssl kmeans ...``: offline labels."""

from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group
from mt4ssl_cli.readers import real, whole
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings import labelling_defaults as labelling

kmeans = group("kmeans", help="Make offline labels.")
MANY, SECONDS = whole(at_least=1, at_most=10**10), real(at_least=0, at_most=1e5)
CODE = "ckpt:FILE.py:CLASS:LAYER, to let that file run, if the k-means was fitted on it"
SAMPLE = f"{labelling.SAMPLE_FRAMES:,}"
Audio = Annotated[
    str, o.argument("AUDIO", "folder of audio, fairseq .tsv, lhotse CutSet, Shar folder or shards")
]
MinSeconds = Annotated[float, o.number(SECONDS, "shorter files are left out")]


@command(kmeans, "mt4ssl kmeans fit speech km.safetensors --clusters 100")
def fit(
    audio: Audio,
    out: Annotated[str, o.argument("OUT", "k-means file to write, e.g. km.safetensors")],
    features: Annotated[str, o.path("WHAT", "mfcc, or ckpt:PATH:LAYER")] = labelling.FEATURES,
    clusters: Annotated[int, o.number(o.COUNT, "how many")] = labelling.CLUSTERS,
    sample_frames: Annotated[
        int | None, o.number(MANY, "frames to cluster", default=SAMPLE)
    ] = None,
    iterations: Annotated[int, o.number(o.COUNT, "at most so many")] = labelling.ITERATIONS,
    seed: o.Seed = 0,
    min_seconds: MinSeconds = labelling.MIN_SECONDS,
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
    mini_batch: Annotated[
        bool, o.flag("--mini-batch", "let the audio that is not in the sample move the clusters")
    ] = False,
    store_dir: o.LayerStore = None,
    store_gb: o.LayerStoreGb = None,
) -> None:
    """Cluster the frames of a corpus."""
    from mt4ssl_core.labelling.kmeans_fit import fit_corpus

    fit_corpus(
        audio, out, features=features, k=clusters, sample_frames=sample_frames,
        iterations=iterations, seed=seed, min_seconds=min_seconds, strict=strict, device=device,
        store=store_dir, store_gb=store_gb, max_skipped=max_skipped, mini_batch=mini_batch,
    )  # fmt: skip


@command(kmeans, "mt4ssl kmeans label km.safetensors speech labels", resumes=True)
def label(
    model: Annotated[str, o.argument("KMEANS", "file that `mt4ssl kmeans fit` wrote")],
    audio: Audio,
    out: Annotated[str, o.argument("OUT", "folder for NAME.tsv, NAME.km and dict.km.txt")],
    name: Annotated[str, o.word("NAME", "of the files, e.g. valid")] = labelling.NAME,
    features: Annotated[str | None, o.path("WHAT", CODE, default="as fitted")] = None,
    min_seconds: MinSeconds = labelling.MIN_SECONDS,
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
    store_dir: o.LayerStore = None,
    store_gb: o.LayerStoreGb = None,
) -> None:
    """Label every frame of a corpus with its cluster."""
    from mt4ssl_core.labelling.kmeans_label import label_corpus

    label_corpus(
        model, audio, out, name=name, features=features, min_seconds=min_seconds, strict=strict,
        device=device, store=store_dir, store_gb=store_gb, max_skipped=max_skipped,
    )  # fmt: skip
