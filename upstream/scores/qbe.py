"""Term weighted values of query-by-example search, as QUESST 2014 is scored.

s3prl leaves this to a Java tool that comes with the database. What is computed here, from NIST's
2006 spoken term detection plan in MediaEval's form, where a trial is a whole recording: with

    P_miss(query) = missed recordings of the query / recordings that have it
    P_fa(query)   = false recordings found / recordings that do not have it
    TWV = 1 - mean over queries (P_miss + beta P_fa),  beta = C_fa / C_miss (1 / P_target - 1)

ATWV takes the YES decisions of the search, MTWV the best threshold on its scores. Queries of the
list that occur nowhere do not count. As in the official tool with a default score below all others,
a query or recording that was not searched was not found: SUPERB searches English alone, the ground
truth has all languages, so that a perfect English search scores 138/560 or so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from upstream.corpora.qbe import ground_truth, truth_folder
from upstream.corpora.texts import read_xml

C_MISS, C_FA, P_TARGET = 100.0, 1.0, 0.0008  # MediaEval's scoring script, QUESST
BETA = C_FA / C_MISS * (1 / P_TARGET - 1)  # 12.49
FOUND = "benchmark.stdlist.xml"  # what s3prl's expert writes
_AGAIN = "evaluate again"

Scores = dict[str, dict[str, tuple[float, bool]]]  # query -> recording -> score, decided for YES


def score(
    expdir: Path, config: dict[str, Any], split: str, values: dict[str, float]
) -> dict[str, float]:
    """Return mtwv, atwv (fractions) and the threshold of the first.

    Raises:
        ValueError: the ground truth or the search's result cannot be read; names the file.
    """
    root = Path(config["downstream_expert"]["datarc"]["dataset_root"])
    truth, documents = ground_truth(truth_folder(root, split))
    return term_weighted_values(detections(expdir / FOUND), truth, documents)


def detections(path: Path) -> Scores:
    """Read the scores and decisions of a search.

    Raises:
        ValueError: the file is not there or not in its format.
    """
    found: Scores = {}
    for listed in read_xml(path, _AGAIN).iter("detected_termlist"):
        rows = found.setdefault(listed.get("termid", ""), {})
        for term in listed.iter("term"):
            try:
                value = float(term.attrib["score"])
                rows[term.attrib["file"]] = value, term.attrib["decision"] == "YES"
            except (KeyError, ValueError) as error:
                raise ValueError(f"{path}: a <term> without score ({error}); {_AGAIN}") from error
    return found


def term_weighted_values(
    found: Scores, truth: dict[str, set[str]], documents: set[str]
) -> dict[str, float]:
    """Return mtwv, atwv and the threshold of the first.

    Where nothing is worth finding, mtwv is 0 and its threshold the highest score there is. A score
    that is no number (a search that failed) is below every threshold.
    """
    gains = [*_gains(found, truth, documents)]
    share = 1 / len(truth) if truth else 0.0
    decided = sum((gain * share for _, _, yes, gain in gains if yes), 0.0)
    scores = np.array([value for _, value, _, _ in gains])
    best, threshold = _best_threshold(scores, np.array([gain * share for *_, gain in gains]))
    return {"mtwv": best, "atwv": decided, "threshold": threshold}


def values_of_queries(
    found: Scores, truth: dict[str, set[str]], documents: set[str], metric: str
) -> dict[str, float]:
    """Return what each query adds to mtwv or atwv, whose mean over queries that is."""
    best = term_weighted_values(found, truth, documents)
    worth = dict.fromkeys(truth, 0.0)
    for query, value, yes, gain in _gains(found, truth, documents):
        taken = yes if metric == "atwv" else best["mtwv"] > 0 and value >= best["threshold"]
        worth[query] += gain if taken else 0.0
    return worth


def _gains(
    found: Scores, truth: dict[str, set[str]], documents: set[str]
) -> Iterator[tuple[str, float, bool, float]]:
    """Yield query, score, decision, and what finding this recording adds to the query's value."""
    for query, there in truth.items():
        false = BETA / max(len(documents) - len(there), 1)
        for document, (value, yes) in found.get(query, {}).items():
            if document in documents and np.isfinite(value):
                yield query, value, yes, 1 / len(there) if document in there else -false


def _best_threshold(scores: np.ndarray, gains: np.ndarray) -> tuple[float, float]:
    """Return the most that can be gained by taking all (N,) with at least some score."""
    if not len(scores):
        return 0.0, 0.0
    order = np.argsort(-scores, kind="stable")
    ordered, total = scores[order], np.cumsum(gains[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of equal scores
    best = int(np.argmax(total[last]))
    if total[last[best]] <= 0:
        return 0.0, float(ordered[0])
    return float(total[last[best]]), float(ordered[last[best]])
