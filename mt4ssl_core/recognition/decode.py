"""Transcribed speech in, error rates out: ``mt4ssl decode``."""

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint, file_sha256
from mt4ssl_core.checkpoints.foreign import hub_models
from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.data.audio_bar import AudioBar
from mt4ssl_core.data.manifest import MAX_SKIPPED, Manifest
from mt4ssl_core.files import user_path
from mt4ssl_core.recognition.labelled import AMOUNT, labelled
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.recognition.references import (
    Spoken,
    finetuned_with,
    read_references,
    text_settings,
)
from mt4ssl_core.recognition.search_request import SearchRequest
from mt4ssl_core.recognition.tuning import GridPoint, tune
from mt4ssl_core.recognition.word_scores import (
    Errors,
    character_errors,
    jiwer,
    summary,
    word_errors,
)
from mt4ssl_core.search.beam_search import BeamSearch
from mt4ssl_core.search.hypothesis import Hypothesis
from mt4ssl_core.settings.finetuning import TextConfig
from mt4ssl_core.settings.labelling_defaults import DEVICE
from mt4ssl_core.settings.recognition_defaults import LM_WEIGHTS, WORD_SCORES


def grid_of(option: str, text: str) -> tuple[float, ...]:
    """Read numbers such as "0.5,1,2", for ``option``.

    Raises:
        ValueError: they are none, or not finite.
    """
    try:
        found = tuple(dict.fromkeys(float(number) for number in text.split(",")))
    except ValueError:
        found = ()
    if not found or not np.isfinite(found).all():
        raise ValueError(f"{option} {text}: give numbers such as 0.5,1,2")
    return found


@dataclass(frozen=True)
class DecodeRequest:
    """What `mt4ssl decode` is asked for.

    checkpoint, dictionary: as of `Recogniser.load`. data: transcribed speech. search: with what.
    transcripts: the text file of a ``.tsv``, where it does not lie beside it. tune: transcribed
    speech on which ``lm_weights`` and ``word_scores`` are tried. case, remove: how transcripts are
    read, instead of as in fine-tuning. labelled: how much transcribed speech the model has seen,
    such as 10h; None: as its checkpoint says. strict, max_skipped: of files that cannot be used.
    """

    checkpoint: str
    data: str
    search: SearchRequest = field(default_factory=SearchRequest)
    transcripts: str | None = None
    tune: str | None = None
    lm_weights: Sequence[float] = grid_of("--lm-weights", LM_WEIGHTS)
    word_scores: Sequence[float] = grid_of("--word-scores", WORD_SCORES)
    case: str | None = None
    remove: str | None = None
    labelled: str | None = None
    dictionary: str | None = None
    device: str = DEVICE
    strict: bool = False
    max_skipped: float = MAX_SKIPPED


@dataclass(frozen=True)
class Decoded:
    """An utterance, what was recognised in it, the best first, and its errors."""

    spoken: Spoken
    hypotheses: list[Hypothesis]
    words: Errors
    characters: Errors


@dataclass(frozen=True)
class Outcome:
    """All utterances in the order of their list, the record of all, and the tuning's grid."""

    utterances: list[Decoded]
    record: dict[str, Any]
    grid: list[GridPoint]

    @property
    def problems(self) -> list[str]:
        """A line where some utterances were left out."""
        left_out = len(self.record["skipped"])
        return [f"{left_out} utterances were not scored; mend those named above"] * bool(left_out)


def decode(request: DecodeRequest, recogniser: Recogniser | None = None) -> Outcome:
    """Recognise transcribed speech and count the errors.

    ``recogniser``: instead of the one that is loaded from the checkpoint's file.

    Raises:
        ValueError: files that cannot be used or do not belong together, nothing to score, tuning
            without a language model, or more unusable files than ``max_skipped``.
    """
    jiwer()
    _check(request)
    config = None
    if recogniser is None:
        recogniser = Recogniser.load(
            request.checkpoint, request.search, request.device, request.dictionary
        )
        config = finetuned_with(recogniser.source)
    text = text_settings(
        config, recogniser.vocabulary, request.case, request.remove, recogniser.source
    )
    heard = _Heard(request, recogniser, text)
    with redirect_stdout(sys.stderr):  # standard output is for the result
        wanted, found = heard.read(request.data, request.transcripts)
        grid = [] if request.tune is None else heard.tuned(request.tune)
        utterances = heard.decoded(wanted, found)
    record = {
        "labelled": request.labelled or labelled(config, Path(recogniser.source)),
        **_record(request, recogniser, text, utterances, heard),
        "tuned": None if not grid else {"on": request.tune, **grid[0].record()},
    }
    return Outcome(utterances, record, grid)


def _check(request: DecodeRequest) -> None:
    """See that what is asked for can be done."""
    if request.labelled is not None and not AMOUNT.fullmatch(request.labelled):
        raise ValueError(f"--labelled {request.labelled}: give an amount such as 10m, 1h or 100h")
    if request.tune is not None and request.search.lm is None:
        raise ValueError("--tune needs a language model to be weighed; give --lm")
    tried = (tuple(request.lm_weights), tuple(request.word_scores))
    if not all(tried):
        raise ValueError("--lm-weights, --word-scores: none to try; give some, or leave them out")
    if request.tune is None and tried != (DecodeRequest.lm_weights, DecodeRequest.word_scores):
        raise ValueError("--lm-weights and --word-scores are what --tune tries; give it, too")
    try:
        for weight, score in product(*tried):
            replace(request.search.beam, lm_weight=weight, word_score=score)
    except ValueError as error:
        raise ValueError(f"--lm-weights, --word-scores: {error}") from None
    if request.tune is not None and _same(request.tune, request.data):
        raise ValueError(
            f"--tune {request.tune}: is the speech that is scored, which would look too good; "
            "give other speech, such as dev-other for test-other"
        )


def _same(one: str, other: str) -> bool:
    return user_path(one).resolve() == user_path(other).resolve()


class _Heard:
    """One model that listens to several lists, and how long it took."""

    def __init__(self, request: DecodeRequest, recogniser: Recogniser, text: TextConfig) -> None:
        self.request, self.recogniser, self.text = request, recogniser, text
        self.skipped: list[list[str]] = []
        self.encoding, self.searching = 0.0, 0.0  # seconds

    def read(self, source: str, transcripts: str | None) -> tuple[list[Spoken], Manifest]:
        """Return the utterances of a list with their references, and what is wrong with others."""
        asked, vocabulary = self.request, self.recogniser.vocabulary
        return read_references(
            source, transcripts, self.text, vocabulary, asked.strict, asked.max_skipped
        )

    def tuned(self, source: str) -> list[GridPoint]:
        """Try all weights on a list, and go on with the best."""
        wanted, found = self.read(source, None)
        with _bar("tuning: encode", wanted, found) as bar:
            emissions = []
            for one, log_probs in self.recogniser.emissions(wanted, self.request.strict, bar):
                emissions.append((one.text, log_probs))
                bar.advance(one.samples / SAMPLE_RATE)
        bar.check(source, self.request.max_skipped, "mend the files named")
        search, recogniser = self.recogniser.search, self.recogniser
        assert isinstance(search, BeamSearch)
        grid = tune(
            search, emissions, recogniser.vocabulary, recogniser.frame_seconds,
            self.request.lm_weights, self.request.word_scores,
        )  # fmt: skip
        recogniser.search = search.with_weights(grid[0].lm_weight, grid[0].word_score)
        return grid

    def decoded(self, wanted: list[Spoken], found: Manifest) -> list[Decoded]:
        """Recognise every utterance and count its errors."""
        done: dict[str, Decoded] = {}
        began = time.monotonic()
        with _bar("decode", wanted, found) as bar:
            for one, log_probs in self.recogniser.emissions(wanted, self.request.strict, bar):
                self.encoding += time.monotonic() - began
                done[one.name] = self._one(one, log_probs)
                bar.advance(one.samples / SAMPLE_RATE)
                began = time.monotonic()
        self.skipped = bar.skipped
        bar.check(self.request.data, self.request.max_skipped, "mend the files named")
        return [done[one.name] for one in wanted if one.name in done]

    def _one(self, spoken: Spoken, log_probs: np.ndarray) -> Decoded:
        began = time.monotonic()
        hypotheses = self.recogniser.hypotheses(log_probs)
        self.searching += time.monotonic() - began
        said = hypotheses[0].text
        return Decoded(
            spoken,
            hypotheses,
            word_errors(spoken.text, said),
            character_errors(spoken.text, said),
        )


def _bar(what: str, wanted: Sequence[Spoken], found: Manifest) -> AudioBar:
    hours = sum(one.samples for one in wanted) / SAMPLE_RATE / 3600
    return AudioBar.over(what, replace(found, hours=hours), show=True)


def _record(
    request: DecodeRequest,
    recogniser: Recogniser,
    text: TextConfig,
    utterances: Sequence[Decoded],
    heard: _Heard,
) -> dict[str, Any]:
    """What came out, and with what: `mt4ssl wer-table` reads it."""
    errors = {
        "wer": [one.words for one in utterances],
        "cer": [one.characters for one in utterances],
    }
    seconds = sum(one.spoken.samples for one in utterances) / SAMPLE_RATE
    names = ("mt4ssl", "torch", "jiwer", "flashlight-text")
    return {
        "checkpoint": hub_models.origin(recogniser.source) or recogniser.source,
        "fingerprint": checkpoint_fingerprint(recogniser.source),
        "data": str(user_path(request.data)),
        "utterances": len(utterances),
        "seconds": round(seconds, 3),
        "empty": sum(not one.hypotheses[0].text for one in utterances),
        "empty_references": sum(not one.spoken.text for one in utterances),
        **summary(errors, [one.spoken.speaker for one in utterances]),
        "search": _search_record(request.search, recogniser),
        "text": asdict(text),
        "real_time_factor": {
            "encode": round(heard.encoding / seconds, 5),
            "search": round(heard.searching / seconds, 5),
            "device": str(recogniser.model.encoder.device),
        },
        "skipped": heard.skipped,
        "versions": {name: found for name in names if (found := _version(name))},
    }


def _search_record(request: SearchRequest, recogniser: Recogniser) -> dict[str, Any]:
    if not isinstance(recogniser.search, BeamSearch):
        return {"kind": "greedy"}
    files = {name: getattr(request, name) for name in ("lm", "lexicon")}
    digests = {
        f"{name}_sha256": None if path is None else file_sha256(user_path(path))
        for name, path in files.items()
    }
    lexicon, model = recogniser.search.lexicon, recogniser.search.model
    words = {"words": len(lexicon.words), "words_left_out": lexicon.left_out} if lexicon else {}
    order = {"lm_order": len(model.counts)} if model and model.counts else {}
    settings = asdict(recogniser.search.settings)
    return {"kind": "beam", **files, **digests, **order, **words, **settings}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None
