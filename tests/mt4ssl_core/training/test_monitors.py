import pytest
import torch

from mt4ssl_core.model import geometry
from mt4ssl_core.model.encoder import Encoded
from mt4ssl_core.model.targets import Target
from mt4ssl_core.training.monitors import FRAMES, Monitors


class Signs(Target):
    """Takes each frame for the sign of its first channel."""

    name = "signs"

    def codes(self, encoded):
        return (encoded.output[..., 0] > 0).long()


def test_padding_and_what_is_beyond_the_sample_are_left_out():
    states = torch.randn(3, 2, FRAMES, 4)
    lengths = torch.tensor([FRAMES - 10, 100])
    sample = Monitors()
    assert sample.read() == {}
    encoded = Encoded(states[-1], lengths, list(states), [])
    sample.add(encoded, [Signs(None, None), Target(None, None)])
    assert sample.lacking == 0
    seen = torch.cat([states[:, 0, : FRAMES - 10], states[:, 1, :10]], 1)
    wanted = [geometry.effective_rank(layer) for layer in seen]
    assert sample.read()["effective_rank/last"] == pytest.approx(wanted[-1], rel=1e-6)
    assert sample.read()["effective_rank/mean"] == pytest.approx(sum(wanted) / 3, rel=1e-6)
    codes = (seen[-1, :, 0] > 0).long()
    found = sample.read()
    assert found["uniformity"] == pytest.approx(geometry.uniformity(seen[-1]))
    assert found["signs/silhouette"] == pytest.approx(geometry.silhouette(seen[-1], codes))
    assert found["signs/davies_bouldin"] == pytest.approx(geometry.davies_bouldin(seen[-1], codes))
    alike = Monitors()
    alike.add(Encoded(states[-1].abs(), lengths, list(states.abs()), []), [Signs(None, None)])
    assert not [name for name in alike.read() if name.startswith("signs")]  # one class
