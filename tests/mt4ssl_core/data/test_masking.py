import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mt4ssl_core.config import MaskingConfig
from mt4ssl_core.data.masking import span_mask, uniform


def draw(lengths, epoch, **changes):
    cfg = MaskingConfig(**changes)
    ids = [f"u{i}" for i in range(len(lengths))]
    return span_mask(lengths, ids, cfg, seed=7, epoch=epoch).numpy()


def runs(row):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return edges[1::2] - edges[::2]


CASES = reference.facts("masks")["stats"]


@pytest.mark.parametrize("case", CASES, ids=[f"B{c['B']}-T{c['T']}" for c in CASES])
def test_statistics_equal_the_official_code(case):
    """Means over 1000 draws of ours against a few hundred of theirs, up to sampling error."""
    lengths = case["lengths"] or [case["T"]] * case["B"]
    trimmed = [draw(lengths, epoch, same_count=True) for epoch in range(1000)]
    whole = [draw(lengths, epoch) for epoch in range(1000)]

    def shares(masks):  # of every row, the share of valid frames that are hidden
        return np.concatenate([mask.sum(1) / np.array(lengths) for mask in masks])

    error = case["fraction_std"] / case["draws"] ** 0.5  # standard error of their mean
    ours = shares(trimmed)
    wanted = case["fraction_masked_mean_of_valid_frames"]
    assert ours.mean() == pytest.approx(wanted, abs=4 * error)
    assert ours.std() == pytest.approx(case["fraction_std"], rel=0.2)
    error = case["fraction_without_same_masks_std"] / case["draws"] ** 0.5
    wanted = case["fraction_without_same_masks_mean"]
    assert shares(whole).mean() == pytest.approx(wanted, abs=4 * error)
    assert all(len(set(mask.sum(1))) == 1 for mask in trimmed)
    lasts = [row[n - 1] for mask in whole for row, n in zip(mask, lengths, strict=True)]
    assert not any(lasts)
    spans = np.concatenate([runs(row) for mask in trimmed for row in mask])
    assert spans.mean() == pytest.approx(case["run_length_mean"], rel=0.05)
    wanted = case["share_of_runs_shorter_than_10"]
    assert (spans < 10).mean() == pytest.approx(wanted, abs=0.03)


def test_spans_are_whole_without_trimming():
    assert all((runs(row) >= 10).all() for e in range(50) for row in draw([99, 60], e))


def test_an_utterance_is_masked_alike_in_any_batch():
    cfg = MaskingConfig()
    together = span_mask([300, 120, 500], ["a", "b", "c"], cfg, seed=1, epoch=3)
    alone = span_mask([120], ["b"], cfg, seed=1, epoch=3)
    assert torch.equal(together[1:2, :120], alone) and not together[1, 120:].any()
    others = [
        span_mask([120], ["b"], cfg, seed=2, epoch=3),
        span_mask([120], ["b"], cfg, seed=1, epoch=4),
        span_mask([120], ["x"], cfg, seed=1, epoch=3),
    ]
    assert not any(torch.equal(alone, other) for other in others)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 1000), st.booleans())
def test_every_length_works(lengths, epoch, same_count):
    mask = draw(lengths, epoch, same_count=same_count)
    assert mask.shape == (len(lengths), max(lengths))
    for row, n in zip(mask, lengths, strict=True):
        assert not row[n - 1 :].any()  # never the last frame, never padding
        assert row.sum() < n
        if n > 1 and not same_count:
            assert row.any()


def test_empty_batch():
    assert span_mask([], [], MaskingConfig(), seed=1, epoch=0).shape == (0, 0)


def test_uniforms_are_uniform_and_independent():
    keys = np.arange(1, 101, dtype=np.uint64)
    x, y = uniform(keys, 0, 1000), uniform(keys, 1, 1000)
    assert x.min() >= 0 and x.max() < 1
    assert x.mean() == pytest.approx(0.5, abs=0.01) and x.var() == pytest.approx(1 / 12, abs=0.002)
    assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]) < 0.02
