"""Names of models on Hugging Face's hub: ORG/NAME or ORG/NAME@REVISION, and no path here."""

import re
from pathlib import Path

NAME = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")
_FILES = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".py", ".yaml", ".json", ".npy", ".km"}


def is_name(source: str | Path) -> bool:
    """Whether ``source`` is looked for on the hub: of that form, and no path here."""
    named = NAME.fullmatch(str(source))
    if not named or Path(source).suffix in _FILES:
        return False
    return not Path(named[1]).exists()  # or it is a mistyped path
