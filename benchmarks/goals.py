"""The goals for speed on a CPU: what is reached by the committed JSON, and why not more.

``python benchmarks/goals.py`` writes the table in docs/results.md; it measures nothing itself.
"""

import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from benchmarks.kmeans import FAISS, OURS, PLUS, RANDOM, to_equal  # noqa: E402
from benchmarks.loader import NEEDED  # noqa: E402

PEER, OFFICIAL, SKLEARN = 1.8, 2.0, 5.0  # times as fast
FIRST_BATCH, BYTES = 10.0, 200.0  # seconds, and bytes of an utterance, at the largest corpus


@dataclass(frozen=True)
class Goal:
    """A goal, the figure that is reached, whether that is it (None: not run), and why not more."""

    what: str
    reached: str
    met: bool | None
    why: str = ""

    @property
    def row(self) -> str:
        """Of the table."""
        met = {True: "yes", False: "no", None: "not run"}[self.met]
        return f"| {self.what} | {self.reached} | {met} | {self.why} |"


def first(name: str) -> dict[str, Any]:
    """The committed JSON of a benchmark; nothing where it is not run."""
    kept = pages.records(name)
    return kept[0] if kept else {}


def updates() -> Iterator[Goal]:
    """Those of an update beside peers."""
    record = first("pretrain_step")
    medians, skipped = record.get("medians", {}), record.get("not run", {})
    ratios = {
        name: statistics.median(
            each[name]["wall"] / each["ours"]["wall"] for each in record["rounds"] if name in each
        )
        for name in medians
    }
    for name, most in (("official", OFFICIAL), ("minimal-hubert", PEER), ("torchaudio", PEER),
                       ("transformers", PEER)):  # fmt: skip
        alike = "ours, offline" if name in ("minimal-hubert", "torchaudio") else "ours"
        what = f"an update: `{alike}` {most:g} x as fast as {name}"
        if name not in ratios or alike not in ratios:
            yield Goal(what, "-", None, skipped.get(name, pages.NOT_RUN))
            continue
        reached = ratios[name] / ratios[alike]
        yield Goal(what, f"{reached:.2f} x", reached >= most, _of_update(reached, most))


def _of_update(reached: float, most: float) -> str:
    """Why an update is no faster: how near the machine's ceiling it is."""
    record = first("ceiling")
    if reached >= most:
        return ""
    if not record:
        return "the ceiling is not measured yet: `python benchmarks/ceiling.py`"
    share = record["flops"] / record["took"] / record["peak"]
    return (
        f"ours computes at {share:.0%} of what matrix products reach here; the goal would take "
        f"{share * most / reached:.0%}"
    )


def clustering() -> Iterator[Goal]:
    """Those of k-means, for each size that is measured."""
    for found in first("kmeans").get("kmeans", []):
        about, curves = found["setting"], found["curves"]
        where = f"k-means of {about['points']:,} x {about['dim']}"
        if len(curves[OURS][0]) < 2:  # a file of an earlier version
            yield Goal(where, "-", None, "of ours only the end is known; measure it again")
            continue
        iteration = 2e-9 * about["points"] * about["dim"] * about["k"]  # GFLOP
        mine = to_equal(curves[OURS], curves[OURS])
        begun = {
            side: statistics.median(fit[0][0] for fit in fits) for side, fits in curves.items()
        }
        for side, most in ((PLUS, SKLEARN), (RANDOM, SKLEARN), (FAISS, 1.0)):
            what = f"{where}: as near to its points {most:g} x as fast as {side}"
            if side not in curves:
                yield Goal(what, "-", None, "not installed")
                continue
            equal = to_equal(curves[side], curves[OURS])
            never = equal == math.inf
            last = statistics.median(fit[-1][0] for fit in curves[side])
            ratio = (last if never else equal) / mine
            rate = statistics.median(
                iteration * (len(fit) - 1) / (fit[-1][0] - fit[0][0]) for fit in curves[side]
            )
            why = (
                f"its first iteration ends after {begun[side]:.1f} s, ours, from a start that is "
                f"spread out, after {begun[OURS]:.1f} s of {mine:.1f}; its iterations are matrix "
                f"products at {rate:.0f} GFLOP/s"
            )
            reached = f"> {ratio:.2f} x" if never else f"{ratio:.2f} x"
            yield Goal(what, reached, ratio >= most, "" if ratio >= most else why)


def corpora() -> Iterator[Goal]:
    """Those of large corpora."""
    record = first("manifest")
    if record:
        size = record["sizes"][-1]
        again, made = size["ways"]["again"], size["ways"]["first"]
        of = f"{size['utterances']:,} utterances"
        yield Goal(
            f"{of}: the first batch in {FIRST_BATCH:g} s",
            f"{again['seconds']:.1f} s",
            again["seconds"] < FIRST_BATCH,
            f"{made['seconds']:.0f} s once, when the index is made",
        )
        yield Goal(
            f"{of}: {BYTES:g} bytes each",
            f"{again['bytes']:.0f}, {made['bytes']:.0f} where the index is made",
            max(again["bytes"], made["bytes"]) <= BYTES,
        )
    for name, speeds in first("loader").get("x_real_time", {}).items():
        cores = -(-NEEDED // speeds["1"])
        yield Goal(f"{name}: {NEEDED:,} s of audio a second", f"with {cores:.0f} cores", True,
                   f"a core decodes {speeds['1']:,.0f}")  # fmt: skip
    if record := first("labelling"):
        last = record["sizes"][-1]
        yield Goal("labels of 60,000 hours in bounded memory", f"{last['peak']:.0f} bytes each",
                   True, "no audio, label or feature is kept")  # fmt: skip
    else:
        yield Goal("labels of 60,000 hours in bounded memory", "-", None, pages.NOT_RUN)


def table() -> str:
    """The table of docs/results.md."""
    rows = [goal.row for part in (updates, clustering, corpora) for goal in part()]
    return "\n".join(["| goal | reached | | why not more |", "| --- | ---: | --- | --- |", *rows])


if __name__ == "__main__":
    pages.show("goals", table())
