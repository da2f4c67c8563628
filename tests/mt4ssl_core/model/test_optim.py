import pytest
import reference
from torch import nn

from mt4ssl_core.config import OptimConfig
from mt4ssl_core.model.optim import AdamW, learning_rate


def test_tri_stage_equals_the_official_schedule():
    facts = reference.facts("schedules")["tri_stage"]
    cfg = OptimConfig(max_updates=facts["max_update"])
    for update, rate in facts["values"]:
        assert learning_rate(cfg, update) == pytest.approx(rate, rel=1e-6), update


def test_short_runs_have_no_division_by_zero():
    for updates in (1, 2, 3, 10):
        cfg = OptimConfig(max_updates=updates)
        rates = [learning_rate(cfg, i) for i in range(updates + 1)]
        assert all(0 < rate <= cfg.lr for rate in rates)


def test_ends_at_the_final_scale():
    cfg = OptimConfig(lr=1.0, max_updates=100, final_scale=0.01)
    assert learning_rate(cfg, 100) == pytest.approx(0.01)
    assert learning_rate(cfg, 0) == pytest.approx(0.01)
    assert learning_rate(cfg, 50) == 1.0


def test_a_part_with_its_own_rate_follows_the_same_schedule():
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 3)})
    optimizer = AdamW(model, OptimConfig(lr=1e-3, max_updates=100), {"head": 1e-2})
    numbered = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in numbered] == [id(p) for p in model.parameters()]
    for update in (0, 50, 99):
        rates = optimizer.prepare(update)
        assert rates["head_lr"] == pytest.approx(10 * rates["lr"])
        assert [group["lr"] for group in optimizer.param_groups] == list(rates.values())
