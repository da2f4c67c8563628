import warnings

import pytest
import reference
import superb_data
import torch
import toy
from reference import error

from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.mel_frames import CENTRE, SPREAD
from mt4ssl_core.training.pretrain import pretrain

FORMS = [(2, "fixed"), (2, "utterance"), (4, "fixed"), (4, "utterance")]


def mel_encoder(stack=2, norm="fixed"):
    torch.manual_seed(0)
    cfg = reference.encoder_config(
        frontend="mel", mel_stack=stack, mel_norm=norm, isolate_padding=True
    )
    return Encoder(cfg).eval()


@pytest.mark.parametrize(("stack", "norm"), FORMS)
@torch.no_grad()
def test_an_utterance_is_the_same_alone_and_in_any_batch(stack, norm):
    encoder = mel_encoder(stack, norm)
    lengths = torch.tensor([16000, 9999, 4160, 720, 560, 559, 400])
    waves = torch.randn(len(lengths), 16000)
    waves *= torch.arange(16000) < lengths[:, None]
    together = encoder(waves, lengths)
    for i, n in enumerate(lengths.tolist()):
        alone = encoder(waves[i : i + 1, :n], lengths[i : i + 1])
        assert alone.output.shape[1] == together.lengths[i] == encoder.frame_lengths(n)
        for a, b in zip(alone.hidden_states, together.hidden_states, strict=True):
            assert error(b[i : i + 1, : together.lengths[i]], a) <= 1e-5


@pytest.mark.parametrize("stack", [2, 4])
def test_as_many_frames_as_lengths_say_for_every_sample_count(stack):
    encoder, wave = mel_encoder(stack), torch.randn(1, 3000)
    for samples in range(400, 3000):
        lengths = torch.tensor([samples])
        frames = encoder.extractor(wave[:, :samples], lengths)
        assert frames.shape == (1, 1 + (samples - 400) // (160 * stack), 80 * stack)
        assert frames.shape[1] == encoder.frame_lengths(samples)


@pytest.mark.parametrize("stack", [2, 4])
def test_frames_are_those_of_torchaudio(stack):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
        wave = torch.randn(1, 16000)
        mels = kaldi.fbank(wave, num_mel_bins=80, dither=0)  # (98, 80), 10 ms apart
    frames = mel_encoder(stack).extractor(wave, torch.tensor([16000]))[0]
    whole = len(mels) // stack
    wanted = ((mels - CENTRE) / SPREAD)[: whole * stack].reshape(whole, -1)
    assert float((frames[:whole] - wanted).abs().max()) < 1e-4


def test_frame_t_begins_where_frame_t_of_the_convolutions_does():
    encoder, wave = mel_encoder(), torch.randn(1, 16000)
    lengths = torch.tensor([16000])
    changed = wave.clone()
    changed[0, 320 * 20 : 320 * 20 + 80] += 1.0
    before, after = encoder.extractor(wave, lengths), encoder.extractor(changed, lengths)
    assert (before != after).any(-1)[0].nonzero().flatten().tolist() == [19, 20]


@pytest.mark.parametrize("stack", [2, 4])
def test_every_parameter_learns_from_every_target(tmp_path, stack):
    corpus = toy.corpus(tmp_path, utterances=8)
    changes = {"encoder__frontend": "mel", "encoder__mel_stack": stack}
    changes |= {"encoder__layerdrop": 0, "random_projection": "{}"}
    last = pretrain(toy.configuration(corpus, tmp_path / "out", optim__max_updates=5, **changes))
    state = checkpoint.load(last)
    moments = state["optimizer"]["state"]
    still = [n for n, entry in moments.items() if not entry["exp_avg"].abs().sum() > 0]
    keys = [n for n, _ in convert.encoder_of(state, last).named_parameters()]
    assert [keys[n] for n in still if n < len(keys) and "k_proj.bias" not in keys[n]] == []
    assert pretrain(toy.configuration(corpus, tmp_path / "out", **changes)) == last  # resumed


def test_checkpoints_are_read_and_exported_to_none(tmp_path):
    encoder = mel_encoder(4, "utterance")
    path = superb_data.save_checkpoint(tmp_path / "mel.pt", encoder.cfg, seed=0)
    again = convert.load_encoder(path)
    assert (again.hop, again.frame_rate) == (640, 25)
    assert again.identity() == encoder.identity()
    wave = torch.randn(9000)
    (a, _), (b, _) = encoder.encode([wave]), again.encode([wave])
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    with pytest.raises(ValueError, match="frontend is mel, and Hugging Face has no model"):
        convert.export_hf(path, tmp_path / "hf")
