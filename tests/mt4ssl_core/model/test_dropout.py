"""Dropout from cheap random words: its rate, its independence, its gradients, and who seeds it."""

import math

import pytest
import torch

from mt4ssl_core.model.dropout import Dropout, attention, draw_seeds, kept, scale

P = 0.1


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_as_many_elements_are_dropped_as_asked_for(p):
    torch.manual_seed(0)
    keep = kept(torch.Size((1000, 1000)), p, *draw_seeds(1)).double()
    noise = 4 * math.sqrt(p * (1 - p) / keep.numel())
    assert abs(1 - keep.mean() - p) < noise + 2**-16
    rows = (1 - keep).sum(1)  # binomial: as rows, and neighbours, are independent
    assert rows.var() == pytest.approx(1000 * p * (1 - p), rel=0.2)


@pytest.mark.parametrize("apart", [1, 2, 3, 4, 5, 8, 64, 1000])
def test_elements_are_dropped_independently_of_each_other(apart):
    torch.manual_seed(1)
    seeds = draw_seeds(2)
    first, second = (1 - kept(torch.Size((1 << 20,)), P, seed).double() for seed in seeds)
    for a, b in ((first[apart:], first[:-apart]), (first[apart:], second[:-apart])):
        assert abs((a * b).mean() - P * P) < 5 * P / math.sqrt(len(a))


def test_masks_are_those_of_torchs_seed_and_differ_from_call_to_call():
    dropout, x = Dropout(P).train(), torch.ones(999)
    torch.manual_seed(5)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first) and not torch.equal(first, second)
    assert set(first.tolist()) == {0.0, torch.tensor(scale(P)).item()}
    assert torch.equal(dropout.eval()(x), x)


def test_the_sum_with_dropout_has_the_gradients_of_its_parts():
    x, residual = (torch.randn(4, 33, dtype=torch.float64, requires_grad=True) for _ in range(2))
    dropout, given = Dropout(0.3).train(), torch.randn(4, 33, dtype=torch.float64)
    torch.manual_seed(2)
    dropout.add(residual, x).backward(given)
    torch.manual_seed(2)
    mask = dropout(torch.ones_like(x)).detach()
    torch.testing.assert_close(x.grad, given * mask)
    torch.testing.assert_close(residual.grad, given)
    torch.manual_seed(2)
    torch.testing.assert_close(dropout.add(residual, x), residual + x * mask)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("chunk", [1, 1 << 18])
def test_attention_with_dropout_is_the_formula_and_so_are_its_gradients(padded, chunk, monkeypatch):
    monkeypatch.setattr("mt4ssl_core.model.dropout._CHUNK", chunk)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 17, 2, 8).transpose(1, 2).requires_grad_() for _ in range(3))
    keep = torch.arange(17) < torch.tensor([17, 11, 5])[:, None] if padded else None
    keep = None if keep is None else keep[:, None, None]
    given = torch.randn(3, 2, 17, 8)
    torch.manual_seed(3)
    out = attention(q, k, v, keep, 0.2)
    ours = torch.autograd.grad(out, (q, k, v), given)
    torch.manual_seed(3)
    shape = torch.Size((1, 1, 17, 17) if chunk == 1 else (3, 2, 17, 17))
    parts = [kept(shape, 0.2, seed) for seed in draw_seeds(6 if chunk == 1 else 1)]
    noise = torch.cat(parts).view(3, 2, 17, 17) * scale(0.2)
    scores = q @ k.transpose(-2, -1) / math.sqrt(8)
    scores = scores if keep is None else scores.masked_fill(~keep, float("-inf"))
    wanted = scores.softmax(-1) * noise @ v
    torch.testing.assert_close(out, wanted)
    for found, right in zip(ours, torch.autograd.grad(wanted, (q, k, v), given), strict=True):
        torch.testing.assert_close(found, right)


def test_attention_keeps_no_weights_for_backward():
    q, k, v = (torch.randn(2, 4, 50, 8, requires_grad=True) for _ in range(3))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        attention(q, k, v, None, P)
    assert max(x.numel() for x in saved) == q.numel()
