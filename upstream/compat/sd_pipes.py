"""Commands in the diarization task's wav.scp.

What: a line of wav.scp that ends in ``|`` is run in a shell: whoever wrote the corpus' files runs
    what he likes.
Why: so does Kaldi, where wav.scp is part of a recipe.
Since: always.
Here: such a line, and ``-`` (standard input), is refused.
Delete when: s3prl's diarization/dataset.py starts no shell.
"""

import functools
from typing import Any


def install() -> bool:
    """Look at what s3prl's KaldiData reads from wav.scp."""
    from s3prl.downstream.diarization import dataset

    kind = dataset.KaldiData
    if getattr(kind._load_wav_scp, "checks", False):
        return False
    original = kind._load_wav_scp

    @functools.wraps(original)
    def load(self: Any, wav_scp_file: str) -> dict[str, str]:
        found: dict[str, str] = original(self, wav_scp_file)
        for name, path in found.items():
            if path.rstrip().endswith("|") or path.strip() == "-":
                raise ValueError(
                    f"{wav_scp_file}: {name}: {path!r} is a command, and commands are not run; "
                    "give the path of an audio file"
                )
        return found

    load.checks = True  # type: ignore[attr-defined]
    kind._load_wav_scp = load
    return True
