"""What online targets are made of: closed forms."""

from types import SimpleNamespace

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


def test_explained():
    truth = torch.tensor([[1.0, 2, 3, 4, 6, 8, 8]])[..., None]
    hidden = torch.tensor([[False, True, True, False, True, False, True]])
    guess = torch.where(hidden[..., None], truth, 0)  # what is seen does not count
    assert online_shortcut.explained(truth, guess, hidden) == pytest.approx(1)
    mean = truth.mean() + 0 * truth
    assert online_shortcut.explained(truth, mean, torch.ones_like(hidden)) == pytest.approx(0)


def test_a_run_without_online_targets_is_named(tmp_path, monkeypatch):
    labels_only = SimpleNamespace(settings={"offline.weight": 1.0, "online": None}, checkpoints={})
    monkeypatch.setattr(online_shortcut.training_runs, "open_run", lambda run: labels_only)
    with pytest.raises(ValueError, match=f"{tmp_path}: it has no online targets.*leave it out"):
        online_shortcut.rows_of(tmp_path, NOISE)
