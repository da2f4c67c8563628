"""Word error rates: those that `mt4ssl decode` left behind, and the published ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.records.attempts import Attempts
from analysis.records.score_files import run_name
from mt4ssl_core.files import read_json, reading
from mt4ssl_core.settings.recognition_defaults import RECORD

PUBLISHED = Path(__file__).parent.parent / "scores" / "published_wer.json"
SPLITS = {"dev-clean": 2703, "dev-other": 2864, "test-clean": 2620, "test-other": 2939}
NONE, FOUR_GRAM = "no LM", "4-gram"
_LMS = {"none": NONE, FOUR_GRAM: FOUR_GRAM}  # of the published ones
_OFFICIAL = {"4-gram.arpa", "4-gram.arpa.gz", "4-gram.bin"}  # what LibriSpeech's is called
_AGAIN = "decode again, or give another folder"
_FORM: dict[str, Any] = {
    "labelled": str | None,
    "data": str,
    "utterances": int,
    "wer": dict,
    "search": dict,
    "skipped": list,
    "fingerprint": str,
}


@dataclass(frozen=True)
class Decoding:
    """The word error rate of a model on a list of utterances.

    model: what it is called. labelled: transcribed speech it was fine-tuned on, such as 10h; None:
    unknown. lm: `NONE`, `FOUR_GRAM`, or what else was searched with. split: of LibriSpeech if it
    is one, else the list's name with its folder's. whole: whether all utterances of a split of
    LibriSpeech were decoded. wer, interval: as shares. source: a file, or a publication.
    """

    model: str
    labelled: str | None
    lm: str
    split: str
    whole: bool
    wer: float
    source: str
    interval: tuple[float, float] | None = None


def published(path: Path = PUBLISHED) -> list[Decoding]:
    """Return the published rates."""
    with reading(path, "install mt4ssl again"):
        content = read_json(path)
        return [
            Decoding(model["name"], labelled, _LMS[lm], split, True, value / 100, said)
            for model in content["models"]
            for said in [_said(content["sources"][model["source"]])]
            for labelled, by_lm in model["rates"].items()
            for lm, values in by_lm.items()
            for split, value in zip(SPLITS, values, strict=True)
            if value is not None
        ]


def _said(source: Mapping[str, str]) -> str:
    return source["text"] + (" (at second hand)" if source["read"] != "primary" else "")


def read(
    folders: Sequence[str | Path],
    broken: list[str] | None = None,
    called: Sequence[str | None] = (),
) -> list[Decoding]:
    """Return what was decoded in some folders and below.

    A model is called like its folder; where that holds two results for one cell of the table,
    each that lies deeper is called after its own folder as well.

    ``broken`` gets a line on each folder that cannot be read, which is left out unless there is no
    other; None: the first one is refused. ``called``: names for the first folders.

    Raises:
        ValueError: a folder without records, or a damaged record; names the file.
    """
    found: list[Decoding] = []
    attempts = Attempts(broken)
    for place, folder in enumerate(map(Path, folders)):
        with attempts.one(), reading(folder, _AGAIN):
            name = called[place] if place < len(called) else None
            found += _in_folder(folder, name or run_name(folder))
    attempts.close(found)
    return found


def _in_folder(folder: Path, name: str) -> list[Decoding]:
    paths = sorted(folder.rglob(RECORD))
    if not paths:
        raise ValueError(
            f"{folder}: no {RECORD} in it or below; make one with `mt4ssl decode --out`"
        )
    found = {path: _decoding(path, name) for path in paths}
    cells = Counter((one.labelled, one.lm, one.split) for one in found.values())
    return [
        one
        if path.parent == folder or cells[one.labelled, one.lm, one.split] == 1
        else replace(one, model=f"{name}/{path.parent.relative_to(folder).as_posix()}")
        for path, one in found.items()
    ]


def read_record(path: Path) -> dict[str, Any]:
    """Return a record of `mt4ssl decode`; ValueError naming it: damaged or of another form."""
    record = read_json(path, remedy=_AGAIN)
    fits = isinstance(record, dict) and all(isinstance(record.get(k), t) for k, t in _FORM.items())
    if not fits or not _is_rate(record["wer"]):
        raise ValueError(f"{path}: not a record of `mt4ssl decode`; {_AGAIN}")
    return dict(record)


def _is_rate(wer: Mapping[str, Any]) -> bool:
    """Whether it has a rate, and a pair as its interval if it has one."""
    ends = [] if wer.get("interval") is None else wer["interval"]
    if not isinstance(ends, list) or len(ends) not in (0, 2):
        return False
    return all(
        isinstance(value, int | float) and 0 <= value < 1e6 for value in (wer.get("rate"), *ends)
    )


def _decoding(path: Path, model: str) -> Decoding:
    record = read_record(path)
    parts = Path(record["data"]).parts
    split = next((part for part in reversed(parts) if part in SPLITS), None)
    whole = split is not None and record["utterances"] == SPLITS[split]
    interval = record["wer"].get("interval")
    return Decoding(
        model,
        record.get("labelled"),
        _lm(record["search"]),
        split or "/".join([*parts[-2:-1], Path(record["data"]).stem]),
        whole,
        float(record["wer"]["rate"]),
        str(path),
        (interval[0], interval[1]) if interval else None,
    )


def _lm(search: Mapping[str, Any]) -> str:
    """What was searched with; LibriSpeech's 4-gram is known by the name of its file alone."""
    if search.get("lm") is None:
        return NONE if search.get("lexicon") is None else "lexicon"
    name = Path(str(search["lm"])).name
    order = search.get("lm_order")  # which KenLM's binary does not say
    if name in _OFFICIAL and order in (4, None):
        return FOUR_GRAM
    return f"{order}-gram" if order and order != 4 else f"own {FOUR_GRAM if order else name}"
