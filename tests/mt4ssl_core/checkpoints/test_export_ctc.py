"""A recogniser in other toolkits' form: the same text, the same logits."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
import transformers
import yaml
from recognisers import saved
from test_convert import SINGLE
from test_recognisers import SMALL

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.foreign.export.language_model import ForeignLM
from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.model.ctc import CTCModel
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.recognition.search_request import SearchRequest

LETTERS = Vocabulary.from_transcripts(["THE QUICK BROWN FOX'S JUMP"])
FORMS: dict[str, dict[str, Any]] = {
    "Data2VecAudioForCTC": {},
    "HubertForCTC": {**SINGLE, "extractor_norm": "group_norm", "normalize": False},
    "WavLMForCTC": {**SINGLE, "relative_buckets": 16, "relative_distance": 24},
}


def recogniser(vocabulary: Vocabulary, **changes: Any) -> CTCModel:
    """One that says letters and blanks, as a trained one does, and none of the marks."""
    torch.manual_seed(0)
    settings = EncoderConfig(**{**SMALL, "normalize_eps": 1e-7, **changes})
    model = CTCModel(Encoder(settings), vocabulary).eval()
    with torch.no_grad():
        model.head.weight.mul_(20)
        for number in range(len(vocabulary)):
            if vocabulary.is_special(number) and number != vocabulary.blank:
                model.head.bias[number] = -100.0
    return model


def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, size).astype(np.float32) for size in (16_000, 11_111)]


def said(model: CTCModel, wave: np.ndarray) -> tuple[str, torch.Tensor]:
    x = model.encoder.prepare(torch.from_numpy(wave))[None]
    with torch.no_grad():
        logits, _ = model(x, torch.tensor([len(wave)]))
    path = logits[0].argmax(-1).tolist()
    return model.vocabulary.text(model.vocabulary.collapse(path)), logits


@pytest.mark.parametrize("form", FORMS)
def test_transformers_pipeline_writes_the_same_text(tmp_path: Path, form: str) -> None:
    model = recogniser(LETTERS, **FORMS[form])
    out = convert.export(saved(tmp_path / "last.pt", model), tmp_path / "hf")
    recognise: Any = transformers.pipeline("automatic-speech-recognition", str(out))
    assert type(recognise.model).__name__ == form
    processor = transformers.AutoProcessor.from_pretrained(out)
    assert type(processor).__name__ == "Wav2Vec2Processor"
    for wave in waves():
        text, logits = said(model, wave)
        assert len(text) > 5
        assert " ".join(recognise(wave.copy())["text"].split()) == text
        with torch.no_grad():
            inputs = processor(wave, sampling_rate=16_000, return_tensors="pt")
            theirs = recognise.model(inputs["input_values"]).logits
        assert float((theirs - logits).abs().max() / logits.abs().max()) <= 1e-5
    again = load_ctc(out)
    assert torch.equal(said(again, waves()[0])[1], said(model, waves()[0])[1])
    assert again.vocabulary.blank == 0 and again.vocabulary.tokens[0] == "<pad>"
    front = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert front["pipeline_tag"] == "automatic-speech-recognition"


def test_a_vocabulary_of_hugging_faces_keeps_its_names(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("|", "a", "b", "[UNK]", "[PAD]"), 4)
    model = recogniser(vocabulary)
    out = convert.export(saved(tmp_path / "last.pt", model), tmp_path / "hf")
    assert json.loads((out / "vocab.json").read_text()) == {
        token: number for number, token in enumerate(vocabulary.tokens)
    }
    recognise: Any = transformers.pipeline("automatic-speech-recognition", str(out))
    text, _ = said(model, waves()[0])
    assert " ".join(recognise(waves()[0])["text"].split()) == text
    assert load_ctc(out).vocabulary == vocabulary


def test_phones_have_no_tokenizer_there(tmp_path: Path) -> None:
    model = recogniser(Vocabulary.from_transcripts(["AH B K"], spelled=False))
    path = saved(tmp_path / "last.pt", model)
    with pytest.raises(ValueError, match=r"last\.pt: recognises units such as phones"):
        convert.export(path, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_fairseqs_fine_tuned_form(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = recogniser(LETTERS, normalize_eps=1e-5)
    out = convert.export(saved(tmp_path / "last.pt", model), tmp_path / "out", "fairseq")
    assert not capsys.readouterr().err  # nothing is left out
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.pt", "dict.ltr.txt", "export.json",
    ]  # fmt: skip
    again = load_ctc(out / "checkpoint.pt")
    assert again.vocabulary == LETTERS and again.encoder.cfg == model.encoder.cfg
    assert torch.equal(said(again, waves()[0])[1], said(model, waves()[0])[1])


@pytest.mark.parametrize(
    ("vocabulary", "changes", "says"),
    [
        (Vocabulary(("|", "a", "<pad>"), 2), {}, "tokens do not begin with fairseq's <s>, <pad>"),
        (LETTERS, FORMS["WavLMForCTC"], "fairseq has no recogniser with relative_buckets"),
    ],
)
def test_recognisers_that_fairseq_lacks(tmp_path: Path, vocabulary, changes, says) -> None:
    path = saved(tmp_path / "last.pt", recogniser(vocabulary, **changes))
    with pytest.raises(ValueError, match=rf"last\.pt: .*{says}"):
        convert.export(path, tmp_path / "out", "fairseq")


@pytest.mark.parametrize("form", ["HubertForCTC", "WavLMForCTC"])
def test_torchaudios_model_has_the_head_as_aux(tmp_path: Path, form: str) -> None:
    model = recogniser(LETTERS, **FORMS[form])
    out = convert.export(saved(tmp_path / "last.pt", model), tmp_path / "out", "torchaudio")
    record = json.loads((out / "export.json").read_text())
    made = getattr(torchaudio.models, record["function"].split(".")[-1])(**record["arguments"])
    made.load_state_dict(torch.load(out / "model.pt", weights_only=True))
    text, logits = said(model, waves()[0])
    heard = model.encoder.prepare(torch.from_numpy(waves()[0]))[None]
    with torch.no_grad():
        theirs, _ = made.eval()(heard)
    assert float((theirs - logits).abs().max() / logits.abs().max()) <= 1e-5
    assert record["labels"] == list(LETTERS.tokens) and record["blank"] == 0 and text


ARPA = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-1.0\t</s>
-0.5\tTHE\t-0.3
-0.7\tQUICK
-0.9\tSQUID

\\2-grams:
-0.1\t<s> THE
-0.2\tTHE QUICK

\\end\\
"""


def test_a_language_model_lies_beside_in_pyctcdecodes_layout(tmp_path: Path) -> None:
    arpa = tmp_path / "3-gram.arpa.gz"
    arpa.write_bytes(gzip.compress(ARPA.encode()))
    lm = ForeignLM(arpa, lm_weight=2.0, word_score=-1.0)
    model = saved(tmp_path / "last.pt", recogniser(LETTERS))
    for _ in range(2):  # an earlier export is replaced
        out = convert.export(model, tmp_path / "hf", lm=lm)
    inside = out / "language_model"
    assert sorted(p.name for p in inside.iterdir()) == ["attrs.json", "lm.arpa", "unigrams.txt"]
    assert (inside / "lm.arpa").read_text() == ARPA
    assert (inside / "unigrams.txt").read_text() == "QUICK\nTHE\n"  # SQUID has a D
    weights = json.loads((inside / "attrs.json").read_text())
    assert weights.pop("alpha") == pytest.approx(2.0 / np.log(10))  # of natural logarithms
    assert weights == {"beta": -1.0, "unk_score_offset": -100.0, "score_boundary": True}
    labels = json.loads((out / "alphabet.json").read_text())
    vocabulary = json.loads((out / "vocab.json").read_text())
    for name, number in vocabulary.items():
        said = {"<pad>": "", "|": " ", "<unk>": "⁇"}.get(name, name)
        assert labels["labels"][number] == said
    assert labels["is_bpe"] is False
    for name in ("preprocessor_config.json", "tokenizer_config.json"):
        assert json.loads((out / name).read_text())["processor_class"] == "Wav2Vec2ProcessorWithLM"
    assert load_ctc(out).vocabulary.tokens[0] == "<pad>"
    (inside / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="holds something that is not an export"):
        convert.export(model, out, lm=lm)


def test_pyctcdecode_finds_what_decode_finds(tmp_path: Path) -> None:
    pyctcdecode = pytest.importorskip("pyctcdecode")
    pytest.importorskip("kenlm")
    arpa = tmp_path / "2-gram.arpa"
    arpa.write_text(ARPA)
    model = recogniser(LETTERS)
    out = convert.export(saved(tmp_path / "last.pt", model), tmp_path / "hf", lm=ForeignLM(arpa))
    decoder = pyctcdecode.BeamSearchDecoderCTC.load_from_dir(str(out))
    _, logits = said(model, waves()[0])
    log_probs = logits[0].log_softmax(-1).numpy()
    search = SearchRequest(str(arpa)).searcher(LETTERS)
    assert decoder.decode(log_probs, beam_width=500) == search(log_probs, 0.02)[0].text


@pytest.mark.parametrize(
    ("content", "to", "says"),
    [
        (ARPA.lower(), "hf", "case of the model's letters"),
        (ARPA[:-40], "hf", "cut short"),
        ("hello", "hf", "neither ARPA"),
        (ARPA, "fairseq", "leave --lm out"),
    ],
)
def test_language_models_that_cannot_go(tmp_path: Path, content: str, to: str, says: str) -> None:
    arpa = tmp_path / "x.arpa"
    arpa.write_text(content)
    model = saved(tmp_path / "last.pt", recogniser(LETTERS))
    with pytest.raises(ValueError, match=says):
        convert.export(model, tmp_path / "out", to, lm=ForeignLM(arpa))
    assert not (tmp_path / "out").exists()
