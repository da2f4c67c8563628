import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mt4ssl_core.model.geometry import davies_bouldin, effective_rank, silhouette, uniformity


def by_numpy(x):
    values = np.linalg.svd(x.double().numpy(), compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_equals_numpy(frames, dim, rank, seed):
    torch.manual_seed(seed)
    x = torch.randn(frames, rank) @ torch.randn(rank, dim)
    assert effective_rank(x) == pytest.approx(by_numpy(x), rel=1e-6)


def test_of_what_is_known():
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.ones(9, 5)) == pytest.approx(1, abs=1e-6)
    for nothing in (torch.zeros(4, 3), torch.zeros(0, 3), torch.full((4, 3), math.nan)):
        assert math.isnan(effective_rank(nothing))


@pytest.mark.parametrize("seed", range(3))
def test_uniformity_equals_the_formula_in_numpy(seed):
    x = torch.randn(60, 9, generator=torch.Generator().manual_seed(seed))
    unit = x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True)
    squared = ((unit[:, None] - unit) ** 2).sum(-1)[np.triu_indices(60, 1)]
    assert uniformity(x) == pytest.approx(np.log(np.exp(-2 * squared).mean()), abs=1e-6)


def test_uniformity_of_what_is_known():
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-9)
    assert uniformity(torch.tensor([[1.0, 0], [-2, 0]])) == pytest.approx(-8)  # opposite
    for nothing in (torch.ones(1, 3), torch.zeros(4, 3), torch.full((4, 3), math.nan)):
        assert math.isnan(uniformity(nothing))


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 200), st.integers(1, 20), st.integers(2, 60), st.integers(0, 99))
def test_clusters_are_judged_as_by_scikit_learn(frames, dim, clusters, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, dim, generator=random)
    ids = torch.randint(0, clusters, (frames,), generator=random) * 7
    if not 2 <= len(ids.unique()) < frames:
        assert math.isnan(silhouette(x, ids)) and math.isnan(davies_bouldin(x, ids))
        return
    points, labels = x.double().numpy(), ids.numpy()
    assert silhouette(x, ids) == pytest.approx(metrics.silhouette_score(points, labels), abs=1e-6)
    wanted = metrics.davies_bouldin_score(points, labels)
    assert davies_bouldin(x, ids) == pytest.approx(wanted, rel=1e-6)


def test_clusters_of_what_cannot_be_judged():
    for x, ids in (
        (torch.randn(4, 2), torch.zeros(4)),
        (torch.randn(4, 2), torch.arange(4)),
        (torch.full((4, 2), math.inf), torch.tensor([0, 0, 1, 1])),
    ):
        assert math.isnan(silhouette(x, ids)) and math.isnan(davies_bouldin(x, ids))
    same = torch.ones(4, 2), torch.tensor([0, 0, 1, 1])  # all frames alike
    assert silhouette(*same) == 0 and davies_bouldin(*same) == 0
