"""``sox.Transformer``.

What: the ASV dataset does ``from sox import Transformer``; s3prl does not install that package, and
    the name is never used.
Why: a left-over import.
Since: s3prl 0.4.18.
Here: where the package is not installed, a module of that name with a class that does nothing.
Delete when: s3prl no longer imports it.
"""

from upstream.compat._modules import is_there, put


def install() -> bool:
    """Put the module on the path, unless the package is installed."""
    if is_there("sox"):
        return False
    put("sox", Transformer=type("Transformer", (), {"__doc__": "Never used."}))
    return True
