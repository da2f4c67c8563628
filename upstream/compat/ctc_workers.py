"""The number of loader workers of s3prl's CTC tasks (PR, SF, OOD-ASR).

What: ``load_dataset`` takes ``num_workers`` OUT of the config it is given: the first loader gets
    the configured number, every later one 12, and the config saved in the checkpoints lacks the
    key.
Why: ``pop`` is called on the caller's dict.
Since: s3prl 0.4.18.
Here: it gets a copy.
Delete when: s3prl's ctc/data.py no longer pops from its argument.
"""

import functools
from typing import Any

from upstream.compat._modules import replace
from upstream.compat.ctc_corpus import EXPERT


def install() -> bool:
    """Wrap load_dataset where it lives and where the expert has imported it."""
    from s3prl.downstream.ctc import data

    if getattr(data.load_dataset, "copies", False):
        return False
    original = data.load_dataset

    @functools.wraps(original)
    def load_dataset(split: str, tokenizer: Any, corpus: dict[str, Any]) -> Any:
        return original(split, tokenizer, dict(corpus))

    load_dataset.copies = True  # type: ignore[attr-defined]
    replace("load_dataset", load_dataset, data.__name__, EXPERT)
    return True
