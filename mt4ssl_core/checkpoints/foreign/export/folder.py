"""A folder that appears whole or not at all, where nothing was or an earlier export."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints.foreign import checkpoint_files, ctc_heads
from mt4ssl_core.checkpoints.foreign.export import card, language_model
from mt4ssl_core.files import flush, reading, temporary_beside, write_json, writing

RECORD = "export.json"  # of the formats that have no settings of their own beside the weights
WEIGHTS, HEARING = checkpoint_files.WEIGHTS[0], checkpoint_files.HEARING[1]
NOTE = "note"  # key of that: what the user has to know
MARK = {"exported_by": "mt4ssl"}
FAIRSEQ, TORCHAUDIO = "checkpoint.pt", "model.pt"
DICTIONARY = "dict.ltr.txt"  # fairseq's, of a recogniser's letters
PLOT, RESULTS = "layer_weights.png", ".eval_results"  # beside the card; the hub's folder of scores
NAMES = {
    checkpoint_files.CONFIG, WEIGHTS, HEARING, RECORD, FAIRSEQ, TORCHAUDIO, card.NAME, PLOT,
    RESULTS, ctc_heads.VOCABULARY, ctc_heads.TOKENIZER, DICTIONARY, language_model.ALPHABET,
    language_model.FOLDER,
}  # fmt: skip
_SCORE = re.compile(r"superb_\w+\.yaml")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``out`` once the body has run.

    An earlier export there is put back if that fails.

    Raises:
        ValueError: ``out`` is, or holds, something that is no export.
        OSError: it cannot be written; names ``out``.
    """
    if out.exists() and not (out.is_dir() and _replaceable(out)):
        raise ValueError(f"{out}: holds something that is not an export; give a new folder")
    temporary, former = temporary_beside(out), temporary_beside(out)
    try:
        with writing(out, temporary):
            temporary.mkdir(parents=True)
        with _named(out, temporary):
            yield temporary
        with writing(out, temporary):
            if out.exists():
                os.replace(out, former)
            os.replace(temporary, out)
            flush(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if former.exists() and not out.exists():
            os.replace(former, out)
        shutil.rmtree(former, ignore_errors=True)


def write_record(folder: Path, values: dict[str, Any]) -> None:
    """Write what is to be known of the weights beside it, and that they are an export."""
    write_json(folder / RECORD, {**MARK, **values})


@contextmanager
def _named(out: Path, temporary: Path) -> Iterator[None]:
    """Let errors about files in ``temporary`` speak of ``out``."""
    try:
        yield
    except OSError as error:
        named = OSError(str(error).replace(str(temporary), str(out)))
        named.errno = error.errno
        raise named from error


def _replaceable(folder: Path) -> bool:
    """Whether ``folder`` is empty or holds an export of ours and nothing else."""
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return True
    if not names <= NAMES or not any(map(_marked, (folder / name for name in names))):
        return False
    if (folder / card.NAME).exists() and not card.is_ours(folder / card.NAME):
        raise ValueError(
            f"{folder / card.NAME}: was changed since it was written; move it away or export into "
            "a new folder, so that it is not lost"
        )
    inside = {entry.name for entry in folder.glob(f"{language_model.FOLDER}/*")}
    scores = (entry.name for entry in folder.glob(f"{RESULTS}/*"))
    return inside <= language_model.FILES and all(map(_SCORE.fullmatch, scores))


def _marked(file: Path) -> bool:
    """Whether a file of settings says that it is an export of ours."""
    if file.name not in (checkpoint_files.CONFIG, RECORD):
        return False
    with reading(file):
        return MARK.items() <= checkpoint_files.json_object(file).items()
