import numpy as np
import torch

from mt4ssl_core.labelling.sample import Reservoir


def test_reservoir_keeps_everything_that_fits():
    reservoir = Reservoir(100)
    stream = np.arange(70, dtype=np.float32)[:, None]
    for part in np.split(stream, [0, 1, 30]):
        reservoir.add(part)
    assert reservoir.points.flatten().tolist() == stream.flatten().tolist()
    assert len(Reservoir(5).points) == 0


def test_reservoir_is_bounded_and_uniform():
    size, total, runs = 50, 500, 400
    counts = np.zeros(total)
    stream = np.arange(total, dtype=np.float32)[:, None]
    for seed in range(runs):
        reservoir = Reservoir(size, seed)
        for part in np.split(stream, [3, 45, 60, 61, 300]):  # one part straddles the size
            reservoir.add(part)
        kept = reservoir.points.flatten().long().numpy()
        assert len(kept) == size == len(np.unique(kept))
        counts[kept] += 1
    expected = runs * size / total  # 40 per frame, sigma 6
    by_tenth = counts.reshape(10, -1).mean(axis=1)
    assert np.abs(by_tenth - expected).max() < 4 * 6 / np.sqrt(50)
    assert counts.max() < expected + 6 * 6
    assert counts.min() > expected - 6 * 6
    assert reservoir.seen == total


def test_reservoir_repeats_with_its_seed():
    def sample(seed):
        reservoir = Reservoir(10, seed)
        reservoir.add(np.arange(1000, dtype=np.float32)[:, None])
        return reservoir.points

    assert torch.equal(sample(1), sample(1))
    assert not torch.equal(sample(1), sample(2))
