"""``mt4ssl transcribe`` and ``decode``: speech to text with a fine-tuned model."""

import sys
from typing import TYPE_CHECKING, Annotated

from mt4ssl_cli import options as o
from mt4ssl_cli.framework import command, group, incomplete
from mt4ssl_cli.readers import field_of
from mt4ssl_core.config import DataConfig
from mt4ssl_core.settings import labelling_defaults as labelling
from mt4ssl_core.settings.recognition_defaults import (
    CASES,
    FORMATS,
    LM_WEIGHTS,
    WORD_SCORES,
    BeamSettings,
)

if TYPE_CHECKING:
    from mt4ssl_core.recognition.search_request import SearchRequest

recognition = group()
RECOGNISER = "fine-tuned: ours, fairseq's, or a Hugging Face ...ForCTC folder or name"
SOURCES = "audio files, folders, .tsv or CutSets"
TRANSCRIBED = "transcribed speech: as data.train of `mt4ssl finetune`"
Model = Annotated[str, o.argument("CKPT", RECOGNISER)]
Lm = Annotated[
    str | None, o.path("FILE", "language model: ARPA, the same gzipped, or KenLM's binary")
]
LexiconFile = Annotated[
    str | None,
    o.path("FILE", "lines such as: HELLO H E L L O |", default="the words of an ARPA --lm"),
]
Dictionary = Annotated[
    str | None, o.path("FILE", "dict.ltr.txt of a fairseq model that has none beside it")
]
Beam = Annotated[int, o.number(field_of(BeamSettings, "beam"), "hypotheses kept at every frame")]
SilScore = Annotated[
    float, o.number(field_of(BeamSettings, "sil_score"), "added for every word boundary")
]


def _search(
    lm: str | None, lexicon: str | None, beam: int, lm_weight: float, word_score: float,
    sil_score: float, nbest: int = BeamSettings.nbest,
) -> "SearchRequest":  # fmt: skip
    from mt4ssl_core.recognition.search_request import SearchRequest

    settings = BeamSettings(
        beam=beam, lm_weight=lm_weight, word_score=word_score, sil_score=sil_score, nbest=nbest
    )
    return SearchRequest(lm, lexicon, settings)


@command(recognition, "mt4ssl transcribe runs/asr/best.pt talk.wav --format srt")
def transcribe(
    checkpoint: Model,
    audio: Annotated[list[str], o.argument("AUDIO", SOURCES)],
    format: Annotated[str, o.choice(FORMATS, "of what is written")] = FORMATS[0],
    out: Annotated[
        str | None, o.path("DIR", "write a file per file there", default="print it")
    ] = None,
    lm: Lm = None,
    lexicon: LexiconFile = None,
    beam: Beam = BeamSettings.beam,
    lm_weight: o.LmWeight = BeamSettings.lm_weight,
    word_score: o.WordScore = BeamSettings.word_score,
    sil_score: SilScore = BeamSettings.sil_score,
    dictionary: Dictionary = None,
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
) -> int:
    """Write down what is said in audio files of any length."""
    from mt4ssl_core.lines import say
    from mt4ssl_core.recognition import transcribe as transcribing
    from mt4ssl_core.recognition.recogniser import Recogniser

    request = _search(lm, lexicon, beam, lm_weight, word_score, sil_score)
    transcribing.check_one_file(format, audio, out)
    recogniser = Recogniser.load(checkpoint, request, device, dictionary)
    if recogniser.doubt:
        say(recogniser.doubt, sys.stderr)
    broken: list[str] = []
    found = transcribing.transcribe(
        recogniser, audio, strict, max_skipped, broken=broken, out=out, format=format
    )
    if out is None:
        print(transcribing.shown(found, format))
    else:
        print(f"written: {len(transcribing.write(found, out, format))} files in {out}")
    return incomplete(broken)


@command(recognition, "mt4ssl decode runs/asr/best.pt LibriSpeech/test-other --lm 4-gram.arpa.gz")
def decode(
    checkpoint: Model,
    data: Annotated[str, o.argument("DATA", TRANSCRIBED)],
    out: Annotated[
        str | None, o.path("DIR", "for the record and tables", default="print the result")
    ] = None,
    transcripts: Annotated[str | None, o.path("FILE", "of a .tsv with none beside it")] = None,
    lm: Lm = None,
    lexicon: LexiconFile = None,
    tune: Annotated[str | None, o.path("DATA", "try weights on this speech before")] = None,
    lm_weights: Annotated[str, o.word("A,B", "that --tune tries")] = LM_WEIGHTS,
    word_scores: Annotated[str, o.word("A,B", "that --tune tries")] = WORD_SCORES,
    beam: Beam = BeamSettings.beam,
    lm_weight: o.LmWeight = BeamSettings.lm_weight,
    word_score: o.WordScore = BeamSettings.word_score,
    sil_score: SilScore = BeamSettings.sil_score,
    nbest: Annotated[
        int, o.number(field_of(BeamSettings, "nbest"), "hypotheses, in nbest.jsonl")
    ] = BeamSettings.nbest,
    case: Annotated[
        str | None, o.choice(CASES, "of the transcripts; else as in fine-tuning")
    ] = None,
    labelled: Annotated[
        str | None, o.word("AMOUNT", "it was fine-tuned on, for `mt4ssl wer-table`: 10m, 1h, ...")
    ] = None,
    remove: Annotated[str | None, o.word("MARKS", "to take out of the transcripts")] = None,
    dictionary: Dictionary = None,
    device: o.Device = labelling.DEVICE,
    strict: o.Strict = False,
    max_skipped: o.MaxSkipped = DataConfig.max_skipped,
) -> int:
    """Recognise transcribed speech and count the errors."""
    from mt4ssl_core.recognition import decode as decoding
    from mt4ssl_core.recognition import decode_files

    decode_files.check_folder(out)
    found = decoding.decode(decoding.DecodeRequest(
        checkpoint, data, _search(lm, lexicon, beam, lm_weight, word_score, sil_score, nbest),
        transcripts=transcripts, tune=tune, case=case, remove=remove, labelled=labelled,
        lm_weights=decoding.grid_of("--lm-weights", lm_weights),
        word_scores=decoding.grid_of("--word-scores", word_scores),
        dictionary=dictionary, device=device, strict=strict, max_skipped=max_skipped,
    ))  # fmt: skip
    print(decode_files.said(found))
    if out is not None:
        print(f"written: {decode_files.write(found, out)}")
    return incomplete(found.problems)
