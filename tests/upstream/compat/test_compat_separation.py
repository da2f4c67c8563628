"""What stands in for asteroid, and the device of SE and SS."""

import sys

import numpy as np
import pytest
import torch

from upstream.compat import asteroid as stand_in
from upstream.compat._separation_metrics import si_sdr


def test_metrics_of_mixture_and_estimates():
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((2, 3000))
    mix = clean.sum(0, keepdims=True)
    estimate = np.stack([clean[1] + 0.1 * clean[0], clean[0] + 0.2 * clean[1]])
    found = stand_in.get_metrics(
        mix, clean, estimate, metrics_list=["si_sdr"], compute_permutation=True
    )
    expected = np.mean([si_sdr(clean[0], estimate[1]), si_sdr(clean[1], estimate[0])])
    assert found["si_sdr"] == pytest.approx(expected)
    assert found["input_si_sdr"] == pytest.approx(np.mean([si_sdr(c, mix[0]) for c in clean]))
    fixed = stand_in.get_metrics(mix, clean, estimate, metrics_list="si_sdr", average=False)
    assert fixed["si_sdr"].shape == (2,) and fixed["si_sdr"].mean() < found["si_sdr"] - 20


def test_pit_takes_the_best_assignment_of_each_example():
    targets = torch.randn(4, 3, 50)
    orders = [[0, 1, 2], [2, 0, 1], [1, 0, 2], [2, 1, 0]]
    estimates = torch.stack([t[order] for t, order in zip(targets, orders, strict=True)]) + 0.01

    def pairwise(est, tgt, scale):
        return scale * (est[:, :, None] - tgt[:, None]).pow(2).mean(-1)  # (B, est, tgt)

    loss = stand_in.PITLossWrapper(pairwise, pit_from="pw_mtx")(estimates, targets, scale=2.0)
    assert loss.item() == pytest.approx(2e-4, rel=1e-3)
    with pytest.raises(ValueError, match="pw_mtx only; install asteroid"):
        stand_in.PITLossWrapper(pairwise, pit_from="perm_avg")


def test_asteroid_is_left_alone_when_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "asteroid", sys)
    assert stand_in.install() is False
    assert sys.modules["asteroid"] is sys


@pytest.fixture(scope="module")
def experts():
    pytest.importorskip("h5py")
    pytest.importorskip("librosa")
    from upstream import compat

    compat.install_for("separation_stft")
    from s3prl.downstream.enhancement_stft import expert as enhancement
    from s3prl.downstream.separation_stft import expert as separation

    return enhancement, separation


def test_the_experts_use_the_device_of_their_features(experts):
    """As if torch had seen a GPU at import: both modules still compute where the features are."""
    from s3prl.downstream.separation_stft import loss

    from upstream.compat import stft_device

    assert stft_device.install() is False  # once is enough
    expert = experts[1].DownstreamExpert.__new__(experts[1].DownstreamExpert)
    torch.nn.Module.__init__(expert)
    expert.model = lambda features: [torch.ones(1, 3, 5)] * 2
    expert.objective, expert.loss_type = loss.MSELoss(2, "NPSM"), "MSE"
    experts[1].device = loss.device = torch.device("meta")  # nothing can be computed there
    spectra = {"magnitude": torch.ones(1, 3, 5), "phase": torch.zeros(1, 3, 5)}
    targets = {key: [value, value] for key, value in spectra.items()}
    records = {"loss": []}
    value = expert(
        "train",
        [torch.zeros(3, 4)],
        ["utt"],
        {**spectra, "stft": None},
        None,
        targets,
        None,
        torch.tensor([3]),
        torch.tensor([48]),
        records,
    )
    assert value.item() == 0.0 and records["loss"] == [0.0]
    assert experts[1].device == loss.device == torch.device("cpu")


def test_the_si_sdr_loss_is_made_without_a_gpu(experts):
    from s3prl.downstream.separation_stft import loss

    loss.device = torch.device("cpu")
    made = loss.SISDRLoss(2, 64, 16, 64, "hann", True)
    waves = torch.randn(2, 1, 640)
    mixture = torch.stft(
        waves.sum(0), 64, 16, window=torch.hann_window(64), return_complex=True
    ).transpose(1, 2)  # (1, frames, bins)
    frames = mixture.shape[1]
    masks = [torch.ones(1, frames, 33), torch.ones(1, frames, 33)]
    value = made.compute_loss(
        masks, torch.tensor([frames]), {"stft": mixture}, torch.tensor([640]), list(waves)
    )
    centred = [(w - w.mean()).numpy()[0] for w in (*waves, waves.sum(0))]
    expected = -np.mean([si_sdr(source, centred[2]) for source in centred[:2]])
    assert value.item() == pytest.approx(expected, abs=1e-3)
