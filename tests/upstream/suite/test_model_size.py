"""upstream/suite/model_size.py."""

from dataclasses import replace

import pytest
import superb_data
import torch
from torch.utils.flop_counter import FlopCounterMode

from analysis.records import score_files
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder
from upstream.door.expert import UpstreamExpert
from upstream.suite import model_size

HUBERT_BASE = EncoderConfig(
    extractor_norm="group_norm", pos_conv_depth=1, pos_conv_kernel=128, attention_dropout=0.1
)
LARGE = replace(HUBERT_BASE, layers=24, dim=1024, heads=16, ffn_dim=4096)


@pytest.mark.parametrize(
    ("name", "cfg"),
    [
        ("HuBERT Base", HUBERT_BASE),
        ("wav2vec 2.0 Base", HUBERT_BASE),
        ("HuBERT Large", replace(LARGE, attention_dropout=0.0)),
        ("wav2vec 2.0 Large", LARGE),
    ],
)
def test_macs_are_the_published_ones(name, cfg):
    counted = sum(model_size.macs_of(cfg, samples) for samples in model_size.UTTERANCES)
    assert counted == score_files.published().sizes[name].macs


@pytest.mark.parametrize("front", [{}, {"frontend": "mel"}, {"frontend": "mel", "mel_stack": 4}])
def test_products_are_those_that_torch_counts(front):
    small = {"layers": 2, "dim": 64, "heads": 4, "ffn_dim": 128, "pos_conv_groups": 4}
    cfg = replace(EncoderConfig(), **small, **front)
    encoder = Encoder(cfg).eval()
    samples = 16_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, samples), torch.tensor([samples]))
    frames = encoder.frame_lengths(samples)
    attention = cfg.layers * (4 * frames * cfg.dim + 4 * cfg.heads * frames**2)  # besides products
    attention += cfg.layers * 2 * frames**2 * cfg.dim  # which torch does not count on a CPU
    counted = model_size.macs_of(cfg, samples) - attention
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.01)  # windows at the end


def test_an_upstream_has_the_size_of_its_encoder():
    expert = UpstreamExpert(encoder=Encoder(superb_data.TINY))
    assert model_size.params(expert) == sum(p.numel() for p in expert.encoder.parameters())
    assert model_size.macs(expert) > 0
    assert model_size.macs(torch.nn.Linear(2, 3)) is None
    assert model_size.params(torch.nn.Linear(2, 3)) == 9
