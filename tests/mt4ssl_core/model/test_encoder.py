import csv

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import error

from mt4ssl_core.config import Config, EncoderConfig
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.extractor import ConvBlock
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.padding import padding_mask
from mt4ssl_core.model.targets.offline import OfflineConfig

VARIANTS = {
    "base": {},
    "group_norm, depth 1": {
        "extractor_norm": "group_norm",
        "pos_conv_depth": 1,
        "pos_conv_kernel": 128,
    },
    "large": {"pre_norm": True, "conv_bias": True, "pos_conv_depth": 1, "pos_conv_kernel": 128},
}


@pytest.mark.parametrize("name", ["P", "U", "S"])
def test_every_stage_equals_the_official_code(name):
    encoder, wanted = reference.official_model().eval().encoder, reference.tensors("features")
    waves, lengths, _ = reference.batch(name)
    with torch.no_grad():
        conv = encoder.extractor(waves, lengths)
        first = encoder.extractor.blocks[0](waves[..., None], None)[:, :40]
        frames, frame_lengths = encoder.frames(waves, lengths)
        padding = padding_mask(frame_lengths, frames.shape[1])
        clean = frames if padding is None else frames.masked_fill(padding[..., None], 0.0)
        encoded = encoder(waves, lengths)
        ours = {
            "conv0_first40": first.transpose(1, 2),
            "conv_features": conv.transpose(1, 2),
            "features_ln": encoder.feature_norm(conv),
            "features_proj": frames,
            "pos_conv": encoder.context.position(clean, padding).transpose(1, 2),
            "encoder_ln": encoded.hidden_states[0],
            "x": encoded.output,
        }
    for i in range(4):
        ours[f"layer{i}.x"] = encoded.hidden_states[i + 1].transpose(0, 1)
        ours[f"layer{i}.lr"] = encoded.ffn[i].transpose(0, 1)
    errors = {key: error(value, wanted[f"{name}.{key}"]) for key, value in ours.items()}
    assert max(errors.values()) <= 1e-5, errors


def test_base_has_the_official_tensors():
    cfg = Config()
    cfg.targets["offline"] = OfflineConfig(num_classes=504, label_offset=4)
    with torch.device("meta"):
        model = MT4SSL(cfg)
    student = {n: p for n, p in model.named_parameters() if ".teacher." not in n}
    assert sum(p.numel() for p in student.values()) == 94_142_456
    with open(reference.FOLDER / "base_state_dict_keys.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    wanted = {}
    for row in rows:
        key = row["key"]
        ema = key.startswith("_ema::")
        name = reference.teacher_name(key[6:]) if ema else reference.our_name(key)
        wanted[name] = row["shape"]
    assert {n: str(list(p.shape)) for n, p in model.named_parameters()} == wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_utterance_is_the_same_alone_and_in_any_batch(variant):
    torch.manual_seed(0)
    changes = {**VARIANTS[variant], "isolate_padding": True}
    encoder = Encoder(reference.encoder_config(**changes)).eval()
    lengths = torch.tensor([16000, 9999, 4000, 400])
    waves = torch.randn(4, 16000) * (torch.arange(16000) < lengths[:, None])
    with torch.no_grad():
        together = encoder(waves, lengths)
        for i, n in enumerate(lengths.tolist()):
            alone = encoder(waves[i : i + 1, :n], lengths[i : i + 1])
            frames = encoder.frame_lengths(n)
            assert alone.output.shape[1] == frames == together.lengths[i]
            for a, b in zip(alone.hidden_states, together.hidden_states, strict=True):
                assert error(b[i : i + 1, :frames], a) <= 1e-5


def test_official_padding_reaches_real_frames():
    encoder = reference.official_model().eval().encoder
    waves, lengths, _ = reference.batch("P")
    with torch.no_grad():
        together = encoder(waves, lengths).output[1, :57]
        alone = encoder(waves[1:2, :18520], lengths[1:2]).output[0]
    assert error(together, alone) > 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 5), st.integers(30, 90), st.booleans())
def test_two_matrix_products_are_a_convolution(stride, more, size, bias):
    kernel = stride + min(more, stride)
    torch.manual_seed(size)
    block = ConvBlock(3, 4, kernel, stride, bias, "none")
    x = torch.randn(2, size, 3, requires_grad=True)
    ours = block.convolve(x)
    theirs = block.conv(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    grad = torch.randn_like(ours)
    a, b = torch.autograd.grad(ours, x, grad)[0], torch.autograd.grad(theirs, x, grad)[0]
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_masked_frames_are_hidden_and_others_are_not():
    encoder = Encoder(reference.encoder_config(isolate_padding=True)).eval()
    waves, lengths = torch.randn(1, 8000), torch.tensor([8000])
    mask = torch.zeros(1, encoder.frame_lengths(8000), dtype=torch.bool)
    mask[0, 5:15] = True
    with torch.no_grad():
        changed = waves.clone()
        changed[0, 6 * 320 + 80 : 13 * 320] = 1.0  # seen by hidden frames alone
        a, b = encoder(waves, lengths, mask), encoder(changed, lengths, mask)
    torch.testing.assert_close(a.output, b.output)
    assert error(a.frames, b.frames) > 0.01


def test_layerdrop_skips_layers_in_training_only():
    encoder = Encoder(reference.encoder_config(layerdrop=0.5, isolate_padding=True))
    waves, lengths = torch.randn(1, 8000), torch.tensor([8000])
    torch.manual_seed(0)
    ran = [len(encoder(waves, lengths).ffn) for _ in range(40)]
    assert 1.2 < sum(ran) / 40 < 2.8
    assert all(len(encoder(waves, lengths).hidden_states) == 5 for _ in range(3))
    assert len(encoder.eval()(waves, lengths).ffn) == 4


def test_feature_grad_scale():
    waves, lengths = torch.randn(2, 4000), torch.tensor([4000, 4000])
    grads = []
    for scale in (1.0, 0.1):
        torch.manual_seed(1)
        encoder = Encoder(reference.encoder_config(feature_grad_scale=scale))
        encoder(waves, lengths).output.square().sum().backward()
        grads.append(encoder.extractor.blocks[0].conv.weight.grad)
    torch.testing.assert_close(grads[0] * 0.1, grads[1])


def test_too_short_an_utterance_is_named():
    encoder = Encoder(EncoderConfig(layers=1))
    with pytest.raises(ValueError, match="399 samples is shorter than one frame"):
        encoder(torch.zeros(1, 399), torch.tensor([399]))
