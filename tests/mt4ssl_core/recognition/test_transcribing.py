"""From audio to text: long audio in pieces, captions, files."""

import json

import numpy as np
import pytest
import soundfile
import torch
from recognisers import HOP, LETTERS, PitchModel, drawn, saved, spoken

from mini_superb.ngram import BackOff
from mt4ssl_core.recognition import captions, long_audio
from mt4ssl_core.recognition.captions import Transcript
from mt4ssl_core.recognition.recogniser import Recogniser
from mt4ssl_core.recognition.search_request import SearchRequest
from mt4ssl_core.recognition.transcribe import check_one_file, shown, transcribe, write
from mt4ssl_core.search.hypothesis import Word
from mt4ssl_core.settings.recognition_defaults import BeamSettings

WORDS = ["AB", "BA", "CAB", "A", "BC"]


def hearing(request=None):
    model, asked = PitchModel(), request or SearchRequest()
    return Recogniser(model, asked.searcher(model.vocabulary), "it")


def heard(wave):
    return PitchModel()(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0][0]


def long_text(words, seed=0):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def test_what_is_heard_is_written():
    recogniser = hearing()
    (found,) = recogniser.hypotheses(recogniser.log_probs([spoken("AB CAB")])[0])
    assert found.text == "AB CAB"
    assert found.confidence > 0.9
    silence = np.zeros(16_000, np.float32)
    assert recogniser.hypotheses(recogniser.log_probs([silence])[0])[0].confidence is None
    starts = [word.start for word in found.words]
    assert starts == pytest.approx([0.0, 3 * 0.16], abs=0.03)


@pytest.mark.parametrize("longest", [6.0, 10.0, 1000.0])
def test_pieces_join_to_the_frames_of_the_whole(longest):
    wave = spoken(long_text(60))
    for size in (len(wave), len(wave) - 150, len(wave) - 317):
        cut = wave[:size]
        found = long_audio.pieces(cut, HOP, longest)
        kept = [len(range(10**6)[piece.kept(HOP)]) for piece in found]
        assert all(piece.last - piece.first <= longest * 16_000 for piece in found)
        assert all(piece.begin % HOP == piece.first % HOP == 0 for piece in found)
        assert len(found) == 1 or all(frames > 0 for frames in kept[:-1])
        parts = [heard(cut[piece.first : piece.last])[piece.kept(HOP)] for piece in found]
        assert torch.equal(torch.cat(parts), heard(cut))


def test_cuts_are_where_it_is_quiet():
    wave = np.random.default_rng(0).standard_normal(16_000 * 30).astype(np.float32)
    wave[16_000 * 8 : 16_000 * 9] *= 1e-3
    first = long_audio.pieces(wave, HOP, 12.0)[0]
    assert 8.0 <= first.end / 16_000 <= 9.0


@pytest.mark.parametrize("size", [1, 399, 16_000 * 36, 16_000 * 36 + 1, 16_000 * 100 + 77])
def test_every_length_has_as_many_frames_as_the_whole(size):
    recogniser = Recogniser(PitchModel(), lambda *_: [], "it")
    frames = max(0, (size - 400) // HOP + 1)
    if frames:
        wave = np.zeros(size, np.float32)
        assert len(recogniser.log_probs([wave])[0]) == frames
    assert sum(p.end - p.begin for p in long_audio.pieces(np.zeros(size, np.float32), HOP)) >= size


@pytest.mark.parametrize("with_words", [False, True])
def test_long_audio_is_transcribed_as_a_whole(tmp_path, with_words):
    text = long_text(150)  # 71 s
    request = SearchRequest()
    if with_words:
        lm = tmp_path / "lm.arpa"
        lm.write_text(BackOff([long_text(30, seed) for seed in range(5)], 2).arpa())
        request = SearchRequest(str(lm), beam=BeamSettings(beam=20, lm_weight=0.5))
    recogniser = hearing(request)
    wave = spoken(text)
    assert len(wave) > 70 * 16_000
    (found,) = recogniser.hypotheses(recogniser.log_probs([wave])[0])
    assert found.text == text
    ends = [word.end for word in found.words]
    assert ends == sorted(ends)
    assert ends[-1] <= len(wave) / 16_000


def test_weights_of_a_language_model_that_is_not_given_are_refused():
    with pytest.raises(ValueError, match="without one it is greedy; give --lm or --lexicon"):
        SearchRequest(beam=BeamSettings(lm_weight=3.0))
    assert SearchRequest().is_greedy and not SearchRequest(beam=BeamSettings(nbest=2)).is_greedy


def test_an_utterance_is_heard_alike_alone_and_in_a_batch():
    recogniser = Recogniser(drawn(), lambda *_: [], "it")
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(size).astype(np.float32) for size in (16_000, 400, 9_000)]
    together = recogniser.log_probs(waves)
    for wave, found in zip(waves, together, strict=True):
        alone = recogniser.log_probs([wave])[0]
        assert found.shape == alone.shape
        assert np.abs(found - alone).max() < 1e-4
        assert np.exp(found).sum(1) == pytest.approx(1, abs=1e-5)


def test_files_and_folders_in_their_order(tmp_path, capsys):
    texts = {"b.wav": "AB A", "sub/a.wav": "BA", "c.flac": "CAB CAB BC"}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, spoken(text), 16_000)
    (tmp_path / "sub" / "broken.wav").write_bytes(b"RIFF none")
    asked = [tmp_path / "c.flac", tmp_path / "b.wav", tmp_path / "sub"]
    found = transcribe(hearing(), asked)
    assert [one.text for one in found] == ["CAB CAB BC", "AB A", "BA"]
    assert [one.name for one in found] == ["c.flac", "b.wav", "a.wav"]
    said = capsys.readouterr()
    assert ("broken.wav" in said.err, said.out) == (True, "")  # which is for what was said
    with pytest.raises(ValueError, match=r"broken\.wav"):
        transcribe(hearing(), asked, strict=True, show=False)


def test_two_files_for_one_name_are_refused_before_anything_is_heard(tmp_path, monkeypatch):
    for name in ("a/x.wav", "b/x.wav"):
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, spoken("AB"), 16_000)
    recogniser = hearing()
    monkeypatch.setattr(recogniser, "log_probs", None)
    with pytest.raises(ValueError, match=r"x\.wav: .*x\.txt is another's"):
        transcribe(recogniser, [tmp_path / "a", tmp_path / "b"], show=False, out=tmp_path / "out")


HEARD = Transcript(
    "x/one.wav",
    4.0,
    (Word("AB", 0.5, 1.0, 0.9), Word("<A>&", 1.2, 1.5, 0.8), Word("C", 3.0, 3661.5, 0.5)),
    0.7333333,
)


def test_text_and_json_lines():
    assert captions.written(HEARD, "txt") == "AB <A>& C"
    found = json.loads(captions.written(HEARD, "jsonl"))
    assert list(found) == ["name", "text", "seconds", "words", "confidence"]
    assert found["words"][1] == {"text": "<A>&", "start": 1.2, "end": 1.5, "confidence": 0.8}
    assert found["confidence"] == 0.7333
    nothing = json.loads(captions.written(Transcript("x", 1.0, (), None), "jsonl"))
    assert (nothing["text"], nothing["confidence"]) == ("", None)


def test_captions():
    assert captions.written(HEARD, "srt") == (
        "1\n00:00:00,500 --> 00:00:01,500\nAB <A>&\n\n2\n00:00:03,000 --> 01:01:01,500\nC\n"
    )
    assert captions.written(HEARD, "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nAB &lt;A&gt;&amp;\n\n"
        "00:00:03.000 --> 01:01:01.500\nC\n"
    )
    silent = Transcript("a", 1.0, (), 1.0)
    assert captions.written(silent, "srt") == ""
    assert captions.written(silent, "vtt") == "WEBVTT\n"


def test_captions_can_be_read_in_time():
    words = [Word("LETTERS", n * 0.5, n * 0.5 + 0.4, 1.0) for n in range(100)]
    groups = captions.captions(words)
    assert [word for group in groups for word in group] == words
    for group in groups:
        assert group[-1].end - group[0].start <= captions.LONGEST
        assert len(" ".join(word.text for word in group)) <= captions.WIDEST


def test_several_files_are_named_and_written_apart(tmp_path):
    other = Transcript("two.flac", 1.0, (), 1.0)
    assert shown([HEARD], "txt") == "AB <A>& C"
    assert shown([HEARD, other], "txt") == "x/one.wav: AB <A>& C\ntwo.flac: "
    assert len(shown([HEARD, other], "jsonl").splitlines()) == 2
    with pytest.raises(ValueError, match="captions of several files; give --out"):
        check_one_file("srt", ["one.wav", "two.wav"], None)
    with pytest.raises(ValueError, match="captions of several files; give --out"):
        check_one_file("vtt", [tmp_path], None)
    paths = write([HEARD, other], tmp_path / "out", "srt")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in paths] == ["x/one.srt", "two.srt"]
    assert paths[0].read_text() == captions.written(HEARD, "srt")
    with pytest.raises(ValueError, match="another's"):
        write([HEARD, HEARD], tmp_path / "out", "txt")
    outside = Transcript("../../x.wav", 1.0, (), 1.0)
    with pytest.raises(ValueError, match="outside"):
        write([outside], tmp_path / "out", "txt")


def test_a_checkpoint_is_loaded_with_its_search(tmp_path):
    recogniser = Recogniser.load(saved(tmp_path / "last.pt"), device="cpu")
    assert recogniser.vocabulary == LETTERS
    assert recogniser.frame_seconds == 0.02
    with pytest.raises(ValueError, match=r"gone\.pt"):
        Recogniser.load(tmp_path / "gone.pt", device="cpu")
