"""The door to s3prl: the only folder that imports it.

``upstream.register()`` makes s3prl importable on today's stack and puts our names on its hub. Then
both ``python run_downstream.py -u mt4ssl -k CKPT ...`` and ``s3prl.nn.S3PRLUpstream("mt4ssl",
path_or_url=CKPT)`` work. ``upstream.load("fbank")`` gives an upstream by its name.
"""

from typing import Any


def register() -> list[str]:
    """Put our upstreams on ``s3prl.hub`` and return their names. Twice does no harm.

    The first call in a process imports s3prl, which takes some seconds.

    Raises:
        ValueError: s3prl or the torchaudio that belongs to this torch is not installed.
    """
    from upstream import compat
    from upstream.door import hubconf

    compat.install()
    import s3prl.hub as hub

    names = [name for name in vars(hubconf) if name.startswith("mt4ssl")]
    for name in names:
        setattr(hub, name, getattr(hubconf, name))
    return names


def load(name: str, ckpt: str | None = None) -> Any:
    """Return an upstream in eval mode, without s3prl's runner; ours does not need s3prl.

    Raises:
        ValueError: no such upstream, or no checkpoint there.
    """
    from upstream.door import expert, hub, hubconf

    if name in hub.OURS:
        ckpt = str(expert.local_path(hub.need_checkpoint(name, ckpt)))
        return getattr(hubconf, name)(ckpt=ckpt).eval()
    register()
    hub.check(name)
    import s3prl.hub

    make = getattr(s3prl.hub, name)
    return (make(ckpt=ckpt) if ckpt else make()).eval()
