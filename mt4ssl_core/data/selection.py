"""A part of a corpus by the lengths of its utterances, or at random."""

from dataclasses import replace

import numpy as np

from mt4ssl_core.data.manifest import Manifest, hours_of
from mt4ssl_core.settings.selecting import Selection


def select(manifest: Manifest, selection: Selection) -> Manifest:
    """Return the utterances of a `Selection`, one at least, in the order that they have.

    As many are taken, the longest (shortest) first or in an order that depends on their ids alone,
    as have together at most the share of the audio; so a smaller share is a part of a larger one.
    The best models of a budget came of its longest utterances (arXiv 2601.20896).
    """
    cuts = manifest.cuts
    keys = {
        "longest": lambda: -cuts.samples,
        "shortest": lambda: cuts.samples,
        "random": lambda: cuts.hashes(),
    }
    order = np.argsort(keys[selection.kind](), kind="stable")
    spent = np.cumsum(cuts.samples[order])
    count = int(np.searchsorted(spent, selection.share * spent[-1] + 1e-6, "right"))
    kept = cuts.take(np.sort(order[: max(1, count)]))
    return replace(manifest, cuts=kept, hours=hours_of(kept))
