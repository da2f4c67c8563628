"""ABX of every layer, for `mt4ssl probe`: which stretches of which utterances are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.abx import errors as abx
from analysis.abx.items import ItemFile, Stretch, triphones
from analysis.labelled_speech import alignments
from analysis.labelled_speech.speech import LabelledUtterance

NOTHING = (
    "no two phones in one context to compare; give more aligned speech of speakers that are known, "
    "or an .item file with --items"
)
LATE = 2  # frames that a stretch may end after its utterance


def cells_of(name: str, stretches: Sequence[Stretch], seed: int = 0) -> Iterator[abx.Cell]:
    """Yield the comparisons of ``abx.WITHIN`` or ``abx.ACROSS`` that some stretches allow."""
    make = abx.cells_within if name == abx.WITHIN else abx.cells_across
    return make(stretches, abx.MOST_ALIKE, seed)


def said_in(items: ItemFile, utterances: Sequence[LabelledUtterance]) -> dict[str, list[Stretch]]:
    """The stretches of an .item file, by the id of their utterance.

    Raises:
        ValueError: a file of it is not among the utterances, or is several of them.
    """
    found = alignments.match(items.stretches, [item.id for item in utterances])
    used = {id(part) for part in found.values()}
    lacking = [name for name, part in items.stretches.items() if id(part) not in used]
    if lacking:
        raise ValueError(
            f"{items.path}: {len(lacking)} of its {len(items.stretches)} files are not in --data, "
            f"first {lacking[0]}; give the audio that it is of, or leave its lines out"
        )
    return found


def stretches_of(
    utterances: Sequence[LabelledUtterance], given: Mapping[str, list[Stretch]] | None
) -> list[tuple[str, Stretch]]:
    """Id and stretch of all that is compared: those ``given``, else triphones of alignments."""
    return [
        (item.id, stretch)
        for item in utterances
        for stretch in (triphones(item) if given is None else given.get(item.id, []))
    ]


def errors(
    name: str,
    said: Sequence[tuple[str, Stretch]],
    frames: Mapping[str, np.ndarray],
    distance: str,
    seed: int,
    advance: Callable[[], Any] = lambda: None,
) -> list[abx.Abx]:
    """ABX of each layer of ``frames``, (L, T, D) by utterance.

    Raises:
        ValueError: a stretch that ends after its utterance, or nothing to compare.
    """
    kept = [(key, _inside(stretch, frames[key].shape[1], key)) for key, stretch in said]
    kept = [(key, stretch) for key, stretch in kept if stretch.first < stretch.stop]
    stretches = [stretch for _, stretch in kept]
    cells = list(cells_of(name, stretches, seed))
    if not cells:
        raise ValueError(NOTHING)
    names = list(dict.fromkeys(key for key, _ in kept))
    begins = np.cumsum([0, *(frames[key].shape[1] for key in names)])
    offsets = dict(zip(names, begins[:-1].tolist(), strict=True))
    places, found = np.array([offsets[key] for key, _ in kept]), []
    for layer in range(len(frames[names[0]])):
        whole = np.concatenate([frames[key][layer] for key in names])
        found.append(abx.score(whole, places, stretches, cells, distance))
        advance()
    return found


def _inside(stretch: Stretch, frames: int, id: str) -> Stretch:
    """A stretch without the frame or two that an encoder does not make at the end."""
    if stretch.stop > frames + LATE:
        raise ValueError(
            f"{id}: {stretch.phone} ends at frame {stretch.stop} of {frames}; the times are of "
            "other audio: correct them"
        )
    return stretch._replace(stop=min(stretch.stop, frames))
