"""``mt4ssl decode``: what is scored, with what, and what is left behind."""

import csv
import json
import shutil

import pytest
import soundfile
from recognisers import LETTERS, PitchModel, saved, spoken

import mt4ssl_cli
from mini_superb.ngram import BackOff
from mt4ssl_core import files
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.recognition import decode as decoding
from mt4ssl_core.recognition import decode_files
from mt4ssl_core.recognition.decode import DecodeRequest
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.recognition.references import text_settings
from mt4ssl_core.recognition.search_request import SearchRequest
from mt4ssl_core.settings.recognition_defaults import BeamSettings

SAID = {  # file: (speaker, what it holds, its transcript)
    "1-1-0001": ("1", "AB CAB", "AB CAB"),
    "1-1-0002": ("1", "BA A BC", "BA A A"),
    "2-3-0001": ("2", "BC", "BC CAB"),
    "2-3-0002": ("2", "A", "A"),
}


@pytest.fixture
def speech(tmp_path):
    """LibriSpeech's layout."""
    root = tmp_path / "LibriSpeech" / "test-clean"
    for name, (speaker, holds, text) in SAID.items():
        folder = root / speaker / name.split("-")[1]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.flac", spoken(holds), 16_000)
        chapter = "-".join(name.split("-")[:2])
        with open(folder / f"{chapter}.trans.txt", "a") as file:
            file.write(f"{name} {text}\n")
    return root


@pytest.fixture
def dev(speech):
    """The same utterances elsewhere."""
    return shutil.copytree(speech, speech.parent / "dev-clean")


@pytest.fixture
def lm(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(BackOff(["AB CAB", "BA A BC", "BC CAB", "A"], 4).arpa())
    return str(path)


@pytest.fixture
def hearing(tmp_path, monkeypatch):
    """A checkpoint in whose place `PitchModel` listens."""
    path = saved(tmp_path / "last.pt")

    def load(checkpoint, request, device, dictionary):
        model = PitchModel()
        return Recogniser(model, request.searcher(model.vocabulary), checkpoint)

    monkeypatch.setattr(decoding.Recogniser, "load", load)
    return path


def asked(hearing, speech, **more):
    return decoding.decode(DecodeRequest(hearing, str(speech), device="cpu", **more))


def test_errors_are_counted_over_all_and_by_speaker(hearing, speech):
    found = asked(hearing, speech)
    record = found.record
    assert record["wer"]["rate"] == pytest.approx(2 / 8)
    assert (record["wer"]["substitutions"], record["wer"]["deletions"]) == (1, 1)
    assert (record["utterances"], record["interval_over"], record["groups"]) == (4, "speakers", 2)
    assert record["wer"]["interval"] == pytest.approx([1 / 5, 1 / 3])
    assert record["search"] == {"kind": "greedy"}
    assert record["data"] == str(speech) and len(record["fingerprint"]) == 64
    assert [one.spoken.name for one in found.utterances] == sorted(
        one.spoken.name for one in found.utterances
    )
    json.dumps(record, allow_nan=False)


def test_empty_references_are_counted_and_said(hearing, speech):
    chapter = speech / "2" / "3" / "2-3.trans.txt"
    chapter.write_text("2-3-0001 BC CAB\n2-3-0002\n")
    found = asked(hearing, speech)
    assert found.record["empty_references"] == 1
    assert "empty references: 1;" in decode_files.said(found)
    assert "empty references" not in decode_files.said(asked(hearing, speech / "1"))


def test_what_is_left_behind(hearing, speech, dev, lm, tmp_path):
    search = SearchRequest(lm, beam=BeamSettings(beam=30, nbest=3))
    found = asked(
        hearing,
        speech,
        search=search,
        tune=str(dev),
        lm_weights=(0.0, 0.5),
        word_scores=(-1.0, 0.0),
    )
    folder = decode_files.write(found, tmp_path / "out")
    record = json.loads((folder / "decode.json").read_text())
    assert record == found.record
    assert record["search"]["kind"] == "beam" and record["search"]["lm_order"] == 4
    assert record["search"]["lm_weight"] == record["tuned"]["lm_weight"]
    rows = list(csv.DictReader((folder / "utterances.csv").open()))
    assert [row["speaker"] for row in rows] == ["1", "1", "2", "2"]
    assert rows[2]["reference"] == "BC CAB" and rows[2]["hypothesis"] == "BC"
    assert sum(int(row["deletions"]) for row in rows) == record["wer"]["deletions"]
    lines = [json.loads(line) for line in (folder / "nbest.jsonl").read_text().splitlines()]
    scores = [one["score"] for one in lines[0]["hypotheses"]]
    assert len(scores) > 1 and scores == sorted(scores, reverse=True)
    grid = list(csv.DictReader((folder / "tuning.csv").open()))
    assert len(grid) == 4
    assert float(grid[0]["wer"]) == min(float(point["wer"]) for point in grid)
    assert "REF: BC CAB\nHYP: BC ***\n" in (folder / "worst.txt").read_text()
    said = decode_files.said(found)
    assert "tuned on" in said and "WER 2" in said and "bootstrap over 2 speakers" in said
    decode_files.write(asked(hearing, speech), folder)  # greedy: one hypothesis, no grid
    assert not (folder / "nbest.jsonl").exists() and not (folder / "tuning.csv").exists()


def test_a_full_disk_leaves_an_earlier_decoding_whole(hearing, speech, dev, tmp_path, monkeypatch):
    folder = decode_files.write(asked(hearing, speech), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path):
        if path.name == "worst.txt":
            raise OSError("No space left on device")
        return files.atomic_path(path)

    monkeypatch.setattr(decode_files, "atomic_path", full)
    with pytest.raises(OSError, match="No space left"):
        decode_files.write(asked(hearing, dev), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_tuned_weights_are_those_of_a_search_with_them(hearing, speech, dev, lm):
    tuned = asked(
        hearing, speech, search=SearchRequest(lm, beam=BeamSettings(beam=30)), tune=str(dev),
        lm_weights=(0.3, 5.0), word_scores=(0.0,),
    )  # fmt: skip
    best = tuned.record["tuned"]
    settings = BeamSettings(beam=30, lm_weight=best["lm_weight"], word_score=0.0)
    alone = asked(hearing, speech, search=SearchRequest(lm, beam=settings))
    assert alone.record["wer"] == tuned.record["wer"]
    assert alone.record["wer"]["rate"] == pytest.approx(best["wer"])


@pytest.mark.parametrize(
    ("tokens", "case"),
    [(LETTERS.tokens, "upper"), (("<pad>", "|", "a", "b"), "lower"), (("_", "|", "'"), "keep")],
)
def test_transcripts_are_read_as_the_model_writes(tokens, case):
    vocabulary = Vocabulary(tuple(tokens))
    assert text_settings(None, vocabulary, None, None).case == case
    assert text_settings(None, vocabulary, "keep", "-").remove == "-"
    trained = {"text": {"case": "lower", "remove": "!", "units": "letters"}}
    found = text_settings(trained, vocabulary, None, None)
    assert (found.case, found.remove) == ("lower", "!")
    phones = Vocabulary(("<s>", "AH", "B"))
    assert text_settings(None, phones, None, None).units == "tokens"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"remove": 5}, "text.remove: 5; expected text"),
        ({"remove": None}, "text.remove: cannot be null"),
        ({"case": "title"}, "text.case: 'title'; use upper, lower or keep"),
        ({"units": ["letters"]}, "text.units: .*expected text"),
        ({"caes": "upper"}, "text.caes: .*text.case"),
        ({7: "upper"}, "text.7"),
        (None, "text: cannot be null"),
        (["upper"], "text: expected a mapping"),
    ],
)
def test_text_settings_of_a_damaged_checkpoint_are_refused(text, said):
    with pytest.raises(ValueError, match=rf"(?s)^last\.pt: .*{said}.*give another checkpoint"):
        text_settings({"text": text}, LETTERS, None, None, "last.pt")


def test_another_case_is_refused():
    with pytest.raises(ValueError, match=r"^--case: 'title'; use upper, lower or keep"):
        text_settings(None, LETTERS, "title", None)


def test_weights_of_the_command_are_tried_where_none_are_given(hearing, speech, dev, lm):
    found = asked(
        hearing, speech, search=SearchRequest(lm, beam=BeamSettings(beam=5)), tune=str(dev)
    )
    assert len(found.grid) == 6 * 5 and found.record["tuned"]["on"] == str(dev)


def test_no_weights_to_try_are_refused(hearing, speech, dev, lm):
    for none in ({"lm_weights": ()}, {"word_scores": []}):
        with pytest.raises(ValueError, match="none to try; give some, or leave them out"):
            asked(hearing, speech, search=SearchRequest(lm), tune=str(dev), **none)


@pytest.mark.parametrize("weights", [{"lm_weights": (1.0, -1.0)}, {"word_scores": (2e3,)}])
def test_weights_that_cannot_be_are_refused_before_anything_is_heard(weights):
    request = DecodeRequest("gone.pt", "gone", SearchRequest("lm.arpa"), tune="dev", **weights)
    with pytest.raises(ValueError, match=r"^--lm-weights, --word-scores: .*must be at least"):
        decoding.decode(request)


def test_weights_to_try_are_refused_where_nothing_is_tuned():
    with pytest.raises(ValueError, match="are what --tune tries; give it, too"):
        decoding.decode(DecodeRequest("gone.pt", "gone", lm_weights=(1.0, 9.0)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "gone"}, "gone: no such file"),
        ({"tune": "DATA"}, "--tune needs a language model"),
        ({"tune": "DATA", "search": SearchRequest("lm.arpa")}, "is the speech that is scored"),
        ({"labelled": "ten"}, "--labelled ten: give an amount"),
        ({"case": "lower"}, "'a' 7, 'b' 5, 'c' 3; it has A B C"),
    ],
)
def test_what_cannot_be_is_said(hearing, speech, change, said):
    request = {
        "data": str(speech),
        **{k: str(speech) if v == "DATA" else v for k, v in change.items()},
    }
    with pytest.raises(ValueError, match=said):
        decoding.decode(DecodeRequest(hearing, device="cpu", **request))


def test_audio_without_a_transcript_is_named(hearing, speech, capsys):
    soundfile.write(speech / "1" / "1" / "1-1-0003.flac", spoken("AB"), 16_000)
    found = asked(hearing, speech, max_skipped=1.0)
    assert found.problems == ["1 utterances were not scored; mend those named above"]
    assert found.record["skipped"][0][1] == "no transcript"
    with pytest.raises(ValueError, match="no transcript"):
        asked(hearing, speech, strict=True)


def test_too_much_that_cannot_be_read_is_refused_before_the_rest_is_heard(
    hearing, speech, monkeypatch
):
    for name in ("1-1-0003", "1-1-0004"):
        (speech / "1" / "1" / f"{name}.flac").write_bytes(b"no audio")
    monkeypatch.setattr(Recogniser, "log_probs", None)
    with pytest.raises(ValueError, match=r"2 of 6 files could not be used.*--max-skipped"):
        asked(hearing, speech)


def test_audio_alone_is_for_transcribe(hearing, tmp_path):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", spoken("AB"), 16_000)
    with pytest.raises(ValueError, match="no transcripts with this audio"):
        asked(hearing, tmp_path / "audio")


def test_numbers_of_a_grid():
    assert decoding.grid_of("--lm-weights", "0.5,1,1") == (0.5, 1.0)
    for text in ("", "a", "1,", "nan", "inf"):
        with pytest.raises(ValueError, match="--lm-weights"):
            decoding.grid_of("--lm-weights", text)


def test_the_command_prints_the_result_alone(hearing, speech, tmp_path, capsys):
    words = ["decode", hearing, str(speech), "--out", str(tmp_path / "out"), "--labelled", "10h"]
    assert mt4ssl_cli.main(words) == 0
    said = capsys.readouterr()
    assert "not looked at" not in said.err  # the transcripts are
    lines = said.out.splitlines()
    assert lines[0].startswith("WER 25.00 % (95 %: 20.00 to 33.33, bootstrap over 2 speakers): 1 ")
    assert lines[1].startswith("CER ")
    assert lines[2].startswith("real-time factor ")
    assert lines[3] == f"written: {tmp_path / 'out'}"
    assert json.loads((tmp_path / "out" / "decode.json").read_text())["labelled"] == "10h"
    decode_files.check_folder(tmp_path / "out")
    (tmp_path / "out" / "decode.json").unlink()
    decode_files.check_folder(tmp_path / "out")  # as an interrupted decoding leaves it
    words[4] = str(tmp_path)
    assert mt4ssl_cli.main(words) == 2
    assert "holds other files and no decode.json; give another" in capsys.readouterr().err
