"""The names that s3prl knows us by."""

from typing import Any

from upstream.door.expert import UpstreamExpert as _Expert
from upstream.door.expert import untrained as _untrained
from upstream.door.hub import need_checkpoint as _need_checkpoint


def mt4ssl(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> _Expert:
    """Return the encoder of ``ckpt``: path or URL of our, a fairseq or an exported checkpoint; by
    default the model that comes with the package.
    """
    return _Expert(_need_checkpoint("mt4ssl", ckpt), refresh=refresh, **kwargs)


def mt4ssl_local(ckpt: str | None = None, **kwargs: Any) -> _Expert:
    """Return the encoder of the file or exported folder ``ckpt``."""
    return _Expert(_need_checkpoint("mt4ssl_local", ckpt), **kwargs)


def mt4ssl_url(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> _Expert:
    """Return the encoder at a URL (http, https, file), downloaded once unless ``refresh``."""
    return _Expert(_need_checkpoint("mt4ssl_url", ckpt), refresh=refresh, **kwargs)


def mt4ssl_untrained(ckpt: str | None = None, refresh: bool = False, **kwargs: Any) -> _Expert:
    """Return a control: the architecture of ``ckpt`` with random weights, always the same."""
    return _untrained(_need_checkpoint("mt4ssl_untrained", ckpt), refresh=refresh, **kwargs)
