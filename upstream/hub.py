"""An upstream by its name, without s3prl's runner."""

import difflib
from typing import Any

from upstream import expert, hubconf


def check(name: str) -> None:
    """See that a name is on s3prl's hub, once `upstream.register` has been called.

    Raises:
        ValueError: it is not; names the nearest.
    """
    from s3prl import hub

    names = hub.options()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        remedy = f". Did you mean {near[0]}?" if near else "; give mt4ssl with -k CKPT, or fbank"
        raise ValueError(f"-u {name}: no such upstream on s3prl's hub{remedy}")


def load(name: str, ckpt: str | None = None) -> Any:
    """Return an upstream in eval mode; ours does not need s3prl.

    Raises:
        ValueError: no such upstream, or no checkpoint there.
    """
    if name.startswith("mt4ssl") and hasattr(hubconf, name):
        ckpt = str(expert.local_path(expert.need_checkpoint(name, ckpt)))
        return getattr(hubconf, name)(ckpt=ckpt).eval()
    import upstream

    upstream.register()
    check(name)
    import s3prl.hub

    make = getattr(s3prl.hub, name)
    return (make(ckpt=ckpt) if ckpt else make()).eval()
