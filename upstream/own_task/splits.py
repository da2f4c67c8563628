"""Which rows train, which choose and which test, where the table does not say.

Without a column ``split``, a tenth of the speakers tests, another tenth is dev, and all others
train; without a column ``speaker``, so do files, of each label apart. Where the column has no dev,
a tenth of what trains becomes it, in the same way. Which tenth follows from the SHA-256 of the
speaker's or file's name, so that it is the same everywhere, and every time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from upstream.own_task.table import DEV, TEST, TRAIN, Row

GIVEN = "as in the table"


def fill(rows: Sequence[Row], kind: str) -> tuple[list[Row], str]:
    """Return the rows with a split each, and in words where these are from."""
    there = {row.split for row in rows}
    if DEV in there:
        return list(rows), GIVEN
    wanted = [DEV] if there & {TRAIN, TEST} else [TEST, DEV]
    open_rows = [row for row in rows if row.split in ("", TRAIN)]
    units, how = _units(open_rows, kind)
    splits: dict[str, str] = {}
    for names in _groups(open_rows, units, by_value=how == "file" and kind == "classify"):
        splits |= _shared_out(names, wanted, 2 if kind == "verify" else 1)
    of_row = dict(zip(map(id, open_rows), units, strict=True))
    found = [
        replace(row, split=splits[of_row[id(row)]]) if id(row) in of_row else row for row in rows
    ]
    return found, f"{' and '.join(wanted)} made: a tenth each, by {how}"


def _units(rows: Sequence[Row], kind: str) -> tuple[list[str], str]:
    """Return for each row the name of what stays together, and what that is."""
    if kind == "verify":
        return [row.value for row in rows], "speaker"
    if rows and all(row.speaker for row in rows):
        return [row.speaker for row in rows], "speaker"
    return [row.name for row in rows], "file"


def _groups(rows: Sequence[Row], units: Sequence[str], by_value: bool) -> list[list[str]]:
    """Return the units that are shared out together: all, or those of a label."""
    first: Mapping[str, Row] = dict(zip(reversed(units), reversed(rows), strict=True))
    groups = defaultdict[str, list[str]](list)
    for unit in dict.fromkeys(units):
        groups[first[unit].value if by_value else ""].append(unit)
    return list(groups.values())


def _shared_out(units: Sequence[str], wanted: Sequence[str], least: int) -> dict[str, str]:
    """Give a tenth of the units to each wanted split, all others to train; too few: all train."""
    order = sorted(units, key=lambda unit: hashlib.sha256(unit.encode()).hexdigest())
    each = max(least, round(len(order) / 10))
    if len(order) < each * len(wanted) + least:
        return dict.fromkeys(order, TRAIN)
    taken = [split for split in wanted for _ in range(each)]
    return dict(zip(order, taken + [TRAIN] * (len(order) - len(taken)), strict=True))
