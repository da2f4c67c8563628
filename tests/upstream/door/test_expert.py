import dataclasses
import math
from pathlib import Path

import pytest
import torch
from superb_data import TINY, Bomb, save_checkpoint, tiny_checkpoint

from mt4ssl_core import shipped
from mt4ssl_core.checkpoints import convert
from upstream.door import expert
from upstream.door.expert import UpstreamExpert


def waves(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) * 0.1 + 0.01 for size in sizes]


def worst(a, b):
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True))


def test_hidden_states_are_the_encoders_on_the_normalised_wave():
    model = UpstreamExpert(str(tiny_checkpoint()))
    (wave,) = waves(16000)
    with torch.no_grad():
        found = model([wave])
        normal = (wave - wave.mean()) / torch.sqrt(wave.var(unbiased=False) + 1e-5)
        encoded = convert.load_encoder(tiny_checkpoint())(normal[None], torch.tensor([16000]))
    assert len(found["hidden_states"]) == TINY.layers + 1
    assert torch.equal(found["last_hidden_state"], found["hidden_states"][-1])
    frames = encoded.hidden_states[0].shape[1]
    assert frames == 49
    assert worst([h[:, :frames] for h in found["hidden_states"]], encoded.hidden_states) <= 1e-5


def test_an_utterance_is_the_same_alone_and_in_any_batch():
    model = UpstreamExpert(str(tiny_checkpoint()))
    batch = waves(16000, 400, 719, 720, 880, 8000, 8160, 15999)
    with torch.no_grad():
        together = model(batch)["hidden_states"]
        for row, wave in enumerate(batch):
            alone = model([wave])["hidden_states"]
            kept = max(1, round(len(wave) / 320))  # what s3prl keeps of this utterance
            assert alone[0].shape[1] >= kept
            assert (
                worst([h[row : row + 1, :kept] for h in together], [h[:, :kept] for h in alone])
                <= 1e-5
            )


@pytest.mark.parametrize("size", [1, 160, 399, 400, 500])
def test_very_short_waves_are_padded(size):
    model = UpstreamExpert(str(tiny_checkpoint()))
    with torch.no_grad():
        states = model(waves(size))["hidden_states"]
    assert all(state.shape == (1, max(1, round(size / 320)), TINY.dim) for state in states)
    assert all(torch.isfinite(state).all() for state in states)


def test_loudness_matters_only_without_normalisation(tmp_path):
    (wave,) = waves(4000)
    with torch.no_grad():
        model = UpstreamExpert(str(tiny_checkpoint()))
        loud, quiet = model([wave * 8])["last_hidden_state"], model([wave])["last_hidden_state"]
        assert worst([loud], [quiet]) < 1e-2
        raw = save_checkpoint(tmp_path / "raw.pt", dataclasses.replace(TINY, normalize=False))
        model = UpstreamExpert(str(raw))
        encoded = convert.load_encoder(raw)(wave[None], torch.tensor([4000]))
        assert worst([model([wave])["last_hidden_state"]], [encoded.hidden_states[-1]]) <= 1e-5


def test_training_mode_gives_every_layer_and_gradients():
    model = UpstreamExpert(str(tiny_checkpoint())).train()
    for _ in range(8):  # the checkpoint's layerdrop is 0.5
        found = model(waves(4000))
        assert all(
            not torch.equal(a, b)
            for a, b in zip(found["hidden_states"], found["hidden_states"][1:], strict=False)
        )
    found["last_hidden_state"].sum().backward()
    assert model.encoder.projection.weight.grad is not None


def test_downsample_rate_and_receptive_field():
    model = UpstreamExpert(str(tiny_checkpoint()))
    assert model.get_downsample_rates("hidden_states") == 320


def test_untrained_copy_is_another_model_and_the_same_every_time():
    state = torch.random.get_rng_state()
    first = expert.untrained(str(tiny_checkpoint()))
    assert torch.equal(torch.random.get_rng_state(), state)
    second = expert.untrained(str(tiny_checkpoint()))
    trained = UpstreamExpert(str(tiny_checkpoint()))
    with torch.no_grad():
        a, b, c = (m(waves(4000))["last_hidden_state"] for m in (first, second, trained))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)
    assert math.prod(a.shape) == math.prod(c.shape)


def test_a_checkpoint_by_url(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path))
    model = UpstreamExpert(tiny_checkpoint().as_uri())
    assert model.get_downsample_rates("hidden_states") == 320


@pytest.mark.parametrize(("ckpt", "says"), [(None, "-k CKPT"), ("gone.pt", "gone.pt: no such")])
def test_no_checkpoint_is_an_error_that_says_how(ckpt, says, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "empty")
    with pytest.raises(ValueError, match=says):
        UpstreamExpert(ckpt)


def test_a_checkpoint_that_would_run_code_does_not(tmp_path):
    torch.save({"encoder": Bomb(tmp_path / "ran")}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt"):
        UpstreamExpert(str(tmp_path / "bad.pt"))
    assert not (tmp_path / "ran").exists()


FAIRSEQ = Path(__file__).parents[2] / "fixtures" / "reference" / "fairseq_checkpoint_after5.pt"


def test_a_fairseq_checkpoint_and_its_export_give_the_same(tmp_path):
    exported = convert.export_hf(FAIRSEQ, tmp_path / "exported")
    batch = waves(16000, 7000)
    with torch.no_grad():
        a, b = (UpstreamExpert(str(ckpt))(batch)["hidden_states"] for ckpt in (FAIRSEQ, exported))
    assert len(a) == len(b) > 2
    assert worst(a, b) <= 1e-5


@pytest.mark.parametrize("source", [FAIRSEQ, None])
def test_half_a_checkpoint_is_named(source, tmp_path):
    whole = (source or tiny_checkpoint()).read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.pt"):
        UpstreamExpert(str(tmp_path / "half.pt"))
