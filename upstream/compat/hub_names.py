"""Names on s3prl's hub that are no upstreams.

What: ``s3prl.hub`` offers as upstreams what its files happen to import (classes, functions), which
    fail with obscure errors when they are asked for by -u.
Why: the hub is filled by star imports.
Since: always.
Here: such names are taken off the hub, but for those that an upstream's hubconf.py defines.
Delete when: s3prl's hub lists its upstreams by name.
"""

import inspect

from upstream.compat import no_code
from upstream.door.hub import OURS, defined


def install() -> bool:
    """Take the foreign names off s3prl's hub."""
    from s3prl import hub

    found = []
    for name in hub.options():
        value, known = getattr(hub, name), name in defined() or name in OURS
        foreign = inspect.isclass(value) or value is no_code.lookup
        if not known and (foreign or value.__module__.startswith("s3prl.")):
            found.append(name)
            delattr(hub, name)
    return bool(found)
