"""``s3prl.downstream.ctc.corpus.snips``: Audio SNIPS, for slot filling.

What: s3prl's slot filling imports its corpus from a folder that the wheel lacks.
Why: the folder has no ``__init__.py``, so the build of the wheel leaves it out.
Since: s3prl 0.4.18.
Here: the corpus, written from what ``ctc/data.py`` asks of it (see ctc_corpus).
Delete when: s3prl's wheel holds downstream/ctc/corpus.
"""

import functools
from pathlib import Path
from typing import Any

from upstream.compat.ctc_corpus import Buckets, offer

TRANSCRIPTS = "all.iob.snips.txt"


def install() -> bool:
    """Put the module under the name that s3prl imports, unless it exists."""
    return offer("snips", SnipsDataset=SnipsDataset)


class SnipsDataset(Buckets):
    """Utterances of a split's speakers (``SPLIT_speakers``), by falling number of labels.

    Labels are characters, with a symbol where a slot begins and one where it ends.

    Raises:
        ValueError: a file is missing, an utterance has no transcript, a split has no audio of its
            speakers, or a slot is not among the tokenizer's.
    """

    def __init__(
        self, split: list[str], tokenizer: Any, bucket_size: int, path: str, **settings: Any
    ) -> None:
        speakers = tuple(settings[f"{split[0]}_speakers"])
        transcripts = _transcripts(str(Path(path, TRANSCRIPTS)))
        found = []
        for name in split:
            for audio in _audio(str(Path(path, name)), speakers):
                if audio.stem not in transcripts:
                    raise ValueError(
                        f"{audio}: {Path(path, TRANSCRIPTS)} has no line for it; get the "
                        "preprocessed corpus again"
                    )
                found.append((str(audio), _encode(tokenizer, transcripts[audio.stem], audio)))
        super().__init__(sorted(found, key=lambda pair: (-len(pair[1]), pair[0])), bucket_size)


@functools.lru_cache(maxsize=2)  # s3prl makes the dataset again for every epoch and evaluation
def _transcripts(path: str) -> dict[str, str]:
    """Return ``WORDS<tab>SLOTS`` by the name of the utterance."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; give the folder of SNIPS with --root")
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().partition(" ") for line in lines)
    return {name: text for name, _, text in pairs if name}


@functools.lru_cache(maxsize=8)
def _audio(folder: str, speakers: tuple[str, ...]) -> list[Path]:
    paths = sorted(path for path in Path(folder).rglob("*.wav") if path.stem.startswith(speakers))
    if not paths:
        raise ValueError(
            f"{folder}: no .wav of the speakers {', '.join(speakers)}; give the folder of SNIPS "
            "with --root"
        )
    return paths


def _encode(tokenizer: Any, text: str, audio: Path) -> list[int]:
    try:
        return list(tokenizer.encode(text))
    except KeyError as error:
        raise ValueError(
            f"{audio}: its slot {str(error.args[0])[2:]!r} is not in slots.txt; get the "
            "preprocessed corpus again"
        ) from error
