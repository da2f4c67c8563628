import torch

from mt4ssl_core.labelling import mini_batch
from mt4ssl_core.labelling.lloyd import fit_kmeans, nearest
from mt4ssl_core.labelling.mini_batch import MiniBatch


def test_in_the_end_every_frame_counts_as_much(monkeypatch):
    monkeypatch.setattr(mini_batch, "BLOCK", 100)
    random = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-50.0, 3.0], [50.0, -3.0]])
    points = torch.cat([centre + torch.randn(600, 2, generator=random) for centre in centres])
    points = points[torch.randperm(len(points), generator=random)]
    found = fit_kmeans(points[:200], 2)
    moving = MiniBatch(found.centroids, points[:200])
    for block in points[200:].split(37):  # utterances
        moving.add(block)
        assert sum(map(len, moving._waiting)) < 100
    ids = nearest(points, found.centroids)
    means = torch.stack([points[ids == each].mean(0) for each in range(2)])
    assert moving.seen == 1000
    assert torch.allclose(moving.finish(), means, atol=1e-4)


def test_without_more_frames_nothing_moves():
    centroids = torch.randn(3, 2)
    assert torch.equal(MiniBatch(centroids, torch.randn(9, 2)).finish(), centroids)


def test_centroids_without_frames_stay():
    centroids = torch.tensor([[0.0, 0.0], [100.0, 100.0]])
    moving = MiniBatch(centroids, torch.zeros(5, 2))
    moving.add(torch.ones(5, 2))
    assert torch.allclose(moving.finish(), torch.tensor([[0.5, 0.5], [100.0, 100.0]]))


def test_a_sample_weighs_as_many_frames_as_it_was_drawn_from():
    moving = MiniBatch(torch.zeros(1, 2), torch.zeros(5, 2), drawn_from=15)
    moving.add(torch.ones(5, 2))
    assert torch.allclose(moving.finish(), torch.full((1, 2), 0.25))
