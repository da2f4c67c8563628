"""``s3prl.downstream.ctc.corpus.common_voice``: prepared lists, for out-of-domain ASR.

What: s3prl's CTC tasks import this corpus (Common Voice, and SBCSAE) from a folder that the wheel
    lacks.
Why: the folder has no ``__init__.py``, so the build of the wheel leaves it out.
Since: s3prl 0.4.18.
Here: the corpus, written from what ``ctc/data.py`` asks of it (see ctc_corpus).
Delete when: s3prl's wheel holds downstream/ctc/corpus.
"""

from pathlib import Path
from typing import Any

from upstream.compat.ctc_corpus import Buckets, offer


def install() -> bool:
    """Put the module under the name that s3prl imports, unless it exists."""
    return offer("common_voice", CommonVoiceDataset=CommonVoiceDataset)


class CommonVoiceDataset(Buckets):
    """Utterances of lists (a header, then ``PATH<tab>SENTENCE``), in their order.

    ``path`` is the folder that the lists' paths are relative to.

    Raises:
        ValueError: a list is missing or empty, has a line of another form, or names audio that is
            not there.
    """

    def __init__(
        self, split: list[str], tokenizer: Any, bucket_size: int, path: str, **_: Any
    ) -> None:
        lines = [line for file in split for line in _read(Path(file), Path(path))]
        super().__init__([(audio, tokenizer.encode(text)) for audio, text in lines], bucket_size)


def _read(file: Path, folder: Path) -> list[tuple[str, str]]:
    """Return (audio, sentence) for every line."""
    if not file.is_file():
        raise ValueError(
            f"{file}: no such list; make it with: mt4ssl superb prepare --tasks ood --root DIR"
        )
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()[1:], 2):
        name, tab, sentence = line.partition("\t")
        if not tab or not sentence:
            raise ValueError(
                f"{file}, line {number}: expected PATH, a tab and a sentence, found {line!r}; "
                "correct it"
            )
        if not (folder / name).is_file():
            raise ValueError(
                f"{file}, line {number}: {folder / name} is not there; remove the line or put the "
                "clip back"
            )
        found.append((str(folder / name), sentence))
    if not found:
        raise ValueError(f"{file}: lists no utterance; prepare the corpus again")
    return found
