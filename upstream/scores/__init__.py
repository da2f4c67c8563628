"""Scores that s3prl leaves to shell scripts, computed from the files its experts write.

One module per task with ``score(expdir, config, split, values) -> dict[str, float]``: the values
that s3prl reported for the split come in, further ones go out.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any


def score(
    code: str, expdir: str | Path, config: dict[str, Any], split: str, values: dict[str, float]
) -> dict[str, float]:
    """Return ``values`` and what the module of task ``code``, if there is one, adds to them."""
    if importlib.util.find_spec(f"{__name__}.{code}") is None:
        return dict(values)
    module = importlib.import_module(f"{__name__}.{code}")
    return {**values, **module.score(Path(expdir), config, split, dict(values))}
