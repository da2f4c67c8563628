"""Labelled speech for probes: the utterances of all sources, with their alignments."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from analysis.labelled_speech import alignment_files, alignments
from analysis.labelled_speech.alignments import Alignment
from analysis.labelled_speech.sources import TEST, TRAIN, LabelledUtterance, read_source
from mt4ssl_core.files import user_path

__all__ = ["TEST", "TRAIN", "LabelledUtterance", "read_speech", "speech_fingerprint"]
_TIERS = {  # that probes use, and what becomes of labels that overlap
    alignments.PHONES: "frames with two labels have none",
    alignments.WORDS: "taken as they are",
}


def read_speech(
    sources: Iterable[str | Path],
    aligned: str | Path | None = None,
    told: list[str] | None = None,
) -> list[LabelledUtterance]:
    """Return the utterances of some sources, with ids and speakers that begin with the source.

    ``aligned``: a file or folder of alignments (`alignment_files.read`) of all of them.
    ``told`` gets a line on every kind of fault: audio that cannot be read is left out, and so is a
    tier that is broken or of other audio, from that utterance alone. None: audio that cannot be
    read is refused.

    Raises:
        ValueError: nothing there, a broken table, a file twice, no utterance with an alignment.
    """
    names = _names([user_path(source) for source in sources])
    found = {source: _named(name, source, read_source(source)) for source, name in names.items()}
    if not found:
        raise ValueError("no data to probe with; give --data SOURCE, such as a table index.csv")
    if aligned is not None:
        found = _aligned(found, alignment_files.read(user_path(aligned)), told)
    once: dict[str, LabelledUtterance] = {}
    for source, utterances in found.items():
        for utterance in utterances:
            if once.setdefault(utterance.id, utterance) is not utterance:
                raise ValueError(f"{source}: {utterance.id} twice; give each file once")
    usable = _readable(list(once.values()), told)
    fitting = [_fitting(item) for item in usable]
    if told is not None:
        told += _alignment_notes(fitting)
    return fitting


def _readable(
    utterances: Sequence[LabelledUtterance], told: list[str] | None
) -> list[LabelledUtterance]:
    """Utterances whose audio can be read, as far as its header says."""
    usable = [item for item in utterances if not item.problem]
    if len(usable) == len(utterances):
        return usable
    left_out = [item for item in utterances if item.problem]
    first = left_out[0].problem
    if not usable:
        raise ValueError(f"none of {len(utterances)} audio files can be read, first {first}")
    if told is None:
        raise ValueError(first)
    told.append(f"{len(left_out)} of {len(utterances)} audio files are left out, first {first}")
    return usable


def _fitting(item: LabelledUtterance) -> LabelledUtterance:
    """An utterance without the tiers that are of other audio than it."""
    if item.alignment is None:
        return item
    tiers, broken = dict(item.alignment.tiers), dict(item.alignment.broken)
    for name in _TIERS:
        if name in tiers:
            try:
                alignments.segments(item.alignment, name, item.samples)
            except ValueError as error:
                broken[name] = str(error)
                del tiers[name]
    return replace(item, alignment=replace(item.alignment, tiers=tiers, broken=broken))


def _alignment_notes(utterances: Sequence[LabelledUtterance]) -> list[str]:
    """Say how many alignments are broken, or have labels that overlap."""
    aligned = [(item.id, item.alignment) for item in utterances if item.alignment]
    total, notes = len(aligned), []
    wrong = [pair for _, one in aligned for pair in one.broken.items()]
    for name in dict.fromkeys(name for name, _ in wrong):
        reasons = [why for tier, why in wrong if tier == name]
        what = f"{name} of {len(reasons)}" if name else str(len(reasons))
        notes.append(f"{what} of {total} alignments left out, first {reasons[0]}")
    for name, taken in _TIERS.items():
        overlaps = [(one.overlap(name), id) for id, one in aligned]
        said_at_once = [(most, id) for most, id in overlaps if most > 0]
        if said_at_once:
            notes.append(
                f"{name} overlap in {len(said_at_once)} of {total} alignments, by up to "
                f"{max(said_at_once)[0]:.3f} s, first {said_at_once[0][1]}: {taken}"
            )
    return notes


def _aligned(
    found: dict[Path, list[LabelledUtterance]], read: dict[str, Alignment], told: list[str] | None
) -> dict[Path, list[LabelledUtterance]]:
    """Give the alignments to the sources that they are of; another keeps those of its own."""
    names = {alignments.parts(id)[-1].lower() for id in read}
    own = {
        source: utterances
        for source, utterances in found.items()
        if any(alignments.parts(item.id)[-1].lower() in names for item in utterances)
    }
    ids = [item.id for part in (own or found).values() for item in part]
    matched = alignments.match(read, ids)
    without = [id for id in ids if id not in matched]
    if without and told is not None:
        told.append(
            f"{len(without)} of {len(ids)} utterances have no alignment, first {without[0]}"
        )
    return {
        source: [replace(item, alignment=matched.get(item.id, item.alignment)) for item in part]
        for source, part in found.items()
    }


def speech_fingerprint(utterances: Sequence[LabelledUtterance]) -> str:
    """Return 16 hex digits that change when an utterance or its labels do."""
    digest = hashlib.sha256()
    for item in sorted(utterances, key=lambda item: item.id):
        facts = {key: value for key, value in vars(item).items() if key not in ("path", "problem")}
        digest.update(repr(sorted(facts.items())).encode())
    return digest.hexdigest()[:16]


def _names(sources: Sequence[Path]) -> dict[Path, str]:
    """What each source is called: its folder, with those above where two are called alike.

    Raises:
        ValueError: a source twice.
    """
    if len({source.resolve() for source in sources}) < len(sources):
        raise ValueError(f"--data {' '.join(map(str, sources))}: one is there twice; give it once")
    whole = [(source.parent if source.is_file() else source).resolve() for source in sources]
    names: list[str] = []
    for depth in range(1, max((len(path.parts) for path in whole), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) for path in whole]
        if len(set(names)) == len(set(whole)):
            break
    return dict(zip(sources, names, strict=True))


def _named(name: str, source: Path, utterances: list[LabelledUtterance]) -> list[LabelledUtterance]:
    """Ids and speakers of different sources stay apart."""
    if not utterances:
        raise ValueError(f"{source}: no audio in it; give another source")
    return [
        replace(
            item,
            id=f"{name}/{item.id}",
            speaker=None if item.speaker is None else f"{name}/{item.speaker}",
        )
        for item in utterances
    ]
