"""What `mt4ssl probe` is asked for; without torch, for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.abx.distances import DISTANCES

MINUTES = 20.0  # of speech to train a probe on, and to test it on


def probe_names(text: str) -> list[str]:
    """Return the names in ``phone,keyword``, each once.

    Raises:
        ValueError: there is none.
    """
    names = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not names:
        raise ValueError(f"--probes {text!r}: no name in it; give some, such as phone,keyword")
    return names


@dataclass(frozen=True)
class ProbeRequest:
    """The options of `mt4ssl probe`.

    ``data``: sources of labelled speech (`read_speech`); ``probes``: names with commas,
    None for all that the labels allow; ``compare``: a checkpoint or upstream whose layers are
    compared with these (CKA); ``store_dir``: keep and read features in this store. ``items``: an
    .item file with what ABX compares, instead of triphones; ``distance``: of frames, in ABX.
    """

    data: Sequence[str]
    out: str
    ckpt: str | None = None
    upstream: str = "mt4ssl"
    alignments: str | None = None
    probes: str | None = None
    minutes: float = MINUTES
    clusters: int = 100
    compare: str | None = None
    seed: int = 0
    device: str = "auto"
    store_dir: str | None = None
    store_gb: float | None = None
    items: str | None = None
    distance: str = DISTANCES[0]
