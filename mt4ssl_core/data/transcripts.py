"""Who says what: the transcripts that go with a list of audio, and how they are read.

Nothing in a transcript is dropped unasked: what is no letter stops a run, unless the settings say
what it is.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from mt4ssl_core.data import csv_tables
from mt4ssl_core.data.audio import SUFFIXES, audio_name
from mt4ssl_core.data.manifest import Manifest
from mt4ssl_core.data.tsv import read_lines, read_tsv
from mt4ssl_core.data.vocabulary import frames_needed
from mt4ssl_core.files import user_path
from mt4ssl_core.settings.finetuning import LETTERS, TOKENS, TextConfig

TEXTS = ("text", "transcript", "sentence")  # columns of a CSV
SPELLED = ".ltr"  # fairseq's: "H E L L O | Y O U |"
LISTS = {LETTERS: (SPELLED, ".wrd"), TOKENS: (".phn", SPELLED)}  # beside a .tsv
_LIBRI_LIGHT = {"10min": "1h/0", "1h": "1h", "10h": "."}  # of librispeech_finetuning
_SHOWN = 12  # characters in a message


def find_part(folder: str | Path, part: str | None) -> Path:
    """Return the folder of a part of Libri-light's librispeech_finetuning; all of it if None.

    Raises ValueError: it is not there.
    """
    root = user_path(folder)
    if part is None:
        return root
    found = root / _LIBRI_LIGHT[part]
    needed = (found, root / "9h") if part == "10h" else (found,)
    if lacking := [path for path in needed if not path.is_dir()]:
        raise ValueError(
            f"{root}: data.part={part} needs {lacking[0]}, as in Libri-light's "
            "librispeech_finetuning; give that folder, or leave data.part out"
        )
    return found


def read_transcripts(
    source: Path, manifest: Manifest, given: str | None = None, units: str = LETTERS
) -> dict[str, str]:
    """Return {id: text} for the cuts of ``manifest``, as they are written; some may have none.

    Folders with lines of a ``.trans.txt`` whose audio is not there join ``manifest.skipped``.

    source: what the manifest was made of. given: the text file of a ``.tsv``.

    Raises:
        ValueError: there are no transcripts at all, or not as many lines as rows; names the file.
    """
    cuts = list(manifest.cuts)
    if source.suffix == ".tsv":
        return _beside_tsv(source, given, units)
    if given is not None:
        raise ValueError(
            f"{given}: a text file goes with a .tsv, but {source} is none; leave it out"
        )
    if source.suffix == ".csv":
        found = _in_csv(source)
    elif source.is_dir() and not any(source.glob("cuts.*.jsonl*")):
        found = _in_folder(source, cuts, manifest.skipped)
    else:
        found = {cut.id: text for cut in cuts if (text := _supervised(cut)) is not None}
    if not found:
        raise ValueError(
            f"{source}: no transcripts with this audio; give a folder with .trans.txt files (or a "
            ".txt beside each file), a .tsv with a .ltr or .wrd, a CutSet with supervisions, or a "
            "CSV with the columns path and text"
        )
    return found


def _beside_tsv(tsv: Path, given: str | None, units: str) -> dict[str, str]:
    beside = [tsv.with_suffix(suffix) for suffix in LISTS[units]]
    path = user_path(given) if given else next((p for p in beside if p.is_file()), None)
    if path is None:
        raise ValueError(
            f"{tsv}: no {' or '.join(p.name for p in beside)} beside it; put its transcripts "
            "there, a line for each row, or give them as data.transcripts"
        )
    rows, lines = read_tsv(tsv), read_lines(path)
    if len(rows) != len(lines):
        raise ValueError(
            f"{path}: {len(lines)} lines for the {len(rows)} rows of {tsv}; make it again, a line "
            "for each row"
        )
    spelled = path.suffix == SPELLED and units == LETTERS
    return {
        row.id: _unspelled(line, f"{path}:{number}") if spelled else line
        for number, (row, line) in enumerate(zip(rows, lines, strict=True), 1)
    }


def _unspelled(line: str, where: str) -> str:
    """The text of a line of letters with spaces between them."""
    letters = line.split()
    if wrong := [letter for letter in letters if len(letter) > 1]:
        raise ValueError(
            f"{where}: {wrong[0]!r:.40} among letters, each of which should stand alone (H E L L O "
            "| Y O U |); give words as a .wrd file, or phones with text.units=tokens"
        )
    return "".join(letters).replace("|", " ")


def _in_csv(path: Path) -> dict[str, str]:
    columns, rows = csv_tables.read_table(path, ["path"])
    column = next((name for name in TEXTS if name in columns), None)
    if column is None:
        raise ValueError(f"{path}: no column text among {', '.join(columns)}; add it")
    return {row["path"]: row[column] for _, row in rows}


def _in_folder(source: Path, cuts: Iterable[Cut], skipped: list[tuple[str, str]]) -> dict[str, str]:
    folders = {path.parent for path in source.rglob("*.trans.txt")}
    known = {folder: _chapter(folder) for folder in sorted(folders)}
    out = {}
    for cut in cuts:
        path = Path(audio_name(cut))
        alone, chapter = path.with_suffix(".txt"), known.get(path.parent, {})
        if path.stem in chapter:
            out[cut.id] = chapter[path.stem]
        elif alone.is_file():
            out[cut.id] = " ".join(read_lines(alone))
    for folder, texts in known.items():
        there = {p.stem for p in folder.iterdir() if p.suffix.lower() in SUFFIXES}
        if lost := [name for name in texts if name not in there]:
            why = f"{len(lost)} of {len(texts)} transcripts have no audio, first {lost[0]}"
            skipped.append((str(folder), why))
    return out


def _chapter(folder: Path) -> dict[str, str]:
    """{name of the file: text} of a folder's .trans.txt files, whose lines are ``name text``."""
    out: dict[str, str] = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for number, line in enumerate(read_lines(path), 1):
            name, *text = line.split(maxsplit=1) or [""]
            if name in out:
                raise ValueError(f"{path}:{number}: {name} is there twice; remove a line")
            if name:
                out[name] = "".join(text)
    return out


def _supervised(cut: Cut) -> str | None:
    texts = [part.text for part in cut.supervisions if part.text is not None]
    if len(texts) > 1:
        raise ValueError(
            f"cut {cut.id}: {len(texts)} supervisions with text; cut it with lhotse's "
            "trim_to_supervisions first"
        )
    return texts[0] if texts else None


# ---- Text


def normalised(text: str, cfg: TextConfig) -> str:
    """Return a text in the case that is asked for, without what is to be removed (NFC)."""
    text = unicodedata.normalize("NFC", text)
    if cfg.remove:
        text = text.translate({ord(mark): None for mark in cfg.remove})
    case = cfg.case or ("upper" if cfg.units == LETTERS else "keep")
    if case != "keep":
        text = text.upper() if case == "upper" else text.lower()
    return " ".join(text.split())


def check_marks(texts: Mapping[str, str], cfg: TextConfig, source: Path) -> None:
    """See that texts, normalised, are letters and what is kept beside them.

    Raises ValueError: other characters; lists them with their counts.
    """
    counts = Counter(mark for text in texts.values() for mark in text if not _is_letter(mark, cfg))
    if counts:
        listed = ", ".join(f"{mark!r} {count}" for mark, count in counts.most_common(_SHOWN))
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        first = next(id for id, text in texts.items() if set(text) & counts.keys())
        raise ValueError(
            f"{source}: characters in transcripts that are no letters, with counts: {listed}{more} "
            f"(first in {first}); write them out, take them out with text.remove, or learn them "
            "with text.keep"
        )


def _is_letter(mark: str, cfg: TextConfig) -> bool:
    return mark == " " or mark in cfg.keep or unicodedata.category(mark)[0] in "LM"


@dataclass
class Chosen:
    """What a run can learn from: ids with their tokens; what cannot be used, as (id, reason)."""

    tokens: dict[str, list[int]]
    left_out: list[tuple[str, str]]


def choose(
    cuts: Iterable[Cut],
    texts: Mapping[str, str],
    encode: Callable[[str], list[int]],
    frames: Callable[[Cut], int],
    longest: float,
) -> Chosen:
    """Return the tokens of each cut that can be learned from, and why others cannot.

    frames: of a cut; CTC needs one for each token, and one more between two alike.
    longest: seconds.
    """
    found = Chosen({}, [])
    for cut in cuts:
        text = texts.get(cut.id)
        ids = encode(text) if text else []
        needed = frames_needed(ids)
        if text is None:
            problem = "no transcript"
        elif not ids:
            problem = "an empty transcript"
        elif cut.duration > longest:
            problem = f"{cut.duration:.3g} s, longer than data.max_seconds = {longest:g}"
        elif needed > frames(cut):
            problem = f"{frames(cut)} frames, too few for its {len(ids)} tokens ({needed} needed)"
        else:
            found.tokens[cut.id] = ids
            continue
        found.left_out.append((cut.id, problem))
    return found
