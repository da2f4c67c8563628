"""What `mt4ssl convergence` is asked for; without torch, for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.probes.probe_request import MINUTES

SEEDS, JOBS = 3, 1  # of a study


@dataclass(frozen=True)
class Scoring:
    """How checkpoints are scored: the options of `mt4ssl convergence`.

    probe_data, alignments, items, probes, layer, probe_minutes, probe_seed: labelled speech and
    what is probed in it (`analysis.probes.probing`). superb, roots, set, allow_partial: SUPERB
    tasks to run on every checkpoint, as for `mt4ssl superb run`; what is in RUN/superb/update_N is
    read in any case. scores: a CSV of other numbers. target: METRIC=VALUE words.
    """

    probe_data: Sequence[str] = ()
    alignments: str | None = None
    probes: str = "phone_ctc,keyword,speaker"
    layer: str = "auto"
    probe_minutes: float = MINUTES
    probe_seed: int = 0
    superb: str | None = None
    roots: str | None = None
    set: Sequence[str] = ()
    allow_partial: bool = False
    scores: str | None = None
    target: Sequence[str] = ()
    items: str | None = None
