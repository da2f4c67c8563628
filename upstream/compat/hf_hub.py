"""Names that s3prl's runner imports from huggingface_hub.

What: ``from huggingface_hub import HfApi, HfFolder, Repository`` fails in s3prl's runner.
Why: both were removed; token storage and git repositories work differently now.
Since: huggingface_hub 1.0.
Here: two names that raise when used. Only ``--hub huggingface`` and ``--push_to_hf_hub`` would use
    them, and these ask for more that is gone, so our command refuses both.
Delete when: s3prl no longer imports them.
"""

from typing import Any

import huggingface_hub


class _Gone:
    def __init__(self, *_: Any, **__: Any) -> None:
        raise ValueError(
            "this function of huggingface_hub was removed in 1.0; download the model and give its "
            "path with -k"
        )

    save_token = get_token = __init__


def install() -> bool:
    """Add the names that this huggingface_hub lacks."""
    missing = [name for name in ("HfFolder", "Repository") if not hasattr(huggingface_hub, name)]
    for name in missing:
        setattr(huggingface_hub, name, type(name, (_Gone,), {"__doc__": "Removed in 1.0."}))
    return bool(missing)
