"""What settings of a run cost an update of a BASE model, or save: compiled, checkpointed, 4 masks.

``python benchmarks/pretrain_options.py`` writes benchmarks/results/pretrain_options_<machine>.json
and its table in docs/results.md. How it measures is said in pretrain_step.py beside it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import pages, pretrain_step

COMMITTED = pages.record_path("pretrain_options", "epyc_2core")
SETTINGS = ("ours", "ours, compiled", "ours, checkpointed", "ours, 4 masks")


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    return pretrain_step.table(COMMITTED, "pretrain_options")


if __name__ == "__main__":
    sys.exit(pretrain_step.report(pretrain_step.parse(SETTINGS), "pretrain_options", COMMITTED))
