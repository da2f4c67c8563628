"""The characters of slot filling, and a list of slots that may end with an empty line.

What: s3prl's config of slot filling names a vocabulary file that the wheel does not hold; and its
    reader takes an empty line at the end of slots.txt for a slot without a name.
Why: the wheel holds nothing but Python code of s3prl's downstream folder.
Since: s3prl 0.4.18.
Here: ``vocab_file: letters`` stands for the space, the apostrophe and A to Z. Any other value is a
    file as before.
Delete when: s3prl's wheel holds its vocabulary files.
"""

import functools
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from upstream.compat._modules import replace
from upstream.compat.ctc_corpus import EXPERT

LETTERS = "letters"


def install() -> bool:
    """Let load_text_encoder know the name "letters"."""
    from s3prl.downstream.ctc import text

    if getattr(text.load_text_encoder, "knows_letters", False):
        return False
    original = text.load_text_encoder

    @functools.wraps(original)  # keeps the marks of other patches
    def load_text_encoder(mode: str, vocab_file: str, slots_file: str | None = None) -> Any:
        if vocab_file != LETTERS:
            known = {} if slots_file is None else {"slots_file": slots_file}
            return original(mode, vocab_file, **known)
        letters = [" ", "'", *ascii_uppercase]
        if mode == "character":
            return text.CharacterTextEncoder(letters)
        if mode == "character-slot" and slots_file is not None:
            return text.CharacterTextSlotEncoder(letters, _slots(Path(slots_file)))
        raise ValueError(
            f"vocab_file: {LETTERS} goes with mode: character, or with character-slot and a "
            f"slots_file, not with {mode}"
        )

    load_text_encoder.knows_letters = True  # type: ignore[attr-defined]
    replace("load_text_encoder", load_text_encoder, text.__name__, EXPERT)
    return True


def _slots(path: Path) -> list[str]:
    """Return the symbols for the beginning and the end of every slot; the first line is O."""
    names = [name.strip() for name in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [f"{place}-{name}" for name in names if name for place in "BE"]
