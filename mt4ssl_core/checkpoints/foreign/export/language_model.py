"""A language model beside an exported recogniser, as ``Wav2Vec2ProcessorWithLM`` has it.

pyctcdecode, which that class calls, reads alphabet.json and a folder of three files: the ARPA file,
the words it knows, and the weights.
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import write_json, write_text
from mt4ssl_core.search.language_model import look_through, open_text
from mt4ssl_core.search.lexicon import spelled_words
from mt4ssl_core.settings.recognition_defaults import BeamSettings

PROCESSOR = {"processor_class": "Wav2Vec2ProcessorWithLM"}
ALPHABET, FOLDER = "alphabet.json", "language_model"
ARPA, WORDS, WEIGHTS = "lm.arpa", "unigrams.txt", "attrs.json"
FILES = {ARPA, WORDS, WEIGHTS}
_UNKNOWN, _UNKNOWN_SCORE = "⁇", -100.0  # as good as never, as in `mt4ssl decode`


@dataclass(frozen=True)
class ForeignLM:
    """An ARPA file, and its weights as in `mt4ssl decode`: of log10, and added for every word."""

    path: Path
    lm_weight: float = BeamSettings.lm_weight
    word_score: float = BeamSettings.word_score

    def write(self, folder: Path, names: Sequence[str], vocabulary: Vocabulary) -> None:
        """Write the files; ``names`` are the tokens as the exported tokenizer calls them.

        pyctcdecode multiplies natural logarithms, so that its alpha is lm_weight / ln 10.

        Raises:
            ValueError: no ARPA file, damaged, or of another alphabet.
        """
        found = look_through(self.path)
        if found.words is None:
            raise ValueError(
                f"{self.path}: KenLM's binary does not tell its words, which the folder has to "
                "list; give the ARPA file that it was made of"
            )
        known = spelled_words(sorted(found.words), vocabulary, str(self.path))
        write_json(folder / ALPHABET, {"labels": _labels(names, vocabulary), "is_bpe": False})
        inside = folder / FOLDER
        inside.mkdir()
        write_text(inside / WORDS, "".join(f"{word}\n" for word in known.words))
        write_json(inside / WEIGHTS, self._weights())
        with open_text(self.path) as source, open(inside / ARPA, "wb") as target:
            shutil.copyfileobj(source, target)

    def _weights(self) -> dict[str, Any]:
        return {
            "alpha": self.lm_weight / math.log(10),
            "beta": self.word_score,
            "unk_score_offset": _UNKNOWN_SCORE,
            "score_boundary": True,
        }


def _labels(names: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """What pyctcdecode calls the tokens: "" for the blank, a space between words."""
    meant = {names[vocabulary.blank]: "", vocabulary.separator: " ", "<unk>": _UNKNOWN}
    return [meant.get(name, name) for name in names]
