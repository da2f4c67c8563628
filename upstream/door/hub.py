"""An upstream by its name, without s3prl's runner."""

import ast
import difflib
import functools
import importlib.util
import sys
from collections.abc import Collection
from pathlib import Path

from mt4ssl_core import shipped
from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.foreign import hub_models
from upstream.door import cache

OURS = ("mt4ssl", "mt4ssl_local", "mt4ssl_url", "mt4ssl_untrained")
SHIPPED = ("mt4ssl", "mt4ssl_untrained")  # without a checkpoint: the model of the package


def own(upstream: str | None, ckpt: str | None) -> tuple[str | None, str | None]:
    """Return the upstream and the checkpoint that a user named.

    FILE.py:CLASS in the place of either is a checkpoint of ours, and may run from then on. A name
    on Hugging Face's hub becomes the path of its snapshot, downloaded if need be.

    Raises:
        ValueError: there is no such file, or it is given with a checkpoint; no such model on the
            hub, or one that cannot be read.
    """
    if upstream and python_file.is_named(upstream):
        if ckpt:
            raise ValueError(
                f"-u {upstream}: its class is made without a checkpoint; leave {ckpt} out, and let "
                "the file itself read its weights"
            )
        upstream, ckpt = "mt4ssl", upstream
    if not ckpt:
        return upstream, ckpt
    if python_file.is_named(ckpt):
        return upstream, python_file.of_user(ckpt)
    ours = upstream is None or upstream in OURS
    return upstream, str(hub_models.local(ckpt)) if ours and not cache.is_url(ckpt) else ckpt


def named(upstream: str | None, ckpt: str | None) -> tuple[str | None, str | None]:
    """`own`, of a user who scores a model: `SHIPPED` without a checkpoint have the one that comes
    with the package, if it has one.
    """
    upstream, ckpt = own(upstream, ckpt)
    if upstream in SHIPPED and not ckpt and (path := shipped.path(shipped.DEFAULT)):
        ckpt = str(path)
    return upstream, ckpt


def need_checkpoint(name: str, ckpt: str | None) -> str:
    """Return ``ckpt``, or what `named` takes instead.

    Raises:
        ValueError: it is missing; says how to give one.
    """
    if found := ckpt or named(name, None)[1]:
        return str(found)
    why = ", since this copy of mt4ssl comes without a model" if name in SHIPPED else ""
    raise ValueError(
        f"-u {name}: needs a checkpoint{why}; give one with -k CKPT (of `mt4ssl pretrain`, a "
        "fairseq .pt or a folder of `mt4ssl export`)"
    )


def check(name: str) -> None:
    """See that a name is on s3prl's hub, once `upstream.register` has been called.

    Raises:
        ValueError: it is not; names the nearest.
    """
    from s3prl import hub

    _refuse(name, hub.options())


def check_quickly(name: str) -> None:
    """`check`, without importing s3prl, and before ours are on its hub, too."""
    if "s3prl.hub" in sys.modules and name not in OURS:
        check(name)
    elif known := defined():
        _refuse(name, {*OURS, *known})


@functools.cache
def defined() -> frozenset[str]:
    """Return the names that s3prl's upstreams give to its hub; none where it is not found."""
    spec = importlib.util.find_spec("s3prl")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = set()
    for path in (path for folder in folders for path in Path(folder).rglob("hubconf.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.ImportFrom) and str(node.module).endswith("hubconf"):
                found |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Assign):
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(name for name in found if not name.startswith("_"))


def _refuse(name: str, known: Collection[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        remedy = f". Did you mean {near[0]}?" if near else "; give mt4ssl with -k CKPT, or fbank"
        raise ValueError(f"-u {name}: no such upstream on s3prl's hub{remedy}")
