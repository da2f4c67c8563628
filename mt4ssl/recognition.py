"""Speech to text from Python: what `mt4ssl transcribe` does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mt4ssl.audio import is_one, waves_of
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.recognition.captions import Transcript
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.recognition.search_request import SearchRequest
from mt4ssl_core.settings.labelling_defaults import DEVICE
from mt4ssl_core.settings.recognition_defaults import BeamSettings


def load_recogniser(
    source: str | Path,
    *,
    lm: str | Path | None = None,
    lexicon: str | Path | None = None,
    device: str = DEVICE,
    dictionary: str | Path | None = None,
    **beam: Any,
) -> Recogniser:
    """Load a fine-tuned model: ours, fairseq's, or a folder or name of Hugging Face's.

    Args:
        source: the checkpoint.
        lm: a language model, ARPA or KenLM's binary.
        lexicon: a file of spellings; None: the words of ``lm``, spelled as they are written.
        device: "auto" is the GPU if there is one.
        dictionary: the dict.ltr.txt of a fairseq model that has none beside it.
        beam: settings of the search, such as ``lm_weight`` (see `BeamSettings`).

    Raises:
        ValueError: no such checkpoint, an encoder without a head, or files that do not fit it.
    """
    lm, lexicon = (None if path is None else str(path) for path in (lm, lexicon))
    request = SearchRequest(lm, lexicon, BeamSettings(**beam))
    return Recogniser.load(source, request, device, dictionary)


def transcribe(
    recogniser: Recogniser | str | Path, audio: Any, *, rate: float | None = None, **settings: Any
) -> Any:
    """Return what is said in an utterance, or in each of a list, as a `Transcript`.

    Args:
        recogniser: what `load_recogniser` gave, or takes.
        audio: as of `Encoder.features`, of any length.
        rate: of samples that come without one, in Hz.
        settings: further ones of `load_recogniser`, where a path is given.

    Raises:
        ValueError: audio that cannot be used, or as of `load_recogniser`.
        TypeError: settings for a recogniser that is loaded already.
    """
    if not isinstance(recogniser, Recogniser):
        recogniser = load_recogniser(recogniser, **settings)
    elif settings:
        raise TypeError(f"{', '.join(settings)}: give them to load_recogniser")
    several: Sequence[Any] = [audio] if is_one(audio) else audio
    found = []
    for name, wave in waves_of(several, rate):
        best = recogniser.hypotheses(recogniser.log_probs([wave])[0])[0]
        seconds = len(wave) / SAMPLE_RATE
        found.append(Transcript(name, seconds, best.words, best.confidence))
    return found[0] if is_one(audio) else found
