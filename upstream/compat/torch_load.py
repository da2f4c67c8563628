"""s3prl's own checkpoints under ``torch.load(weights_only=True)``.

What: resuming and evaluating fail with ``UnpicklingError: ... argparse.Namespace``: s3prl stores
    its arguments in its checkpoints.
Why: torch loads only tensors and plain containers by default.
Since: torch 2.6.
Here: argparse.Namespace, a class without behaviour, is added to torch's safe list. Nothing else is:
    a checkpoint that names any other class is still refused.
Delete when: s3prl stores its arguments as a dict.
"""

import argparse

import torch


def install() -> bool:
    """Add argparse.Namespace to the classes that ``torch.load`` may build."""
    if argparse.Namespace in torch.serialization.get_safe_globals():
        return False
    torch.serialization.add_safe_globals([argparse.Namespace])
    return True
