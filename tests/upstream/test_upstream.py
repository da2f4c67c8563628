import subprocess
import sys

import pytest
import torch
from superb_data import TINY, tiny_checkpoint

import upstream
from mt4ssl_core import shipped


def test_importing_the_room_does_not_import_s3prl():
    code = (
        "import sys, upstream.door.tasks, upstream.door.expert; assert 's3prl' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_our_names_are_on_the_hub():
    names = upstream.register()
    assert (
        names == upstream.register() == ["mt4ssl", "mt4ssl_local", "mt4ssl_url", "mt4ssl_untrained"]
    )
    from s3prl.nn import S3PRLUpstream

    assert set(names) <= set(S3PRLUpstream.available_names())


@pytest.mark.parametrize("name", ["mt4ssl", "mt4ssl_local", "mt4ssl_url", "mt4ssl_untrained"])
def test_every_name_gives_an_upstream_or_says_how(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path))
    upstream.register()
    from s3prl import hub

    ckpt = tiny_checkpoint().as_uri() if name == "mt4ssl_url" else str(tiny_checkpoint())
    model = getattr(hub, name)(ckpt=ckpt, model_config=None, refresh=False)
    assert model.get_downsample_rates("hidden_states") == 320
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "empty")
    with pytest.raises(ValueError, match=f"-u {name}: needs a checkpoint.*; give one with -k"):
        getattr(hub, name)(ckpt=None, model_config=None, refresh=False)


def test_s3prls_own_interface():
    upstream.register()
    from s3prl.nn import Featurizer, S3PRLUpstream

    model = S3PRLUpstream("mt4ssl", path_or_url=str(tiny_checkpoint())).eval()
    waves = torch.randn(2, 32000)
    with torch.no_grad():
        states, lengths = model(waves, torch.tensor([16000, 32000]))
        features, _ = Featurizer(model)(states, lengths)
    assert len(states) == TINY.layers + 1
    assert states[0].shape == (2, 100, TINY.dim)
    assert lengths[0].tolist() == [50, 100]
    assert features.shape == (2, 100, TINY.dim)
