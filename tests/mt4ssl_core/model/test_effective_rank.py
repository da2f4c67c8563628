import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mt4ssl_core.model.effective_rank import FRAMES, FrameSample, effective_rank
from mt4ssl_core.model.encoder import Encoded


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


def test_padding_and_what_is_beyond_the_sample_are_left_out():
    states = torch.randn(3, 2, FRAMES, 4)
    lengths = torch.tensor([FRAMES - 10, 100])
    sample = FrameSample()
    assert sample.ranks() == {}
    sample.add(Encoded(states[0], lengths, list(states), []))
    assert sample.lacking == 0
    seen = torch.cat([states[:, 0, : FRAMES - 10], states[:, 1, :10]], 1)
    wanted = [by_numpy(layer) for layer in seen]
    assert sample.ranks()["effective_rank/last"] == pytest.approx(wanted[-1], rel=1e-6)
    assert sample.ranks()["effective_rank/mean"] == pytest.approx(sum(wanted) / 3, rel=1e-6)
