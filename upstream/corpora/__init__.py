"""Are the corpora there and whole, and what s3prl needs made from them.

One module per task with ``survey(root) -> Survey`` and, where s3prl needs files that the corpus
does not bring, ``prepare(root)``, which makes them and does nothing when they are there.

They share `survey` (what is found), `audio_checks`, `texts`, `prepared` (files that are made),
`kaldi` with `kaldi_check` and `rttm`, `librispeech`, `voxceleb`, and `punctuation`. `minisuperb`
draws what another protocol trains on.
"""

import importlib
from pathlib import Path
from typing import Any

from upstream.corpora.survey import MINI, Survey, base, compare_counts, is_mini, kind

__all__ = ["MINI", "Survey", "base", "compare_counts", "is_mini", "kind", "prepare", "survey"]


def survey(code: str, root: str | Path, header: dict[str, Any]) -> Survey:
    """Count what is under ``root`` and list everything that is wrong with it."""
    folder = base(root, code)
    if not folder.is_dir():
        what = f"{header['corpus']['name']} ({', '.join(header['corpus']['source'])})"
        return Survey({}, [f"{root}: no such folder; {code} needs {what}"])
    return _module(code).survey(folder)


def prepare(code: str, root: str | Path) -> None:
    """Make what s3prl needs from the corpus under ``root``, unless it is there.

    Raises:
        ValueError: it cannot be made; names what is missing, its source and where to put it.
    """
    if make := getattr(_module(code), "prepare", None):
        make(base(root, code))


def _module(code: str) -> Any:
    return importlib.import_module(f"{__name__}.{code}")
