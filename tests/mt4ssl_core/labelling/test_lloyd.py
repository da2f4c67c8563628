import numpy as np
import pytest
import torch

from mt4ssl_core.labelling import lloyd
from mt4ssl_core.labelling.lloyd import fit_kmeans, nearest


def blobs(k: int, each: int, dim: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return well separated points (k * each, D) and the blob of each."""
    random = torch.Generator().manual_seed(seed)
    centres = 20 * torch.randn(k, dim, generator=random)
    truth = torch.arange(k).repeat_interleave(each)
    points = centres[truth] + 0.1 * torch.randn(k * each, dim, generator=random)
    order = torch.randperm(len(points), generator=random)
    return points[order], truth[order]


def never_rises(found: lloyd.Fit, points: torch.Tensor) -> bool:
    rounding = 1e-5 * found.inertia[0] + 1e-9 * float(points.square().sum(1).mean())
    return bool((np.diff(found.inertia) <= rounding).all())


def test_nearest_is_the_nearest():
    points, centroids = torch.randn(3000, 7), torch.randn(40, 7)
    exact = torch.cdist(points.double(), centroids.double())
    assert torch.equal(nearest(points, centroids), exact.argmin(1))
    assert len(nearest(points[:0], centroids)) == 0


def test_finds_separate_blobs():
    points, truth = blobs(3, 200)
    found = min((fit_kmeans(points, 3, 25, seed) for seed in range(5)), key=lambda f: f.inertia[-1])
    ids = nearest(points, found.centroids)
    assert len({(int(a), int(b)) for a, b in zip(ids, truth, strict=True)}) == 3  # a bijection
    assert found.inertia[-1] == pytest.approx(5 * 0.01, rel=0.1)


def test_inertia_never_rises_and_is_that_of_the_result():
    points = torch.randn(5000, 8, generator=torch.Generator().manual_seed(1))
    found = fit_kmeans(points, 50, 20)
    steps = np.diff(found.inertia)
    assert len(found.inertia) == 21
    assert (steps <= 1e-6 * found.inertia[0]).all()
    distance = torch.cdist(points, found.centroids).min(1).values.square().mean()
    assert found.inertia[-1] == pytest.approx(float(distance), rel=1e-4)


def test_as_good_as_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    random = torch.Generator().manual_seed(2)
    points = torch.randn(4000, 10, generator=random) @ torch.randn(10, 10, generator=random)
    ours = np.mean([fit_kmeans(points, 40, 25, seed).inertia[-1] for seed in range(3)])
    theirs = []
    for seed in range(3):
        model = cluster.KMeans(40, n_init=1, max_iter=25, tol=0, random_state=seed)
        theirs.append(model.fit(points.numpy()).inertia_ / len(points))
    assert ours <= 1.01 * np.mean(theirs)


def doubled(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, points[:1].repeat(4000, 1)])  # a random start hits doubles


def far_away(points: torch.Tensor) -> torch.Tensor:
    return points + 1000  # distances are small beside the points


def crowded(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, points[:1] + 0.01 * torch.randn(20_000, points.shape[1])])


@pytest.mark.parametrize("made", [torch.clone, doubled, far_away, crowded])
@pytest.mark.parametrize(("k", "dim"), [(6, 5), (2, 8), (20, 3), (60, 39)])
def test_finds_every_blob_from_every_seed(k, dim, made):
    for seed in range(20 if k == 6 else 5):
        points, truth = blobs(k, 50, dim, seed)
        found = fit_kmeans(made(points), k, 40, seed)
        ids = nearest(points, found.centroids)
        assert len({(int(a), int(b)) for a, b in zip(ids, truth, strict=True)}) == k, seed
        assert never_rises(found, points)


def from_doubles(points: torch.Tensor, k: int, _: torch.Generator) -> torch.Tensor:
    return points[:1].repeat(k, 1)


def from_nowhere(points: torch.Tensor, k: int, _: torch.Generator) -> torch.Tensor:
    return torch.cat([points[:1], torch.full((k - 1, points.shape[1]), 1e4)])


def from_the_middle(points: torch.Tensor, k: int, _: torch.Generator) -> torch.Tensor:
    return points.mean(0).repeat(k, 1)


@pytest.mark.parametrize("start", [from_doubles, from_nowhere, from_the_middle])
@pytest.mark.parametrize(("k", "dim"), [(6, 5), (3, 8), (40, 16)])
def test_centroids_without_points_are_placed_anew(k, dim, start, monkeypatch):
    monkeypatch.setattr(lloyd, "_start", lambda points, k, random, show: start(points, k, random))
    for seed in range(20 if k == 6 else 5):
        points, truth = blobs(k, 50, dim, seed)
        found = fit_kmeans(doubled(points), k, 40, seed)
        ids = nearest(points, found.centroids)
        assert found.reseeded > 0
        assert len({(int(a), int(b)) for a, b in zip(ids, truth, strict=True)}) == k, seed
        assert never_rises(found, points)


@pytest.mark.parametrize("k", [3, 4, 5, 20])
@pytest.mark.parametrize("offset", [0.0, 1 / 3, 1e4])
def test_few_different_points(k, offset):
    values = offset + torch.tensor([[0.1, 0, 0], [0, 0.7, 0], [0, 0, 1.1], [9, 9, 9]])
    points = values[torch.arange(4000) % 4]
    found = fit_kmeans(points, k)
    assert found.centroids.shape == (k, 3)
    assert found.centroids.isfinite().all()
    assert len(nearest(points, found.centroids).unique()) == min(k, 4)
    assert found.used == min(k, 4)
    if k >= 4:
        assert found.inertia[-1] < 1e-6
        assert len(found.inertia) < 8


def test_one_point_many_times():
    found = fit_kmeans(torch.full((2000, 3), 0.3), 4)
    assert found.inertia[-1] < 1e-12
    assert (found.reseeded, found.used) == (0, 1)
    assert torch.allclose(found.centroids, torch.full((4, 3), 0.3))


def test_stops_when_converged():
    points, _ = blobs(2, 100)
    assert len(fit_kmeans(points, 2, 1000).inertia) < 20
    cloud = torch.randn(3000, 4, generator=torch.Generator().manual_seed(4))
    assert len(fit_kmeans(cloud, 10, 1000).inertia) < 500


def test_the_tolerance_ends_it_sooner_and_the_last_inertia_is_that_of_what_it_gives():
    cloud = torch.randn(3000, 4, generator=torch.Generator().manual_seed(4))
    exact, soon = (fit_kmeans(cloud, 10, 200, tolerance=t) for t in (0.0, 0.01))
    assert len(soon.inertia) < len(exact.inertia)
    assert soon.converged and not fit_kmeans(cloud, 10, 1, tolerance=0).converged
    assert soon.inertia[-1] < 1.05 * exact.inertia[-1]
    for found in (exact, soon):
        distances = torch.cdist(cloud.double(), found.centroids.double()).min(1).values.square()
        assert float(distances.mean()) == pytest.approx(found.inertia[-1], rel=1e-6)


def test_repeats_with_the_seed_whatever_the_chunk(monkeypatch):
    points = torch.randn(3000, 6, generator=torch.Generator().manual_seed(3))
    first = fit_kmeans(points, 20, 5, seed=7).centroids
    assert torch.equal(first, fit_kmeans(points, 20, 5, seed=7).centroids)
    assert not torch.equal(first, fit_kmeans(points, 20, 5, seed=8).centroids)
    monkeypatch.setattr(lloyd, "_CHUNK", 1 << 16)
    assert torch.allclose(first, fit_kmeans(points, 20, 5, seed=7).centroids, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_a_gpu():
    points = torch.randn(3000, 6, generator=torch.Generator().manual_seed(3))
    ours, gpu = fit_kmeans(points, 20, 10), fit_kmeans(points, 20, 10, device="cuda")
    assert gpu.centroids.device.type == "cpu"
    assert gpu.inertia[-1] == pytest.approx(ours.inertia[-1], rel=1e-3)


@pytest.mark.parametrize("k", [0, 11])
def test_impossible_k(k):
    with pytest.raises(ValueError, match=f"10 frames cannot make {k} clusters.*1 to 10"):
        fit_kmeans(torch.randn(10, 2), k)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        fit_kmeans(torch.tensor([[1.0], [float("nan")]]), 1)
