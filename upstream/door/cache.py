"""Files we keep for the user between runs: downloads and lists of files."""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mt4ssl_core.bars import MB, Bar
from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.files import atomic_path
from mt4ssl_core.files import cache_folder as folder

SCHEMES = ("http", "https", "file")
TIMEOUT = 60  # seconds without a byte


def is_url(text: str) -> bool:
    """Tell a URL that `fetch` can get from a path."""
    return urlsplit(text).scheme in SCHEMES


def fetch(url: str, refresh: bool = False) -> Path:
    """Return the local copy of ``url``, downloaded if there is none, or anew with ``refresh``.

    Raises:
        ValueError: another kind of URL, or the download failed or was cut off.
    """
    if not is_url(url):
        raise ValueError(
            f"{url}: not a URL of the kinds {', '.join(SCHEMES)}; give a path with -u mt4ssl"
        )
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder() / "download" / f"{key}-{Path(urlsplit(url).path).name}"
    if path.is_file() and not refresh:
        return path
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as source,
            atomic_path(path) as temporary,
        ):
            size = int(source.headers.get("Content-Length") or 0)
            bar = Bar(f"downloading {url}", size / MB or None, unit=" MB")
            with bar, open(temporary, "wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
                    bar.advance(len(block) / MB)
            if size and temporary.stat().st_size != size:
                raise ValueError(f"{url}: the download was cut off; try again")
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"{url}: download failed ({reason}); check the address") from error
    return path


def file_fingerprint(path: str | Path) -> str:
    """Return 16 hex digits of a checkpoint's SHA-256 (of a folder: of all files that count).

    Raises:
        ValueError: there is no checkpoint.
    """
    from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint  # imports torch

    return checkpoint_fingerprint(path)[:16]


def exists(ckpt: str | Path) -> bool:
    """Whether a checkpoint, or the Python file of FILE.py:CLASS, is there."""
    return Path(ckpt).exists() or (
        python_file.is_named(ckpt) and python_file.read_name(ckpt).path.exists()
    )


def own_name(ckpt: str | None) -> str | None:
    """Return what an encoder of the user's, FILE.py:CLASS, calls itself; None of another."""
    if not ckpt or not python_file.is_named(ckpt):
        return None
    from mt4ssl_core.checkpoints.fingerprints import own_encoder  # imports torch

    return own_encoder(ckpt)[1]


def fingerprint_of(ckpt: str | None) -> str | None:
    """Return the fingerprint of a checkpoint given as path or URL; None when there is none."""
    if not ckpt:
        return None
    local = fetch(ckpt) if is_url(ckpt) else Path(ckpt)
    return file_fingerprint(local) if exists(local) else None
