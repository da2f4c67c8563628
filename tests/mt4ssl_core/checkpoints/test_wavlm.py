"""WavLM's gated relative positions against transformers' model and Microsoft's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from test_convert import FEW_BUCKETS, HF_SMALL, LAYER_PRE, LENGTHS, perturb, waves, worst
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.attention import RelativeBias
from mt4ssl_core.model.encoder import Encoder


@pytest.mark.parametrize(("buckets", "farthest"), [(320, 800), (320, 1280), (16, 24)])
def test_every_distance_has_the_bucket_of_their_model(buckets, farthest):
    theirs = WavLMAttention(12, 3, num_buckets=buckets, max_distance=farthest)
    cfg = EncoderConfig(dim=12, heads=3, relative_buckets=buckets, relative_distance=farthest)
    ours = RelativeBias(cfg)
    ours.weight = theirs.rel_attn_embed.weight
    for frames in (1, 2, 1500):
        assert torch.equal(ours(frames), theirs.compute_bias(frames, frames))


def folder(path: Path, kind: Any = transformers.WavLMModel, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = perturb(kind(transformers.WavLMConfig(**HF_SMALL, **changes)))
    model.save_pretrained(path)
    return model


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {**LAYER_PRE, **FEW_BUCKETS}], ids=["base", "large"])
def test_padded_features_are_those_of_each_utterance_alone(tmp_path, changes):
    folder(tmp_path, **changes)
    encoder, x = convert.load_encoder(tmp_path), waves()
    encoded = encoder(x, torch.tensor(LENGTHS))
    for i, (size, frames) in enumerate(zip(LENGTHS, encoded.lengths.tolist(), strict=True)):
        alone = encoder(x[i : i + 1, :size], torch.tensor([size])).hidden_states
        for a, b in zip(alone, encoded.hidden_states, strict=True):
            assert worst(b[i, :frames], a[0]) <= 1e-5


@pytest.mark.parametrize("changes", [{}, {**LAYER_PRE, **FEW_BUCKETS}], ids=["base", "large"])
def test_there_and_back_is_bit_identical(tmp_path, changes):
    folder(tmp_path / "theirs", **changes)
    convert.export_hf(tmp_path / "theirs", tmp_path / "back")
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert (
        convert.load_encoder(tmp_path / "back").cfg == convert.load_encoder(tmp_path / "theirs").cfg
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "kind",
    [
        transformers.WavLMForCTC,
        transformers.WavLMForSequenceClassification,
        transformers.WavLMForXVector,
        transformers.WavLMForAudioFrameClassification,
    ],
)
def test_models_with_a_head_give_their_encoder(tmp_path, kind):
    model = folder(tmp_path, kind, vocab_size=5, num_labels=2)
    x = torch.randn(1, 8000)
    ours = convert.load_encoder(tmp_path)(x, torch.tensor([8000])).output
    assert worst(ours, model.wavlm(x).last_hidden_state) <= 1e-5


def microsoft(path: Path, **changes: Any) -> Any:
    """A file as Microsoft gives WavLM, with random weights, and the model of its own code."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    cfg = {
        "extractor_mode": "default",
        "encoder_layers": 3,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 64,
        "encoder_attention_heads": 4,
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
        "normalize": False,
        "relative_position_embedding": True,
        "num_buckets": 16,
        "max_distance": 24,
        "gru_rel_pos": True,
        **changes,
    }
    torch.manual_seed(0)
    model = perturb(WavLM(WavLMConfig(cfg)))
    torch.save({"cfg": cfg, "model": model.state_dict()}, path)
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{}, {"extractor_mode": "layer_norm", "layer_norm_first": True, "normalize": True}],
    ids=["base", "large"],
)
def test_files_of_microsoft(tmp_path, changes):
    model = microsoft(tmp_path / "WavLM.pt", **changes)
    x = torch.randn(1, 12_000)
    output, _ = model.extract_features(x)
    (_, layers), _ = model.extract_features(x, output_layer=3, ret_layer_results=True)
    theirs = [states.transpose(0, 1) for states, _ in layers]
    theirs[-1] = output  # after the final norm
    encoder = convert.load_encoder(tmp_path / "WavLM.pt")
    assert encoder.cfg.normalize == changes.get("normalize", False)
    ours = encoder(x, torch.tensor([12_000])).hidden_states
    assert max(worst(a, b) for a, b in zip(ours, theirs, strict=True)) <= 1e-5


def test_relative_positions_without_gates_are_refused(tmp_path):
    microsoft(tmp_path / "other.pt", gru_rel_pos=False)
    with pytest.raises(ValueError, match=r"other\.pt: gru_rel_pos = False, expected true"):
        convert.load_encoder(tmp_path / "other.pt")


def test_every_parameter_of_a_wavlm_learns():
    cfg = EncoderConfig(
        conv_layers=[[8, k, s] for k, s in ((10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2)],
        dim=16, layers=2, heads=4, ffn_dim=16, relative_buckets=320,
    )  # fmt: skip
    encoder = Encoder(cfg)
    lengths = torch.tensor([8000, 6000])
    encoder(torch.randn(2, 8000), lengths).output.square().sum().backward()
    without = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert without == {"mask_embedding"}
