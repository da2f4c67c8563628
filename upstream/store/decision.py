"""What of a frozen upstream's features is stored for a task: the one place that decides.

Asked when a suite is planned, before `mt4ssl store fill`, by the doctor, and by a runner, which has
the head at hand and tries out what it sees.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from upstream.store.options import FRAMES, OFF, StoreOptions


@dataclass(frozen=True)
class Stored:
    """What is stored, and how."""

    pooled: bool  # the mean over time; else every frame
    precision: str
    crops: int = 0  # kept ones per file that is cropped at random; 0: none
    alone: bool = False  # each utterance is encoded alone, and would differ in a batch

    @property
    def exactness(self) -> str:
        """How near what is read comes to what was computed."""
        return "exact" if self.precision == "fp32" else "near-exact"

    @property
    def deviations(self) -> dict[str, Any]:
        """By what results differ from those without a store: nothing where it is exact."""
        exact = {"precision": "fp32", "crops": 0, "alone": False}
        return {key: value for key in exact if (value := getattr(self, key)) != exact[key]}


def remarks(stored: Mapping[str, Any] | None) -> list[str]:
    """Say how the features of a result, by its record's ``store``, differ from computed ones."""
    stored, found = stored or {}, []
    if stored.get("exactness") == "near-exact":
        found.append(f"features stored in {stored.get('precision')}")
    if crops := stored.get("crops"):
        found.append(f"trained on {crops} crop{'s' * (crops != 1)} per file")
    if stored.get("alone"):
        found.append("encoded alone")
    return found


def decide(
    options: StoreOptions,
    header: Mapping[str, Any],
    means_only: bool | None = None,
    batch_dependent: bool = False,
) -> Stored | str:
    """Return what is stored, or why nothing is.

    Args:
        options: what is asked of the store.
        header: the task's ``superb:`` block.
        means_only: whether the head sees the mean over time only; None: as the task is published.
        batch_dependent: whether an utterance's features depend on the rest of its batch.
    """
    if options.mode == OFF:
        return "--store off: nothing would be stored; leave it out, or give frames"
    if not header.get("storable", True):
        return "s3prl prepares its audio in a way of its own; leave it out"
    pooled = bool(header.get("pooled")) if means_only is None else means_only
    if not pooled and options.mode != FRAMES:
        return "its head sees every frame; keep them with --store frames"
    if batch_dependent and not options.alone:
        return (
            "its features depend on the rest of the batch; --store-alone encodes each utterance "
            "alone, and says so in the results"
        )
    return Stored(
        pooled,
        "fp32" if pooled else options.precision,
        options.crops if header.get("random_crops") else 0,
        batch_dependent,
    )


def planned(
    options: StoreOptions,
    header: Mapping[str, Any],
    batch_dependent: bool,
    changed: Iterable[str] = (),
) -> Stored | None:
    """Return what is stored of a task as it is published, None for nothing, before a head is built.

    ``changed`` are the keys of the config that are not as published: a pooled task has another head
    with some, of which frames are stored.
    """
    published = decide(options, header, batch_dependent=batch_dependent)
    if isinstance(published, str):
        return None
    other_head = any(key.startswith(("downstream_expert.modelrc", "specaug")) for key in changed)
    found = decide(options, header, published.pooled and not other_head, batch_dependent)
    return published if isinstance(found, str) else found
