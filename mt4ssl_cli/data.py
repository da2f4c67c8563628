"""``mt4ssl data ...``: corpora in a form that is read faster."""

from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group
from mt4ssl_cli.kmeans import Audio
from mt4ssl_cli.readers import field_of, real
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings.shards import FORMATS, SHARD_MB

data = group("data", help="Corpora in a form that is read faster.")
MEGABYTES = real(at_least=0.01, at_most=1e6)
AUDIO_FORMAT = "of the audio: 16 kHz mono, or the files' own bytes"


@command(data, "mt4ssl data shard speech shards --labels labels/train.km", resumes=True)
def shard(
    audio: Audio,
    out: o.Out,
    labels: Annotated[str | None, o.path("KM", "the .km file with its labels")] = None,
    label_rate: Annotated[
        float, o.number(field_of(DataConfig, "label_rate"), "labels per second")
    ] = DataConfig.label_rate,
    shard_mb: Annotated[float, o.number(MEGABYTES, "of each tar")] = SHARD_MB,
    format: Annotated[str, o.choice(FORMATS, AUDIO_FORMAT)] = FORMATS[0],
    seed: o.Seed = 0,
    keep_order: Annotated[bool, o.flag("--keep-order", "do not shuffle the utterances")] = False,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
) -> None:
    """Write audio and labels as tar files that pre-training reads from one end to the other."""
    from mt4ssl_core.data.shards import shard_writer

    shard_writer.shard(
        audio, out, labels=labels, label_rate=label_rate, shard_mb=shard_mb, format=format,
        seed=seed, keep_order=keep_order, strict=strict, max_skipped=max_skipped,
    )  # fmt: skip
