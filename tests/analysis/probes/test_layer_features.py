import numpy as np
import pytest
import torch
from superb_data import tiny_checkpoint

from analysis.probes.layer_features import LayerFeatures, open_upstream
from mt4ssl_core.checkpoints import convert
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.store.store import FeatureStore


def wave(size=20_000, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, size).astype(np.float32)


def test_frames_are_the_encoders_hidden_states():
    features, encoder = open_upstream(tiny_checkpoint()), convert.load_encoder(tiny_checkpoint())
    x = torch.from_numpy(wave())
    x = (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-5)
    with torch.no_grad():
        states = encoder(x[None], torch.tensor([len(x)])).hidden_states
    found = features.frames(wave())
    assert found.shape == (features.layers, num_frames(20_000), features.dim)
    assert np.allclose(found, torch.cat(states).numpy(), atol=1e-5)


def test_the_store_gives_the_same_to_its_precision(tmp_path):
    plain = open_upstream(tiny_checkpoint())
    store = FeatureStore(tmp_path)
    kept = open_upstream(tiny_checkpoint(), store=store, precision="fp32")
    assert np.allclose(kept.frames(wave()), plain.frames(wave()), atol=1e-5)
    size = store.size()
    assert size > 0 and np.array_equal(kept.frames(wave()), kept.frames(wave()))
    again = open_upstream(tiny_checkpoint(), store=FeatureStore(tmp_path), precision="fp32")
    assert np.array_equal(again.frames(wave()), kept.frames(wave()))
    assert FeatureStore(tmp_path).size() == size and plain.fingerprint == kept.fingerprint


def test_filter_banks_have_our_frame_rate():
    features = open_upstream(upstream="fbank")
    assert features.layers == 1 and features.rate == 160
    assert features.frames(wave()).shape == (1, num_frames(20_000), features.dim)


def test_filter_banks_are_of_the_moment_that_alignments_say():
    wave = np.zeros(16_000, np.float32)
    wave[320 * 20 + 150 : 320 * 20 + 250] = 0.5  # at the centre of frame 20
    energies = open_upstream(upstream="fbank").frames(wave)[0, :, :80].mean(1)
    assert energies.argmax() == 20


def test_unknown_upstreams_and_missing_checkpoints():
    with pytest.raises(ValueError, match=r"fbnk: no such upstream on s3prl's hub\. Did you mean"):
        open_upstream(upstream="fbnk")
    with pytest.raises(ValueError, match="-u mt4ssl_local: needs a checkpoint"):
        open_upstream(upstream="mt4ssl_local")
    with pytest.raises(ValueError, match=r"none\.pt: no such checkpoint"):
        open_upstream("none.pt")


def test_nan_is_refused():
    broken = LayerFeatures("x", "f", 1, 2, 320, lambda w: torch.full((1, 70, 2), float("nan")))
    with pytest.raises(ValueError, match="x: its features contain NaN or infinity"):
        broken.frames(wave())
