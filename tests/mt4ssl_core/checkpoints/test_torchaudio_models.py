"""State dicts of torchaudio's models, with random weights, against these models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_convert import CONV, LENGTHS, perturb, waves, worst
from torchaudio.models import wav2vec2_model, wavlm_model

from mt4ssl_core.checkpoints import convert

# as torchaudio.pipelines has them, but for sizes that cost time
SHARED: dict[str, Any] = {
    "extractor_conv_layer_config": CONV, "encoder_embed_dim": 768, "encoder_num_heads": 12,
    "encoder_projection_dropout": 0.0, "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 64, "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0,
    "encoder_layer_drop": 0.0, "encoder_pos_conv_kernel": 16, "encoder_pos_conv_groups": 16,
    "encoder_num_layers": 2,
}  # fmt: skip
BASE: dict[str, Any] = {
    "extractor_mode": "group_norm", "extractor_conv_bias": False, "encoder_layer_norm_first": False,
}  # fmt: skip
LARGE: dict[str, Any] = {
    "extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True,
}  # fmt: skip


def bundle(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    size = BASE if kind.endswith("base") else LARGE
    values = {**SHARED, **size, **changes}
    if not kind.startswith("wavlm"):
        return perturb(wav2vec2_model(**values, aux_num_out=5 if "asr" in kind else None))
    places = {"encoder_num_buckets": 320, "encoder_max_distance": 800}
    return perturb(wavlm_model(**values, **places, aux_num_out=None))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["hubert_base", "wav2vec2_asr_large", "wavlm_base", "wavlm_large"])
def test_features_are_those_of_torchaudio(tmp_path, kind, capsys):
    model = bundle(kind)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    encoder: Any = convert.load_encoder(tmp_path / "model.pth")
    heard = "normalised waveforms" if kind.endswith("large") else "waveforms as they are"
    assert heard in capsys.readouterr().err
    assert encoder.cfg.normalize == kind.endswith("large")
    x = waves()
    together = encoder(x, torch.tensor(LENGTHS))
    for row, size in enumerate(LENGTHS):
        alone = encoder(x[row : row + 1, :size], torch.tensor([size])).hidden_states
        theirs, _ = model.extract_features(x[row : row + 1, :size])
        frames = int(together.lengths[row])
        last = encoder.layers - 1
        for layer in range(1, last + (not encoder.cfg.pre_norm)):  # theirs is before the last norm
            assert worst(alone[layer], theirs[layer - 1]) <= 1e-5
            assert worst(together.hidden_states[layer][row, :frames], theirs[layer - 1][0]) <= 1e-5
        normed = encoder.context.norm(theirs[-1]) if encoder.cfg.pre_norm else theirs[-1]
        assert worst(alone[last], normed) <= 1e-5


@pytest.mark.parametrize("wrap", [lambda w: {"state_dict": w}, lambda w: {"model": w}])
@pytest.mark.parametrize("before", ["model.", "module."])
def test_names_that_wrap_it_are_taken_away(tmp_path, wrap, before):
    weights = {f"{before}{key}": value for key, value in bundle("hubert_base").state_dict().items()}
    torch.save(wrap(weights), tmp_path / "model.pth")
    convert.load_encoder(tmp_path / "model.pth")


def odd(weights: dict[str, Any]) -> None:
    weights["encoder.transformer.layers.0.attention.other.weight"] = torch.zeros(2)


def lacking(weights: dict[str, Any]) -> None:
    weights.pop("encoder.transformer.layers.1.final_layer_norm.bias")


def kernels(weights: dict[str, Any]) -> None:
    weights["feature_extractor.conv_layers.0.conv.weight"] = torch.zeros(16, 1, 8)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (odd, "weights that this encoder lacks, e.g. .*other"),
        (lacking, r"layers\.1\.ffn_norm\.bias is missing"),
        (kernels, r"kernels \[8, 3"),
    ],
)
def test_what_is_no_bundle_is_refused_by_name(tmp_path: Path, damage, says):
    weights = bundle("hubert_base").state_dict()
    damage(weights)
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=rf"model\.pth: .*{says}"):
        convert.load_encoder(tmp_path / "model.pth")


def test_a_size_without_a_known_number_of_heads(tmp_path):
    torch.save(bundle("hubert_base", encoder_embed_dim=192).state_dict(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match="size 192, of which the number of heads is not known"):
        convert.load_encoder(tmp_path / "model.pth")
