"""Decoding with a language model in the ASR task.

What: with ``decoder_type: kenlm``, s3prl's default ``unk_weight: -math.inf`` is a NameError, and a
    missing model, lexicon or flashlight-text an error that does not say so.
Why: the value is put through eval() in a module that does not import math; the import of
    flashlight's decoder is allowed to fail in silence, and its KenLM is about to leave the place
    where s3prl looks for it.
Since: s3prl 0.4.18, flashlight-text 0.0.7.
Here: the value becomes the number before s3prl sees it, what is missing is named, and KenLM, which
    is part of flashlight-text's wheel, is put into its old place.
Delete when: s3prl's asr/expert.py imports math.
"""

import functools
import importlib
import importlib.util
import math
from pathlib import Path
from typing import Any

SOURCES = {
    "kenlm_model": "LibriSpeech's 4-gram is https://www.openslr.org/resources/11/4-gram.arpa.gz",
    "lexicon": "fairseq's is https://dl.fbaipublicfiles.com/fairseq/wav2vec/librispeech_lexicon.lst",
}
INFINITIES = {"-math.inf": -math.inf, "math.inf": math.inf}


def install() -> bool:
    """Wrap get_decoder of the ASR expert."""
    from s3prl.downstream.asr import expert

    if getattr(expert.get_decoder, "checks", False):
        return False
    original = expert.get_decoder

    @functools.wraps(original)
    def get_decoder(settings: dict[str, Any], dictionary: Any) -> Any:
        if settings["decoder_type"] != "kenlm":
            return original(settings, dictionary)
        _check(settings)
        _name_kenlm()
        weight = settings["unk_weight"]
        weight = INFINITIES.get(weight, weight) if isinstance(weight, str) else weight
        return original({**settings, "unk_weight": weight}, dictionary)

    get_decoder.checks = True  # type: ignore[attr-defined]
    expert.get_decoder = get_decoder
    return True


def _name_kenlm() -> None:
    """Put KenLM where s3prl looks for it: flashlight-text has moved it."""
    decoder: Any = importlib.import_module("flashlight.lib.text.decoder")
    decoder.KenLM = importlib.import_module("flashlight.lib.text.decoder.kenlm").KenLM


def _check(settings: dict[str, Any]) -> None:
    if importlib.util.find_spec("flashlight") is None:
        raise ValueError(
            'decoding with a language model needs flashlight-text; pip install "mt4ssl[lm]"'
        )
    for key, source in SOURCES.items():
        if not Path(str(settings[key])).is_file():
            raise ValueError(
                f"asr: {settings[key]}: no such file for decoding with a language model "
                f"(config.downstream_expert.datarc.decoder_args.{key}); {source}: put it beside "
                "LibriSpeech and give --root"
            )
