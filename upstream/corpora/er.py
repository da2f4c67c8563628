"""IEMOCAP for emotion recognition: five folds, each with one session to test on.

The judges' verdict on every turn is in ``SessionN/dialog/EmoEvaluation/DIALOG.txt``, the recording
in ``SessionN/sentences/wav/DIALOG/TURN.wav``. As in SUPERB, four emotions count: neutral, happy,
angry and sad; excited is happy.

``prepared/meta_data/SessionN/{train,test}_meta_data.json`` list the turns of the other four
sessions and of session N. Dialogs are sorted by name; in the files that s3prl's repository has they
come as a file system had them. s3prl takes its development set by position, so it is another fifth
of the training turns than there. Who wants that very fifth gives those files as
``downstream_expert.datarc.meta_data``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mt4ssl_core.files import write_json
from mt4ssl_core.settings.frames import SAMPLE_RATE
from upstream.corpora import prepared
from upstream.corpora.audio_checks import inner, name_some, sample_headers
from upstream.corpora.survey import Survey
from upstream.door import tasks

SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
CLASSES = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
TAKEN = {**{name: name for name in CLASSES}, "exc": "hap"}
META = "meta_data"
_TURN = re.compile(r"^\[[^\]]*\]\s+(\S+)\s+(\w+)\s")  # [times], turn, emotion


def folder(root: Path) -> Path:
    """Return the folder that has the sessions."""
    return inner(root, "IEMOCAP_full_release", "IEMOCAP")


def survey(root: Path) -> Survey:
    """Count the turns with one of the four emotions, by session."""
    base = folder(root)
    counts, problems, hours = {}, [], 0.0
    for session in SESSIONS:
        missing = [path for path in _places(base / session) if not path.is_dir()]
        if missing:
            problems.append(f"{name_some(missing)}: no such folder; {_remedy()}")
        turns = list(_turns(base, session))
        counts[session] = len(turns)
        if not missing and not turns:
            where = base / session / "dialog" / "EmoEvaluation"
            problems.append(f"{where}: no turn with one of the four emotions; {_remedy()}")
        files = [base / path for path, _ in turns]
        there = [file for file in files if file.is_file()]
        if lost := sorted({*files} - {*there}):
            problems.append(
                f"{base / session}: no recording of {len(lost)} turns that were judged "
                f"({name_some([file.stem for file in lost])}); {_remedy()}"
            )
        wrong, length = sample_headers(there, SAMPLE_RATE, _remedy())
        problems += wrong
        hours += length
    return Survey(counts, problems, hours)


def prepare(root: Path) -> None:
    """Write the lists of turns, two for each session.

    Raises:
        ValueError: a session lacks its judgements or recordings.
    """
    base, meta = folder(root), root / prepared.FOLDER / META
    judged = [path for session in SESSIONS for path in _judgements(base, session)]
    turns = {session: list(_turns(base, session)) for session in SESSIONS}
    lost = [path for found in turns.values() for path, _ in found if not (base / path).is_file()]
    if lost or not all(turns.values()):
        raise ValueError("; ".join(survey(root).problems))
    prepared.remake(meta, prepared.stamp_of(judged), lambda: _write(meta, turns))


def _write(meta: Path, turns: dict[str, list[tuple[str, str]]]) -> None:
    for session, tested in turns.items():
        others = [turn for name, found in turns.items() if name != session for turn in found]
        for split, found in (("train", others), ("test", tested)):
            lines = [
                {"path": path, "label": label, "speaker": Path(path).name.split("_")[0]}
                for path, label in found
            ]
            listing = {"labels": CLASSES, "meta_data": lines}
            write_json(meta / session / f"{split}_meta_data.json", listing)


def _places(session: Path) -> tuple[Path, Path]:
    return session / "dialog" / "EmoEvaluation", session / "sentences" / "wav"


def _judgements(base: Path, session: str) -> list[Path]:
    judgements, _ = _places(base / session)
    files = judgements.glob("*.txt")
    return sorted(path for path in files if not path.name.startswith("."))  # some copies have ._*


def _turns(base: Path, session: str) -> Iterator[tuple[str, str]]:
    """Yield path below ``base`` and class of every turn that counts, dialog by dialog."""
    for file in _judgements(base, session):
        for line in file.read_text(encoding="latin-1").splitlines():
            found = _TURN.match(line)
            if found and found[2] in TAKEN:
                wav = f"{session}/sentences/wav/{file.stem}/{found[1]}.wav"
                yield wav, TAKEN[found[2]]


def _remedy() -> str:
    return f"unpack IEMOCAP_full_release ({tasks.header('er')['corpus']['source'][0]}) as a whole"
