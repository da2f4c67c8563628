"""``mt4ssl store ...``: features of frozen upstreams, computed once."""

from typing import Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group
from mt4ssl_cli.readers import real
from upstream.store.options import StoreOptions
from upstream.suite.suite_request import SuiteRequest

store = group("store", help="Features of frozen upstreams, computed once.")
DAYS = real(at_least=0, at_most=1e5)


@command(store, "mt4ssl store fill -k last.pt --tasks ks,sid --roots roots.yaml", resumes=True)
def fill(
    tasks: Annotated[str, o.word("A,B", "such as ks or ks,sid")],
    ckpt: o.MaybeCkpt = None,
    upstream: o.Upstream = None,
    root: o.Root = None,
    roots: o.MaybeRoots = None,
    device: o.Device = SuiteRequest.device,
    mode: o.StoreMode = StoreOptions.mode,
    store_dir: o.StoreDir = None,
    store_gb: o.StoreGb = StoreOptions.gigabytes,
    store_precision: o.StorePrecision = StoreOptions.precision,
    store_crops: o.StoreCrops = StoreOptions.crops,
    store_alone: o.StoreAlone = False,
) -> int:
    """Compute the features of SUPERB tasks before training."""
    from upstream.suite import fill

    kept = StoreOptions(mode, store_dir, store_gb, store_precision, store_crops, store_alone)
    return fill.fill(fill.FillRequest(tasks, root, roots, ckpt, upstream, device, kept))


@command(store, "mt4ssl store ls")
def ls(store_dir: o.StoreDir = None) -> None:
    """Say what a store holds."""
    from upstream.store import store_commands

    store_commands.ls(store_dir)


@command(store, "mt4ssl store verify")
def verify(store_dir: o.StoreDir = None) -> int:
    """Read everything in a store, and say what is spoiled."""
    from upstream.store import store_commands

    return store_commands.verify(store_dir)


@command(store, "mt4ssl store prune --days 30")
def prune(
    store_dir: o.StoreDir = None,
    store_gb: Annotated[float | None, o.number(o.GIGABYTES, "make it this small")] = None,
    days: Annotated[float | None, o.number(DAYS, "remove what was not used for so long")] = None,
) -> None:
    """Remove what was not used for longest, and what killed processes left behind."""
    from upstream.store import store_commands

    store_commands.prune(store_dir, store_gb, days)


@command(store, "mt4ssl store rm fbank")
def rm(
    which: Annotated[
        str, o.argument("NAME", "a name or fingerprint as `ls` shows it, or how it begins", str)
    ],
    store_dir: o.StoreDir = None,
) -> None:
    """Remove the features of an upstream."""
    from upstream.store import store_commands

    store_commands.rm(store_dir, which)
