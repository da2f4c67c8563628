"""Models by their name on Hugging Face's hub, ORG/NAME or ORG/NAME@REVISION, and its cache folders.

What is in the cache is taken from there, so that a name means the same model from day to day; what
is not is downloaded: settings first, and weights only of a model that can be read. Code of a
model's own is never downloaded.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mt4ssl_core import shipped
from mt4ssl_core.files import read_json, user_path
from mt4ssl_core.settings.hub_names import is_name

CACHED = re.compile(r"models--(.+?)--(.+)")  # models--ORG--NAME/snapshots/REVISION
_SETTINGS = ["config.json", "preprocessor_config.json", "processor_config.json"]
_SETTINGS += ["vocab.json", "added_tokens.json", "tokenizer_config.json"]  # of a recogniser
_WEIGHTS = {"model": "safetensors", "pytorch_model": "bin"}  # the first kind that is there
TIMEOUT = 30.0  # seconds, for the hub to say what a model consists of


def local(source: str | Path) -> Path:
    """Return the folder or file that ``source`` stands for.

    That of a path is itself, or, of a model's folder in the hub's cache, the snapshot in it; that
    of a model that comes with the package is its folder there; that of a name on the hub is its
    snapshot in the cache, where it is downloaded to if need be.

    Raises:
        ValueError: the name is not on the hub, gated, of a model that cannot be read, or cannot be
            downloaded; nearly that of a model that comes with the package; or a cache folder
            without a snapshot.
    """
    path = user_path(source)
    if path.exists():
        return _snapshot(path) if CACHED.fullmatch(path.name) and path.is_dir() else path
    if (ours := shipped.path(source)) is not None:
        return ours
    if not is_name(source):
        shipped.check_spelling(source)
        return path
    name, _, revision = str(source).partition("@")
    return _fetched(name, revision or "main")


def origin(path: str | Path | None) -> str | None:
    """Return ORG/NAME@REVISION of a snapshot in the hub's cache; None for any other path."""
    parts = Path(path or "").parts
    for model, snapshots, revision in zip(parts, parts[1:], parts[2:], strict=False):
        if snapshots == "snapshots" and (found := CACHED.fullmatch(model)):
            return f"{'/'.join(found.groups())}@{revision}"
    return None


def _snapshot(folder: Path, revision: str = "main") -> Path:
    """The snapshot of a revision in a model's folder of the cache."""
    ref = folder / "refs" / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    if (path := folder / "snapshots" / commit).is_dir():
        return path
    there = sorted(entry.name for entry in folder.glob("snapshots/*"))
    if len(there) == 1 and revision == "main":
        return folder / "snapshots" / there[0]
    raise ValueError(
        f"{folder}: no snapshot of {revision} in this cache folder; give one of its snapshots "
        f"({', '.join(there[:3]) or 'there is none: download it again'})"
    )


def _fetched(name: str, revision: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError:
        raise ValueError(
            f"{name}: no such file or folder; to take a model of that name from Hugging Face's "
            'hub, install its client with pip install "mt4ssl[hf]"'
        ) from None
    kept = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    if (path := _kept(kept, revision)) is not None:
        return path
    with _explained(name, revision):
        about = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=TIMEOUT)
        wanted = _wanted(name, [file.rfilename for file in about.siblings or []])
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=_SETTINGS
        )
        _check(name, read_json(Path(folder) / _SETTINGS[0]))
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=[*_SETTINGS, *wanted]
            )
        )


def _kept(folder: Path, revision: str) -> Path | None:
    """The snapshot in the cache, if all of its weights are there."""
    from mt4ssl_core.checkpoints.foreign.checkpoint_files import weight_files  # imports torch

    try:
        path = _snapshot(folder, revision)
        weight_files(path)
    except ValueError:
        return None
    return path if (path / _SETTINGS[0]).is_file() else None


def _wanted(name: str, files: Iterable[str]) -> list[str]:
    """The files of weights to download: safetensors, or, where there are none, pickled ones."""
    there = set(files)
    if _SETTINGS[0] not in there:
        raise ValueError(f"{name}: no config.json on the hub; give a model in transformers' form")
    for stem, suffix in _WEIGHTS.items():
        if f"{stem}.{suffix}" in there:
            return [f"{stem}.{suffix}"]
        index = f"{stem}.{suffix}.index.json"
        if index in there:
            return [index, f"{stem}-*.{suffix}"]
    raise ValueError(
        f"{name}: has neither model.safetensors nor pytorch_model.bin on the hub; download the "
        "file that holds its weights and give that"
    )


def _check(name: str, settings: Any) -> None:
    """Refuse a model that could not be read, before its weights are downloaded."""
    from mt4ssl_core.checkpoints.foreign import huggingface  # imports torch
    from mt4ssl_core.checkpoints.foreign.foreign_settings import ForeignSettings, mapping

    options = ForeignSettings(mapping(settings), Path(name) / _SETTINGS[0])
    huggingface.check_no_code(options)
    huggingface.check_model_type(options)


@contextmanager
def _explained(name: str, revision: str) -> Iterator[None]:
    """Raise what goes wrong at the hub as ValueError that says what to do."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{name}"
    download = name if revision == "main" else f"{name} --revision {revision}"
    try:
        yield
    except errors.GatedRepoError:
        raise ValueError(
            f"{name}: gated: accept its terms at {page}, then log in with `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ValueError(
            f"{name}: neither a file or folder here nor a model on Hugging Face's hub, unless a "
            "private one; correct it, or log in with `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise ValueError(
            f"{name}: no revision {revision!r} on the hub; give another, as in {page}/commits/main"
        ) from None
    except ValueError:
        raise
    except Exception as error:  # no network, a proxy, a full disk: as its client says it
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{name}: neither a file or folder here nor to be had from Hugging Face's hub "
            f"({reason}); where there is network, `hf download {download}`, then give the folder "
            "that it prints"
        ) from None
