import warnings

import pytest
import torch

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.mfcc import log_mel, mfcc
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.frames import num_frames


def speech_like(samples: int, seed: int = 0) -> torch.Tensor:
    """Harmonics under a slow envelope, noise, an offset and a stretch of digital silence."""
    time = torch.arange(samples) / 16000
    pitch = 120 + 30 * torch.sin(2 * time)
    tone = sum(torch.sin(6.2832 * n * pitch * time) / n for n in range(1, 20))
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    wave = 0.1 * tone * torch.sin(5 * time).abs() + 0.003 * noise + 0.01
    wave[samples // 2 : samples // 2 + 1500] = 0
    return wave


def worst(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("samples", [400, 559, 560, 720, 16000, 50001])
def test_equals_torchaudio(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
        functional = pytest.importorskip("torchaudio.functional")
        wave = speech_like(samples)
        cepstra = kaldi.mfcc(wave[None], sample_frequency=16000, use_energy=False, dither=0).T
        deltas = functional.compute_deltas(cepstra)
        expected = torch.cat([cepstra, deltas, functional.compute_deltas(deltas)]).T
        mels = {
            count: kaldi.fbank(wave[None], num_mel_bins=count, frame_shift=20, dither=0)
            for count in (23, 40, 80)
        }
    assert worst(mfcc(wave), expected[::2]) < 1e-4
    for count, mel in mels.items():
        assert worst(log_mel(wave, count), mel) < 1e-4


def test_silence_is_finite():
    assert mfcc(torch.zeros(5000)).isfinite().all()


def test_as_many_frames_as_the_encoder_for_every_sample_count():
    small = EncoderConfig(dim=16, layers=1, heads=2, ffn_dim=16, pos_conv_groups=2)
    encoder = Encoder(small)
    counts = torch.arange(400, 64001)
    expected = encoder.frame_lengths(counts).tolist()
    assert [num_frames(n) for n in range(400, 64001)] == expected
    wave = speech_like(64000)
    borders = {n + d for n in range(400, 64001, 320 * 13) for d in (-1, 0, 1, 159, 160, 161)}
    for samples in [*sorted(borders - {399}), 64000]:
        frames = int(encoder.frame_lengths(samples))
        assert mfcc(wave[:samples]).shape == (frames, 39)
        assert log_mel(wave[:samples]).shape == (frames, 80)


def test_frame_sees_the_samples_of_the_encoders_frame():
    wave = speech_like(16000)
    changed = wave.clone()
    changed[320 * 20 : 320 * 20 + 400] += torch.randn(400)
    different = (log_mel(wave) != log_mel(changed)).any(dim=1).nonzero().flatten().tolist()
    assert different == [19, 20, 21]  # windows of 400 every 320: the neighbours overlap by 80
    assert torch.equal(log_mel(wave)[20:], log_mel(wave[320 * 20 :]))


def test_batch_equals_single_and_padding_changes_nothing():
    waves = [speech_like(16000), speech_like(9000, 1)]
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)  # (2, 16000)
    mels = log_mel(batch, 40)
    assert mels.shape == (2, 49, 40)
    for mel, wave in zip(mels, waves, strict=True):
        assert worst(mel[: num_frames(len(wave))], log_mel(wave, 40)) < 1e-6


def test_long_audio_is_done_in_blocks_without_a_seam():
    wave = speech_like(16000 * 12)
    part = slice(320 * 250, 320 * 250 + 8000)
    frames = num_frames(8000)
    assert worst(log_mel(wave)[250 : 250 + frames], log_mel(wave[part])) < 1e-6


def test_autocast_and_gradients_are_kept_out():
    wave = speech_like(4000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = log_mel(wave)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, log_mel(wave))
    assert not mfcc(wave.requires_grad_()).requires_grad


@pytest.mark.parametrize("function", [mfcc, log_mel])
def test_too_short(function):
    with pytest.raises(ValueError, match="399 samples"):
        function(torch.zeros(399))
