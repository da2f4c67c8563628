"""Names on s3prl's hub that are no upstreams.

What: ``s3prl.hub`` offers as upstreams what its files happen to import (classes, functions), which
    fail with obscure errors when they are asked for by -u; its ``--help`` lists modules and
    constants too. And the import of the hub warns that ESPnet is not installed.
Why: the hub is filled by star imports, of upstreams that nobody asked for, too.
Since: always.
Here: such names are taken off the hub, but for those that an upstream's hubconf.py defines, and
    ``dir`` of the hub holds upstreams only. The notice of ESPnet is left out: who asks for one of
    its upstreams is told by an error.
Delete when: s3prl's hub lists its upstreams by name.
"""

import inspect
import logging

from upstream.compat import no_code
from upstream.door.hub import OURS, defined

ESPNET = "ESPnet is not installed, cannot use espnet_hubert upstream"


def install() -> bool:
    """Take the foreign names off s3prl's hub."""
    logging.getLogger("s3prl.upstream.espnet_hubert.expert").addFilter(_is_no_notice)
    from s3prl import hub

    found = []
    for name in hub.options():
        value, known = getattr(hub, name), name in defined() or name in OURS
        foreign = inspect.isclass(value) or value is no_code.lookup
        if not known and (foreign or value.__module__.startswith("s3prl.")):
            found.append(name)
            delattr(hub, name)
    vars(hub)["__dir__"] = hub.options
    return bool(found)


def _is_no_notice(record: logging.LogRecord) -> bool:
    return record.getMessage() != ESPNET
