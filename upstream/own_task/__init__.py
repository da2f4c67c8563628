"""A task of one's own: a CSV of clips, and SUPERB's heads trained on it through s3prl's runner.

In: data.csv with the columns ``path``, ``split`` (optional) and what is to be learned: ``label``,
``text`` or ``speaker``. Out: experts that s3prl's runner takes as if they were its own
(`register`). Which head goes with which kind is in downstream_configs/own/KIND.yaml.
"""

import importlib
import sys

PREFIX = "own_"  # of the names of our experts, where s3prl has its folders


def register(downstream: str) -> None:
    """Put our expert of this name where s3prl's runner looks for its own; others are left alone."""
    if downstream.startswith(PREFIX):
        ours = f"{__name__}.{downstream.removeprefix(PREFIX)}"
        sys.modules[f"s3prl.downstream.{downstream}.expert"] = importlib.import_module(ours)
