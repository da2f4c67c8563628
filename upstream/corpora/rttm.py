"""RTTM files: who speaks when in a recording."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from upstream.corpora.texts import read_text

Turn = tuple[str, float, float]  # speaker, start, end (seconds)


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """Return the turns of every recording in an RTTM file.

    Raises:
        ValueError: no such file, or a line that is not of RTTM; names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it holds the reference turns, prepare the corpus")
    turns: dict[str, list[Turn]] = defaultdict(list)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            recording, start, seconds, speaker = fields[1], *map(float, fields[3:5]), fields[7]
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}, line {number}: expected 'SPEAKER recording 1 start seconds <NA> <NA> "
                f"speaker <NA>', found {line!r}; correct the line"
            ) from error
        turns[recording].append((speaker, start, start + seconds))
    return dict(turns)


def rttm_lines(recording: str, turns: Iterable[Turn]) -> list[str]:
    """Return the lines of an RTTM file for one recording."""
    return [
        f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA>\n"
        for speaker, start, end in turns
    ]
