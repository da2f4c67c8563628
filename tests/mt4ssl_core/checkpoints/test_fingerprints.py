import hashlib

import torch
from torch import nn

from mt4ssl_core.checkpoints.fingerprints import encoder_fingerprint, weights_fingerprint
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder

TINY = dict(layers=2, dim=16, ffn_dim=32, heads=2, conv_layers=[[8, 10, 5], [8, 8, 8], [8, 8, 8]])


def encoder(seed=0, **changes) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderConfig(**{**TINY, **changes}))


def test_an_encoder_is_its_config_and_its_weights():
    name = encoder_fingerprint(encoder())
    assert name == encoder_fingerprint(encoder()) and len(name) == 64
    assert name != encoder_fingerprint(encoder(seed=1))
    assert name != encoder_fingerprint(encoder(isolate_padding=False))


def test_any_model_is_its_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))  # one buffer has no dimension
    name = weights_fingerprint(model)
    assert name == weights_fingerprint(model)
    with torch.no_grad():
        model[1].running_mean[0] += 1
    assert name != weights_fingerprint(model)
    assert weights_fingerprint(model) != weights_fingerprint(model.bfloat16())
    assert weights_fingerprint(nn.Module()) == hashlib.sha256().hexdigest()
