"""Activation checkpointing: the same gradients, of which less is kept until backward."""

import copy

import pytest
import reference
import torch

from mt4ssl_core.config import Config
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.targets.offline import OfflineConfig
from mt4ssl_core.training.step import seed_dropout

DROPOUT = {f"{name}dropout": 0.2 for name in ("", "attention_", "activation_", "input_")}


def learned(model, precision):
    """Gradients of an update, and the bytes that its backward waits for."""
    kept = {}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x
        return x

    waves, lengths, labels = reference.batch("P")
    mask = reference.tensors("masked_forward")["P.mask_indices"].bool()
    seed_dropout(1, 2, 3)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), autocast:
        losses = model(waves, lengths, mask, labels, 0)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    size = sum(x.nbytes for place, x in kept.items() if place not in weights)
    sum(loss.total for loss in losses).backward()
    after = torch.rand(3)  # dropout that follows is no other for it
    return {n: p.grad for n, p in model.named_parameters()}, size, after


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", [{}, {"frontend": "mel", "relative_buckets": 16}])
def test_gradients_are_bitwise_those_of_keeping_everything(changes, precision):
    encoder = reference.encoder_config(**DROPOUT, **changes, layerdrop=0.2)
    torch.manual_seed(0)
    targets = {"offline": OfflineConfig(num_classes=20)}
    whole = MT4SSL(Config(encoder=encoder, targets=targets)).train()
    saving = copy.deepcopy(whole)
    saving.encoder.checkpoint_activations()
    wanted, much, after = learned(whole, precision)
    found, little, also_after = learned(saving, precision)
    for name, gradient in wanted.items():
        same = gradient is found[name] is None or torch.equal(gradient, found[name])
        assert same, name
    assert torch.equal(after, also_after)
    assert little < 0.4 * much
