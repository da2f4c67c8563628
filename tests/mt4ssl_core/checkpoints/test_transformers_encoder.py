"""Encoders that transformers computes: its own features, alone and in any batch."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_convert import CONV, perturb, worst

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint, encoder_fingerprint
from mt4ssl_core.checkpoints.foreign import huggingface, transformers_encoder
from upstream.door.expert import UpstreamExpert

SIZES = [12_000, 9_111, 9_111, 4_000, 960]
SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
WAVES: dict[str, Any] = SMALL | {"conv_dim": [16] * 7}
KINDS: dict[str, Any] = {
    "wav2vec2-bert": (transformers.Wav2Vec2BertModel, SMALL),
    "wav2vec2-bert-adapter": (transformers.Wav2Vec2BertForCTC, SMALL | {"add_adapter": True}),
    "wav2vec2-bert-rotary": (
        transformers.Wav2Vec2BertModel, SMALL | {"position_embeddings_type": "rotary"},
    ),
    "wav2vec2-conformer": (transformers.Wav2Vec2ConformerModel, WAVES),
    "wav2vec2-conformer-rotary": (
        transformers.Wav2Vec2ConformerForCTC, WAVES | {"position_embeddings_type": "rotary"},
    ),
    "sew": (
        transformers.SEWModel,
        WAVES | {
            "conv_kernel": [k for _, k, _ in CONV], "conv_stride": [s for _, _, s in CONV],
            "squeeze_factor": 2,
        },
    ),
}  # fmt: skip


def folder(path: Path, kind: str) -> Any:
    """A model of theirs with random weights, written to `path` with its feature extractor."""
    torch.manual_seed(0)
    form, values = KINDS[kind]
    model = perturb(form(form.config_class(vocab_size=5, **values)))
    model.save_pretrained(path)
    mel = "bert" in kind
    hearing = (
        transformers.SeamlessM4TFeatureExtractor if mel else transformers.Wav2Vec2FeatureExtractor
    )
    hearing().save_pretrained(path)
    return model


def noises() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [0.1 * torch.randn(size) for size in SIZES]


def theirs(model: Any, path: Path, wave: torch.Tensor) -> list[torch.Tensor]:
    """What transformers gives for an utterance by its own feature extractor."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    inputs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
    valid = int(inputs["attention_mask"].sum()) if "input_features" in inputs else None
    base = getattr(model, model.base_model_prefix, model)
    out = base(**inputs, output_hidden_states=True)
    states = list(out.hidden_states)
    if isinstance(base, transformers.Wav2Vec2ConformerModel):
        states[-1] = out.last_hidden_state
    return [state[0, :valid] for state in states]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(tmp_path, kind):
    model, waves = folder(tmp_path, kind), noises()
    encoder = convert.load_encoder(tmp_path)
    states, lengths = encoder.encode(waves)
    assert encoder.isolated and encoder.dim == 32
    assert len(states) == encoder.layers == 4
    assert encoder.frame_rate == (25 if kind == "sew" else 50)
    for row, wave in enumerate(waves):
        alone, (frames,) = encoder.encode([wave])
        wanted = theirs(model, tmp_path, wave)
        assert lengths[row] == frames == len(wanted[0])
        for layer, state in enumerate(states):
            assert worst(state[row, :frames], wanted[layer]) <= 1e-5
            assert worst(alone[layer][0], wanted[layer]) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("kind", ["wav2vec2-bert", "wav2vec2-conformer", "sew"])
def test_every_length_gives_features(tmp_path, kind):
    folder(tmp_path, kind)
    encoder = convert.load_encoder(tmp_path)
    for size in (1, 399, 400, 401, 560, 719, 720, 721, 1040):
        states, lengths = encoder.encode([torch.randn(size)])
        assert lengths[0] >= 1 and bool(states[-1].isfinite().all()), size
        assert abs(int(lengths[0]) - size / encoder.hop) <= 2
    expert = UpstreamExpert(str(tmp_path))
    found = expert([torch.randn(size) for size in SIZES])["hidden_states"]
    assert found[0].shape[1] >= round(max(SIZES) / expert.get_downsample_rates("hidden_states"))


def test_fingerprints_are_of_weights_and_of_what_it_hears(tmp_path):
    folder(tmp_path, "wav2vec2-bert")
    before = checkpoint_fingerprint(tmp_path), encoder_fingerprint(convert.load_encoder(tmp_path))
    transformers.SeamlessM4TFeatureExtractor(padding_value=1.0).save_pretrained(tmp_path)
    after = checkpoint_fingerprint(tmp_path), encoder_fingerprint(convert.load_encoder(tmp_path))
    assert before[0] != after[0] and before[1] != after[1]


def test_what_it_hears_may_be_said_in_the_processors_file(tmp_path):
    folder(tmp_path, "wav2vec2-bert")
    before = encoder_fingerprint(convert.load_encoder(tmp_path))
    hearing = tmp_path / "preprocessor_config.json"
    values = json.loads(hearing.read_text())
    hearing.unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": values}))
    assert encoder_fingerprint(convert.load_encoder(tmp_path)) == before


def test_untrained_copy_has_other_weights_every_time_the_same(tmp_path):
    folder(tmp_path, "sew")
    one, two = convert.load_encoder(tmp_path, 0), convert.load_encoder(tmp_path, 0)
    assert encoder_fingerprint(one) == encoder_fingerprint(two)
    assert encoder_fingerprint(one) != encoder_fingerprint(convert.load_encoder(tmp_path))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def less(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    weights.pop("encoder.layers.0.self_attn.linear_q.weight")
    save_file(weights | {"other.weight": torch.zeros(2)}, path / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: edit(p / "config.json", auto_map={"AutoModel": "a.B"}), "auto_map.*never run"),
        (lambda p: edit(p / "config.json", hidden_size="a"), "refuses it"),
        (lambda p: edit(p / "config.json", sampling_rate=8000), "sampling_rate = 8000"),
        (lambda p: edit(p / "preprocessor_config.json", sampling_rate=8000), "= 8000"),
        (lambda p: edit(p / "preprocessor_config.json", num_mel_bins=40), "hears 160 numbers"),
        (less, r"linear_q\.weight is missing; other\.weight is unknown"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path, damage, says):
    folder(tmp_path, "wav2vec2-bert")
    damage(tmp_path)
    with pytest.raises(ValueError, match=says):
        convert.load_encoder(tmp_path)


def test_without_transformers_the_remedy_is_said(tmp_path, monkeypatch):
    folder(tmp_path, "sew")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r'pip install "mt4ssl\[hf\]"'):
        convert.load_encoder(tmp_path)


def test_they_give_features_and_nothing_else(tmp_path):
    folder(tmp_path, "sew")
    assert set(huggingface.FEATURES_ONLY) == set(transformers_encoder.FORMS)
    with pytest.raises(ValueError, match="for features alone a sew, wav2vec2-bert"):
        convert.load_any(tmp_path)
    with pytest.raises(ValueError, match="Hugging Face model already"):
        convert.export_hf(tmp_path, tmp_path / "out")
