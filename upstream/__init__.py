"""The door to s3prl: the only folder that imports it.

``upstream.register()`` makes s3prl importable on today's stack and puts our names on its hub. Then
both ``python run_downstream.py -u mt4ssl -k CKPT ...`` and ``s3prl.nn.S3PRLUpstream("mt4ssl",
path_or_url=CKPT)`` work.
"""


def register() -> list[str]:
    """Put our upstreams on ``s3prl.hub`` and return their names. Twice does no harm.

    The first call in a process imports s3prl, which takes some seconds.

    Raises:
        ValueError: s3prl or the torchaudio that belongs to this torch is not installed.
    """
    from upstream import compat
    from upstream.door import hubconf
    from upstream.door.hub import clean

    compat.install()
    import s3prl.hub as hub

    clean(hub)
    names = [name for name in vars(hubconf) if name.startswith("mt4ssl")]
    for name in names:
        setattr(hub, name, getattr(hubconf, name))
    return names
