"""What stays in float32 whatever the autocast: statistics over time, averages, losses, labels."""

import pytest
import reference
import torch
from torch import nn

from mt4ssl_core.model.ctc import ctc_losses
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.extractor import ConvBlock
from mt4ssl_core.model.targets.online import Ema, OnlineConfig
from mt4ssl_core.model.targets.random_projection import (
    RandomProjectionConfig,
    RandomProjectionTarget,
)

BF16 = torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("lengths", [None, torch.tensor([2000, 700])])
def test_the_norm_over_time_of_a_block_is_computed_in_float32(lengths):
    torch.manual_seed(0)
    block = ConvBlock(4, 4, 3, 2, False, "group_norm")
    nn.init.uniform_(block.norm.weight)
    x = (100 + torch.randn(2, 2000, 4)).bfloat16()  # a mean that bfloat16 rounds to half a unit
    found = block._norm_over_time(x, lengths)
    wanted = block.double()._norm_over_time(x.double(), lengths)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted.float(), rtol=1e-3, atol=1e-3)


def test_the_teacher_takes_steps_that_bfloat16_would_round_away():
    student, teacher = (
        nn.ModuleDict({"layer": nn.Linear(4, 4), "pos_conv": nn.Linear(4, 4)}) for _ in range(2)
    )
    nn.init.constant_(student["layer"].weight, 1.01)
    nn.init.constant_(teacher["layer"].weight, 1.0)
    ema = Ema(OnlineConfig(ema_start=0.999, ema_end=0.999))
    with BF16:
        for step in range(1, 101):
            ema.update(teacher, student, step)
    wanted = 1.01 - 0.01 * 0.999**100
    assert teacher["layer"].weight.dtype == torch.float32
    assert teacher["layer"].weight.mean().item() == pytest.approx(wanted, abs=2e-6)


def test_labels_of_a_random_projection_do_not_depend_on_the_autocast():
    torch.manual_seed(0)
    encoder = Encoder(reference.encoder_config())
    # so many that bfloat16 takes another one for some of the frames
    target = RandomProjectionTarget(RandomProjectionConfig(num_classes=30_000), encoder)
    waves = torch.randn(2, 32_000) * torch.linspace(0, 1, 32_000).square()
    frames = torch.tensor([99, 60])
    with BF16:
        found = target.label(waves, frames)
    assert torch.equal(found, target.label(waves, frames))


def test_ctc_of_half_precision_logits_is_computed_in_float32():
    logits = (3 * torch.randn(2, 50, 30, generator=torch.Generator().manual_seed(0))).bfloat16()
    sizes = torch.tensor([50, 40]), torch.randint(1, 30, (2, 9)), torch.tensor([9, 5])
    with BF16:
        found = ctc_losses(logits, *sizes, blank=0)
    assert found.dtype == torch.float32
    scores = logits.double().log_softmax(-1).transpose(0, 1)
    wanted = nn.functional.ctc_loss(scores, sizes[1], sizes[0], sizes[2], reduction="none")
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-4)
