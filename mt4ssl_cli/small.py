"""``mt4ssl demo`` and ``mini``, which need no data; ``downstream`` and ``predict``: one head."""

from pathlib import Path
from typing import Annotated

import typer

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import Passed, command, group
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings import labelling_defaults as labelling
from upstream.trained import formats

small = group()


@command(
    small,
    "mt4ssl downstream -m train --task ks --root DIR -u fbank -p runs/ks",
    cls=Passed,
    resumes=True,
)
def downstream(ctx: typer.Context) -> int:
    """Train or test one SUPERB task with s3prl's options and ours, as run_downstream.py."""
    import run_downstream

    return run_downstream.main(ctx.args, "mt4ssl downstream")


@command(small, "mt4ssl predict runs/ks speech/*.wav --top 3")
def predict(
    head: Annotated[str, o.argument("HEAD", "folder of an experiment, or a checkpoint in it")],
    audio: Annotated[list[str], o.argument("AUDIO", "audio files or folders")],
    top: Annotated[int, o.number(o.TOP, "labels, the best and others")] = 1,
    format: Annotated[
        str | None, o.choice(formats.FORMATS, "default: as the name of --out ends, else table")
    ] = None,
    out: Annotated[str | None, o.path("FILE", "where to write", default="printed")] = None,
    ckpt: Annotated[
        str | None, o.path("CKPT", "its encoder", "-k", "--ckpt", default="where it was")
    ] = None,
    root: Annotated[
        str | None, o.path("DIR", "its corpus, for a head that does not know its labels")
    ] = None,
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
) -> None:
    """Say what a trained head of ks, sid, ic, er, pr, asr or sf hears in audio files."""
    from upstream.trained import predict

    predict.predict(
        head, audio, ckpt=ckpt, root=root, top=top, format=format, out=out, device=device,
        strict=strict, max_skipped=max_skipped,
    )  # fmt: skip


@command(small, "mt4ssl mini corpora --tasks ks,pr")
def mini(
    out: Annotated[str, o.argument("OUT", "folder to make them in")],
    tasks: o.Tasks = "all",
    seed: o.Seed = 0,
    size: Annotated[str, o.word("SIZE", "tiny, default or large")] = "default",
    jobs: Annotated[int | None, o.number(o.JOBS, "processes", default="one per core")] = None,
) -> None:
    """Synthesise small corpora in SUPERB's layouts, and speech to pre-train on."""
    from mini_superb import corpus

    corpus.make_some(Path(out), tasks, seed, size, jobs)


@command(small, "mt4ssl demo --out demo_out", resumes=True)
def demo(
    out: Annotated[str, o.path("DIR", "where all of it goes")] = "demo_out",
    seeds: Annotated[int, o.number(o.COUNT, "of heads")] = 1,
    updates: Annotated[
        int | None, o.number(o.COUNT, "of pre-training", default="of the shipped config demo")
    ] = None,
) -> None:
    """Do the whole job in small: synthesise speech, pre-train, score on three tasks."""
    from analysis import demo

    demo.demo(Path(out), seeds, updates)
