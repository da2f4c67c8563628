"""analysis/convergence/updates_to_reach.py: crossings in closed form, seeds that fail, ratios."""

import pandas as pd
import pytest

from analysis.convergence import updates_to_reach as reach
from analysis.convergence.updates_to_reach import TargetScore


def points(metric="per", direction="min", **runs):
    """Scores every 100 updates; an update costs 0.01 h of audio, and time as GROUP says."""
    hours = {"slow": 0.002}
    rows = []
    for name, values in runs.items():
        group = name.split("_")[0]
        for number, value in enumerate(values, 1):
            update = 100 * number
            spent = update / 100, update * hours.get(group, 0.001)
            rows.append((name, group, name[-1], update, *spent, metric, value))
    columns = ["run", "group", "seed", "update", "audio_hours", "wall_hours", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(direction=direction)


@pytest.mark.parametrize(
    ("values", "target", "direction", "place"),
    [
        ((0.8, 0.6, 0.4), 0.5, "min", (1.5, False)),
        ((0.1, 0.2, 0.4), 0.25, "max", (1.25, False)),
        ((0.8, 0.6), 0.6, "min", (1.0, False)),
        ((0.8, 0.6), 0.8, "min", (0.0, True)),
        ((0.8, 0.4, 0.9, 0.1), 0.5, "min", (0.75, False)),  # the first time
        ((0.8, 0.6), 0.5, "min", None),
        ((0.8, 0.6), 0.5, "max", (0.0, True)),
    ],
)
def test_first_reached(values, target, direction, place):
    found = reach.first_reached(values, target, direction)
    assert found == (place if place is None else (pytest.approx(place[0]), place[1]))


def test_table_has_means_over_seeds_and_ratios_of_each_cost():
    table = points(
        fast_1=(0.9, 0.5), fast_2=(0.9, 0.7), slow_1=(0.9, 0.8, 0.6), slow_2=(1, 0.9, 0.5)
    )
    fast, slow = reach.reach_rows(table, [TargetScore("per", 0.7, "asked for")])
    assert fast["updates"] == pytest.approx(175) and (fast["low"], fast["high"]) == (150, 200)
    assert slow["updates"] == pytest.approx(250) and slow["seeds_reached"] == slow["seeds"] == 2
    assert fast["ratio"] == 1 and slow["ratio"] == pytest.approx(250 / 175)
    assert slow["audio_hours"] == pytest.approx(2.5) and slow["audio_ratio"] == slow["ratio"]
    assert slow["wall_hours"] == pytest.approx(0.5)
    assert slow["wall_ratio"] == pytest.approx(0.5 / 0.175)
    text = reach.markdown([fast, slow], {"per": "min"})
    assert "| per ≤ 0.7 | slow | 250 (250-250) | 1.43 | 2.50 | 1.43 | 0.5 | 2.86 | 2 of 2 |" in text


def test_no_ratio_where_a_seed_does_not_reach_it_or_only_a_bound_is_known():
    table = points(a_1=(0.9, 0.5), a_2=(0.9, 0.8), b_1=(0.9, 0.7, 0.5), c_1=(0.9, 0.9))
    a, b, c = reach.reach_rows(table, [TargetScore("per", 0.5, "")])
    assert (a["seeds_reached"], a["seeds"], a["ratio"], a["updates"]) == (1, 2, None, 200)
    assert b["ratio"] == 1
    assert (c["updates"], c["ratio"], c["seeds_reached"]) == (None, None, 0)
    assert "| c | not reached | - | - | - | - | - | 0 of 1 |" in reach.markdown([c], {"per": "min"})
    first, other = reach.reach_rows(
        points(a_1=(0.5, 0.4), b_1=(0.9, 0.5)), [TargetScore("per", 0.5, "")]
    )
    assert first["at_most"] and first["ratio"] == 1 and other["ratio"] == 2
    text = reach.markdown([first, other], {"per": "min"})
    assert "| a | ≤ 100 | 1.00 | ≤ 1.00 |" in text and "| b | 200 | ≥ 2.00 | 2.00 |" in text
    _, both = reach.reach_rows(
        points(a_1=(0.5,), b_1=(0.9, 0.5), b_2=(0.5,)), [TargetScore("per", 0.5, "")]
    )
    assert both["at_most"] and both["ratio"] is None and not both["ratio_at_least"]


def test_default_target_is_what_every_run_of_groups_in_progress_has_in_the_end():
    table = points(a_1=(0.9, 0.5), a_2=(0.9, 0.6), b_1=(0.9, 0.7), c_1=(0.8, 0.79), c_2=(0.8, 0.9))
    target, notes = reach.default_target(table, "per")
    assert target == TargetScore("per", 0.7, "last score of b_1, the worst to make progress")
    assert notes == ["c makes no progress on per"]
    target, _ = reach.default_target(points(direction="max", a_1=(0.1, 0.4), b_1=(0.1, 0.3)), "per")
    assert target.value == 0.3
    target, notes = reach.default_target(points(a_1=(0.5,), b_1=(0.4, 0.4)), "per")
    assert target is None
    assert notes == ["a has per at one checkpoint only", "b makes no progress on per"]


def test_targets_are_read_and_mistakes_named():
    assert reach.read_targets(["ks/acc=0.5"], ["ks/acc"]) == [
        TargetScore("ks/acc", 0.5, "asked for")
    ]
    for word in ("per", "per=x", "per=nan", "=3"):
        with pytest.raises(ValueError, match=r"expected METRIC=VALUE|was not measured"):
            reach.read_targets([word], ["per"])
    with pytest.raises(ValueError, match="wer was not measured; choose from per"):
        reach.read_targets(["wer=1"], ["per"])


def test_the_interval_of_three_seeds_is_students():
    assert reach.half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert reach.half_width([1.0]) is None


def test_models_are_compared_seed_by_seed():
    slow = {"slow_1": (0.9, 0.8, 0.7, 0.5), "slow_2": (1.0, 0.5), "slow_3": (0.9, 0.8, 0.8, 0.5)}
    table = points(**slow, fast_1=(0.9, 0.5), fast_2=(0.5,), fast_3=(0.9, 0.5))
    rows = {r["group"]: r for r in reach.reach_rows(table, [TargetScore("per", 0.5, "")])}
    assert rows["slow"]["by_seed"] == {"1": 400, "2": 200, "3": 400}
    assert reach.paired_ratio(rows["slow"], rows["fast"]) is None  # fast_2: by the first checkpoint
    table = points(**slow, fast_1=(0.9, 0.5), fast_2=(0.9, 0.5), fast_3=(0.9, 0.9, 0.9, 0.5))
    rows = {r["group"]: r for r in reach.reach_rows(table, [TargetScore("per", 0.5, "")])}
    ratio, low, high = reach.paired_ratio(rows["slow"], rows["fast"])  # 2, 1 and 1
    assert ratio == pytest.approx(2 ** (1 / 3))
    assert (
        ratio / low == pytest.approx(high / ratio) == pytest.approx(2 ** (4.302653 / 3), rel=1e-5)
    )
    assert reach.paired_ratio(rows["slow"], None) is None
