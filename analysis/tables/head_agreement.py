"""How alike models are ranked by other heads and by the official ones (arXiv 2306.00452)."""

from collections.abc import Sequence

import pandas as pd

from analysis.records import score as results
from analysis.records.score import Score

FEWEST = 3  # models of which a rank correlation says anything


def told(shown: Sequence[Score], every: Sequence[Score]) -> list[str]:
    """Return a line for each kind of other heads among the scores that are shown.

    ``every``: all scores there are, among which are those of the official heads.
    """
    lines = []
    for heads in dict.fromkeys(s.setting.heads for s in shown if s.setting.heads):
        mine = [score for score in shown if score.setting.heads == heads]
        found = []
        for name in dict.fromkeys(map(_name, mine)):
            pairs = _pairs([score for score in mine if _name(score) == name], every)
            if len(pairs) >= FEWEST:
                ranks = pairs["official"].corr(pairs["other"], method="spearman")
                found.append(f"{name} {ranks:.2f} ({len(pairs)} models)")
        if found:
            what = f"Rank correlation (Spearman) of {heads} with official heads"
            lines.append(f"{what}: {', '.join(found)}.")
    return lines


def _pairs(mine: Sequence[Score], every: Sequence[Score]) -> pd.DataFrame:
    """Return the models that have both, with the scores of both."""
    official = {
        (score.model, score.setting.corpus): score.value
        for score in every
        if _name(score) == _name(mine[0])
        and not score.setting.heads
        and score.setting.state != results.CHANGED
        and not score.setting.protocol
    }
    found = []
    for score in mine:
        model = score.model.removesuffix(f" ({score.setting.heads} heads)")
        if (model, score.setting.corpus) in official:
            found.append((official[model, score.setting.corpus], score.value))
    return pd.DataFrame(found, columns=["official", "other"])


def _name(score: Score) -> str:
    return f"{score.task}/{results.spoken(score.metric, score.setting.stage)}"
