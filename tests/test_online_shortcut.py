"""What online targets are made of: closed forms."""

import pytest
import torch

from benchmarks import online_shortcut

RNG = torch.Generator().manual_seed(0)
NOISE = torch.randn(64, 100, 8, generator=RNG)  # (B, T, D)
PLACE = torch.randn(1, 100, 8, generator=RNG).expand(64, -1, -1)


def test_share_of_place():
    assert online_shortcut.share_of_place(PLACE + 0 * NOISE) == pytest.approx(1)
    assert online_shortcut.share_of_place(NOISE) == pytest.approx(0, abs=0.01)
    assert online_shortcut.share_of_place(PLACE + NOISE) == pytest.approx(0.5, abs=0.05)


def test_share_of_loudness():
    assert online_shortcut.share_of_loudness(NOISE[..., :1], NOISE[..., 0]) > 0.95
    assert online_shortcut.share_of_loudness(NOISE[..., 1:], NOISE[..., 0]) < 0.02


def test_hidden_frames_are_drawn_between_those_that_are_seen():
    line = torch.tensor([[1.0, 0, 0, 4, 0, 8, 0]])[..., None]
    mask = torch.tensor([[False, True, True, False, True, False, True]])
    found = online_shortcut.interpolated(line, mask)[0, :, 0]
    assert found.tolist() == pytest.approx([1, 2, 3, 4, 6, 8, 8])
    assert online_shortcut.interpolated(line, mask.flip(1))[0, 0, 0] == 0  # of the first seen
    truth = torch.tensor([[1.0, 2, 3, 4, 6, 8, 8]])[..., None]
    assert online_shortcut.explained(truth, found[None, :, None], mask) == pytest.approx(1)
    assert online_shortcut.explained(truth, truth.mean() + 0 * truth, torch.ones_like(mask)) == (
        pytest.approx(0)
    )
