"""QUESST 2014. Nothing has to be made from it; s3prl reads its English part only."""

from pathlib import Path
from xml.etree import ElementTree

from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_text, read_xml

ENGLISH = "nnenglish"
RATE = 8000
LISTS = ("utterances", "dev", "eval")
SOURCE = "https://speech.fit.vutbr.cz/files/quesst14Database.tgz"
_REMEDY = f"unpack {SOURCE} again"


def survey(root: Path) -> Survey:
    """Count recordings and queries of all languages; see that files and ground truth are there."""
    base = inner(root, "quesst14Database")
    counts: dict[str, int] = {}
    problems: list[str] = []
    hours = 0.0
    english: dict[str, set[str]] = {}
    for name in LISTS:
        file = base / "scoring" / f"language_key_{name}.lst"
        rows, wrong = _read(file)
        counts[name] = len(rows)
        problems += wrong
        paths = [base / path for path, _ in rows]
        if lost := [path.name for path in paths if not path.is_file()]:
            problems.append(
                f"{file} names {len(lost)} missing files ({name_some(lost)}); {_REMEDY}"
            )
        there = [path for path in paths if path.is_file()]
        wrong, length = sample_headers(there, RATE, _REMEDY)
        problems += wrong
        hours += length
        english[name] = {Path(path).stem for path, language in rows if language == ENGLISH}
        if rows and not english[name]:
            problems.append(f"{file}: nothing in {ENGLISH}, the language SUPERB uses; {_REMEDY}")
    for split in ("dev", "eval"):
        problems += _truth(base, split, english)
    return Survey(counts, problems, hours)


def _read(file: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the paths (without their first folder) and languages of a list, and what is wrong."""
    if not file.is_file():
        return [], [f"{file}: no such list; unpack {SOURCE} there"]
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        fields = line.split()
        if len(fields) != 2 or "/" not in fields[0]:
            return rows, [
                f"{file}, line {number}: expected 'FOLDER/PATH.wav LANGUAGE', found {line!r}; "
                f"{_REMEDY}"
            ]
        rows.append((fields[0].split("/", 1)[1], fields[1]))
    return rows, [] if rows else [f"{file}: empty; {_REMEDY}"]


def _truth(base: Path, split: str, english: dict[str, set[str]]) -> list[str]:
    """Return what is wrong with the ground truth of a split."""
    place = truth_folder(base, split)
    try:
        truth, documents = ground_truth(place)
    except (ValueError, OSError) as error:
        return [str(error)]
    problems = []
    if unknown := sorted(english["utterances"] - documents):
        problems.append(
            f"{place}: its *.ecf.xml lacks {len(unknown)} recordings of the list "
            f"({name_some(unknown)}); {_REMEDY}"
        )
    if english[split] and not english[split] & truth.keys():
        problems.append(f"{place}: no English query of {split} occurs in any recording; {_REMEDY}")
    return problems


def truth_folder(root: Path, split: str) -> Path:
    """Return the ground truth of a split; as in s3prl, any split but "dev" is the eval set."""
    return root / "scoring" / f"groundtruth_quesst14_{'dev' if split == 'dev' else 'eval'}"


def ground_truth(folder: Path) -> tuple[dict[str, set[str]], set[str]]:
    """Read ``*.tlist.xml``, ``*.ecf.xml`` and ``*.rttm``.

    Returns the recordings of every query, without those queries that occur nowhere, and all
    recordings.

    Raises:
        ValueError: one of the three is missing or not in its format; names it.
    """
    terms = {
        term.get("termid") for term in read_xml(_one(folder, "*.tlist.xml"), _REMEDY).iter("term")
    }
    documents = {
        Path(excerpt.get("audio_filename", "")).stem
        for excerpt in _xml(folder, "*.ecf.xml").iter("excerpt")
    }
    truth: dict[str, set[str]] = {}
    rttm = _one(folder, "*.rttm")
    for number, line in enumerate(read_text(rttm).splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "LEXEME":
            continue
        if len(fields) < 6:
            raise ValueError(
                f"{rttm}, line {number}: expected LEXEME RECORDING 1 START SECONDS QUERY ..., "
                f"found {line!r}; {_REMEDY}"
            )
        if fields[5] in terms and fields[1] in documents:
            truth.setdefault(fields[5], set()).add(fields[1])
    if not truth:
        raise ValueError(f"{rttm}: none of the queries occurs in any recording; {_REMEDY}")
    return truth, documents


def _xml(folder: Path, pattern: str) -> ElementTree.Element:
    return read_xml(_one(folder, pattern), _REMEDY)


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(f"{folder}: expected one {pattern}, found {len(found)}; {_REMEDY}")
    return found[0]
