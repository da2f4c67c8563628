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
    scores, gains, decided = [], [], 0.0
    for query, there in truth.items():
        miss = 1 / len(there)
        false = BETA / max(len(documents) - len(there), 1)
        for document, (value, yes) in found.get(query, {}).items():
            if document not in documents or not np.isfinite(value):
                continue
            gain = (miss if document in there else -false) / len(truth)
            scores.append(value)
            gains.append(gain)
            decided += gain if yes else 0.0
    best, threshold = _best_threshold(np.array(scores), np.array(gains))
    return {"mtwv": best, "atwv": decided, "threshold": threshold}


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
