"""Which tasks' features are in the store, and what of that makes a result another one."""

from collections.abc import Iterable, Mapping
from typing import Any

from upstream.store import options as store_options
from upstream.store.options import CROPPED, NEVER, StoreOptions


def is_stored(options: StoreOptions, header: Mapping[str, Any], batch_dependent: bool) -> bool:
    """Whether an upstream's features for a task, as it is published, are stored.

    Args:
        options: what is asked of the store.
        header: the task's ``superb:`` block.
        batch_dependent: whether an utterance's features depend on the rest of its batch.
    """
    if options.mode == store_options.OFF or header["code"] in NEVER:
        return False
    if batch_dependent and not options.alone:
        return False
    return bool(header.get("pooled")) or options.mode == store_options.FRAMES


def deviations(
    options: StoreOptions,
    header: Mapping[str, Any],
    batch_dependent: bool,
    changed: Iterable[str] = (),
) -> dict[str, Any]:
    """Return by what a store changes a task's results: nothing where it is exact.

    ``changed`` are the keys of the config that are not as published: a pooled task has another head
    with some, of which frames are stored.
    """
    if not is_stored(options, header, batch_dependent):
        return {}
    found: dict[str, Any] = {}
    other_head = any(key.startswith(("downstream_expert.modelrc", "specaug")) for key in changed)
    means = header.get("pooled") and not other_head
    if options.mode == store_options.FRAMES and options.precision != "fp32" and not means:
        found["precision"] = options.precision
    if options.crops and header["code"] in CROPPED:
        found["crops"] = options.crops
    if batch_dependent:
        found["alone"] = True
    return found
