import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from recognisers import saved
from reference import to_fairseq

from mt4ssl_core import config
from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.vocabulary import Vocabulary, frames_needed
from mt4ssl_core.model.ctc import CTCModel, ctc_losses
from mt4ssl_core.model.encoder import Encoder

CONV = [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2
SMALL: dict[str, Any] = {"conv_layers": CONV, "dim": 32, "layers": 2, "heads": 4, "ffn_dim": 64}
FAIRSEQ = {
    "_name": "wav2vec2",
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
    "extractor_mode": "layer_norm",
    "encoder_embed_dim": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_embed_dim": 64,
}
VOCABULARY = Vocabulary.from_transcripts(["ABC A"])


def recogniser(**changes) -> CTCModel:
    torch.manual_seed(0)
    return CTCModel(Encoder(EncoderConfig(**SMALL, **changes)), VOCABULARY).eval()


def logits(model, size=5000):
    wave = torch.randn(1, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(wave, torch.tensor([size]))


def test_a_checkpoint_of_ours_is_a_recogniser_and_an_encoder(tmp_path):
    model = recogniser()
    path = saved(tmp_path / "last.pt", model)
    again = load_ctc(path)
    assert again.vocabulary == VOCABULARY and not again.training
    for a, b in zip(logits(model), logits(again), strict=True):
        assert torch.equal(a, b)
    encoder = convert.load_encoder(path)
    assert torch.equal(encoder.projection.weight, model.encoder.projection.weight)
    with pytest.raises(ValueError, match="has its own vocabulary"):
        load_ctc(path, tmp_path / "dict.ltr.txt")


def fairseq_dictionary(monkeypatch):
    """An object that is pickled as fairseq's."""
    kind = type("Dictionary", (), {"__module__": "fairseq.data.dictionary"})
    module = SimpleNamespace(Dictionary=kind)
    for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
        monkeypatch.setitem(sys.modules, name, module)
    made: Any = kind()
    made.symbols = [*VOCABULARY.tokens]
    return made


@pytest.mark.parametrize("where", ["beside", "given", "inside"])
def test_a_fine_tuned_fairseq_model_has_its_own_head(tmp_path, monkeypatch, where):
    model = recogniser(pos_conv_depth=1, pos_conv_kernel=128)
    encoder = {"config": {"encoder": config.to_dict(model.encoder.cfg)}, "targets": {}}
    weights = to_fairseq(encoder | {"encoder": model.encoder.state_dict()})
    state = {f"w2v_encoder.w2v_model.{k}": v for k, v in weights.items()}
    state |= {f"w2v_encoder.proj.{k}": v for k, v in model.head.state_dict().items()}
    below = {"model": FAIRSEQ, "task": {"normalize": True}}
    above = {"_name": "wav2vec_ctc", "w2v_args": below, "normalize": True}
    saved: dict[str, Any] = {"cfg": {"model": above, "task": {"labels": "ltr"}}, "model": state}
    dictionary = tmp_path / ("dict.ltr.txt" if where == "beside" else "other.txt")
    if where == "inside":
        saved["task_state"] = {"target_dictionary": fairseq_dictionary(monkeypatch)}
    else:
        dictionary.write_text(VOCABULARY.fairseq_lines())
    torch.save(saved, tmp_path / "best.pt")
    again = load_ctc(tmp_path / "best.pt", dictionary if where == "given" else None)
    assert again.vocabulary == VOCABULARY
    assert torch.equal(logits(model)[0], logits(again)[0])


def test_hugging_faces_recogniser_gives_the_same_logits(tmp_path):
    torch.manual_seed(0)
    options = transformers.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        conv_dim=[16] * 7, vocab_size=5, pad_token_id=4,
    )  # fmt: skip
    model = transformers.Wav2Vec2ForCTC(options).eval()
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"|": 0, "a": 1, "b": 2, "[UNK]": 3}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": 4, "<s>": 5}))
    again = load_ctc(tmp_path)
    assert again.vocabulary == Vocabulary(("|", "a", "b", "[UNK]", "[PAD]"), 4)
    wave = torch.randn(1, 5000)
    with torch.no_grad():
        error = again(wave, torch.tensor([5000]))[0] - model(wave).logits
    assert error.abs().max() <= 1e-5


def damaged(tmp_path, kind):
    model = recogniser()
    if kind == "encoder":
        return saved(tmp_path / "a.pt", model, targets={})
    if kind == "compact":
        return convert.export(
            saved(tmp_path / "a.pt", model, targets={}), tmp_path / "a", "compact"
        )
    if kind == "text":
        (tmp_path / "a.pt").write_text("hello")
        return tmp_path / "a.pt"
    if kind == "size":
        return saved(tmp_path / "a.pt", model, vocabulary={"tokens": ["a", "b"], "blank": 0})
    if kind == "vocabulary":
        return saved(tmp_path / "a.pt", model, vocabulary="abc")
    return saved(tmp_path / "a.pt", model, targets={"ctc": {"head.weight": torch.zeros(3)}})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("encoder", "an encoder without a CTC head"),
        ("compact", "an encoder without a CTC head; fine-tune it"),
        ("text", r"not a readable checkpoint \(not as torch\.save writes them\)"),
        ("size", "weights of another shape"),
        ("vocabulary", "holds no vocabulary"),
        ("head", "bias is missing"),
    ],
)
def test_what_is_no_recogniser_is_said(tmp_path, kind, said):
    path = damaged(tmp_path, kind)
    with pytest.raises(ValueError, match=said) as error:
        load_ctc(path)
    assert str(path) in str(error.value)


def test_frozen_the_encoder_gets_no_gradient():
    model = recogniser().train()
    out, _ = model(torch.randn(1, 5000), torch.tensor([5000]), frozen=True)
    out.sum().backward()
    assert model.head.weight.grad is not None
    assert all(p.grad is None for p in model.encoder.parameters())


def test_the_loss_is_the_sum_over_all_paths():
    """Two frames, one token: aa, a-, -a."""
    logits = torch.randn(1, 2, 3)
    p = logits.softmax(-1)[0]
    by_hand = -torch.log(p[0, 1] * p[1, 1] + p[0, 1] * p[1, 0] + p[0, 0] * p[1, 1])
    sizes = torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])
    assert torch.allclose(ctc_losses(logits, *sizes, blank=0), by_hand)
    impossible = torch.tensor([2]), torch.tensor([[1, 1]]), torch.tensor([2])
    assert frames_needed([1, 1]) == 3 and frames_needed([1, 2]) == 2 and frames_needed([]) == 0
    assert ctc_losses(logits, *impossible, blank=0).item() == 0
