"""What `mt4ssl choose` is asked for; without torch, for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.probes.probe_request import MINUTES


@dataclass(frozen=True)
class ChoiceRequest:
    """The options of `mt4ssl choose`.

    ``candidates``: run folders, of which every kept checkpoint is one, and checkpoints. ``audio``:
    what is looked at without labels; None: what the runs held out. ``labels``: sources of labelled
    speech (`read_speech`); with them probes decide. ``probes``: as `mt4ssl probe` has them.
    """

    candidates: Sequence[str]
    out: str = "choice"
    audio: str | None = None
    labels: Sequence[str] = ()
    alignments: str | None = None
    probes: str | None = None
    minutes: float = MINUTES
    seed: int = 0
    device: str = "auto"
