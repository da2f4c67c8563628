"""Punctuation made uniform, as Moses' normalize-punctuation does it for English and German.

What s3prl's preparation of CoVoST calls sacremoses' MosesPunctNormalizer for, with its options
``pre_replace_unicode_punct`` and ``post_remove_control_chars``. The steps are in Moses' order,
which matters: an earlier one makes what a later one finds.
"""

# ruff: noqa: RUF001 - characters that look alike are what this is about
import re
import unicodedata

_NBSP = "\u00a0"
_WIDE = str.maketrans(
    {
        # the same character in the width of a Chinese one
        **{chr(ord(char) + 0xFEE0): char for char in ",:?)!(;0123456789~%"},
        **dict.fromkeys("”“《》」「", '"'),
        **{"、": ",", "∶": ":", "’": "'", "…": "...", "━": "-"},
        **{"〈": "<", "〉": ">", "【": "[", "】": "]"},
    }
)
_STEPS = [  # pattern, replacement
    # brackets have a space outside and none inside, marks none before them
    (r"\r", ""),
    (r"\(", " ("),
    (r"\)", ") "),
    (" +", " "),
    (r"\) (?=[.!:?;,])", ")"),
    (r"\( ", "("),
    (r" \)", ")"),
    (r"(?<=\d) %", "%"),
    (" (?=[:;])", ""),
    # quotation marks, apostrophes and dashes
    ("`", "'"),
    ("''", ' " '),
    ("„", '"'),
    ("–", "-"),
    ("—", " - "),
    (" +", " "),
    ("[´‘‚]", "'"),
    ("''", '"'),
    (f"{_NBSP}«{_NBSP}", '"'),
    (f"«{_NBSP}?", '"'),
    (f"{_NBSP}»{_NBSP}", '"'),
    (f"{_NBSP}?»", '"'),
    # spaces that do not break
    (f"{_NBSP}%", "%"),
    (f"(?<=nº){_NBSP}", " "),
    (f"{_NBSP}:", ":"),
    (f"{_NBSP}(?=ºC|cm)", " "),
    (f"{_NBSP}(?=[?!;])", ""),
    (f",{_NBSP}", ", "),
    (" +", " "),
]
_OF_LANGUAGE = {
    "en": [(r'"([,.]+)', r'\1"'), (rf"(\d){_NBSP}(\d)", r"\1.\2")],
    "de": [
        (',"', '",'),
        (r'(\.+)"(\s*[^<])', r'"\1\2'),
        (rf"(\d){_NBSP}(\d)", r"\1,\2"),
    ],
}


def ascii_punctuation(text: str, language: str) -> str:
    """Return ``text`` with ASCII quotation marks, dashes and spaces; ``language``: "en" or "de"."""
    text = re.sub(r"[。．]\s*", ". ", text).translate(_WIDE)
    for pattern, replacement in _STEPS + _OF_LANGUAGE[language]:
        text = re.sub(pattern, replacement, text)
    kept = (char for char in text if not unicodedata.category(char).startswith("C"))
    return "".join(kept).strip()
